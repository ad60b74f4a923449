"""An agent as anybody would write it: `Anthropic()`, told nothing. Sends one message for each line that it
reads and prints what came of it; the line `another client` makes a new one first."""

import json
import os
import sys

import anthropic


def tell(**outcome):
    print(json.dumps(outcome), flush=True)


def message(client):
    answer = client.messages.create(
        model="claude-simulated", max_tokens=16, messages=[{"role": "user", "content": "hello"}]
    )
    return answer.content[0].text


def main():
    tell(
        environment={
            name: value
            for name, value in os.environ.items()
            if name.startswith(("ANTHROPIC_", "FIRMAN_"))
        }
    )
    client = anthropic.Anthropic()
    for line in sys.stdin:
        if line.strip() == "another client":
            client = anthropic.Anthropic()
        try:
            tell(text=message(client))
        except anthropic.AnthropicError as error:
            tell(error=type(error).__name__, status=getattr(error, "status_code", None))


if __name__ == "__main__":
    main()
