"""An agent as anyone would write it: `Anthropic()`, told nothing. Sends one message for each line that it
reads and prints what came of it; the line `another client` makes a new one first, and `function` one that asks
a function for its identity token."""

import json
import os
import subprocess
import sys

import anthropic


def tell(**outcome):
    print(json.dumps(outcome), flush=True)


def message(client):
    answer = client.messages.create(
        model="claude-simulated", max_tokens=16, messages=[{"role": "user", "content": "hello"}]
    )
    return answer.content[0].text


def identity_token():
    get = ["firman", "token", "get", "--issuer", os.environ["ISSUER"]]
    get += ["--client-id", os.environ["AGENT"], "--key", os.environ["AGENT_KEY"]]
    done = subprocess.run(get, capture_output=True, text=True)
    if done.returncode != 0:
        raise anthropic.CredentialsError(done.stderr)  # any other exception is retried as a lost connection
    return done.stdout.strip()


def with_function():
    return anthropic.Anthropic(
        credentials=anthropic.WorkloadIdentityCredentials(
            identity_token_provider=identity_token,
            federation_rule_id=os.environ["RULE"],
            organization_id=os.environ["ORGANIZATION"],
            service_account_id=os.environ["SERVICE_ACCOUNT"],
        )
    )


def main():
    tell(
        environment={
            name: value
            for name, value in os.environ.items()
            if name.startswith(("ANTHROPIC_", "FIRMAN_"))
        }
    )
    client = anthropic.Anthropic()  # finds its credentials itself
    for line in sys.stdin:
        if line.strip() == "another client":
            client = anthropic.Anthropic()
        if line.strip() == "function":
            client = with_function()
        try:
            tell(text=message(client))
        except anthropic.WorkloadIdentityError as error:
            tell(error=type(error).__name__, status=error.status_code, request_id=error.request_id)
        except anthropic.AnthropicError as error:
            tell(error=type(error).__name__, status=getattr(error, "status_code", None))


if __name__ == "__main__":
    main()
