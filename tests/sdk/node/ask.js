// A program that uses Claude as any does: a client that is given nothing, so that it finds all by itself. It
// sends a message for each line on stdin and tells the outcome as a line of JSON; the line `another client`
// makes a new one first, and `function` one that asks a function for its identity token.

import { execFile } from "node:child_process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import Anthropic from "@anthropic-ai/sdk";
import { oidcFederationProvider } from "@anthropic-ai/sdk/lib/credentials/oidc-federation";
import { WorkloadIdentityError } from "@anthropic-ai/sdk/lib/credentials/types";

let client = new Anthropic(); // finds its credentials itself
const message = { model: "claude-simulated", max_tokens: 16, messages: [{ role: "user", content: "hi" }] };
const variables = Object.keys(process.env).filter((name) => /^(ANTHROPIC|FIRMAN)_/.test(name));

async function identityToken() {
  const { ISSUER, AGENT, AGENT_KEY } = process.env;
  const get = ["token", "get", "--issuer", ISSUER, "--client-id", AGENT, "--key", AGENT_KEY];
  const { stdout } = await promisify(execFile)("firman", get);
  return stdout.trim();
}

function withFunction() {
  const credentials = oidcFederationProvider({
    identityTokenProvider: identityToken,
    federationRuleId: process.env.RULE,
    organizationId: process.env.ORGANIZATION,
    serviceAccountId: process.env.SERVICE_ACCOUNT,
    baseURL: process.env.ANTHROPIC_BASE_URL ?? "https://api.anthropic.com",
    fetch,
  });
  return new Anthropic({ credentials });
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line === "another client") client = new Anthropic();
  if (line === "function") client = withFunction();
  const outcome = await client.messages.create(message).then(
    ({ content }) => ({ text: content[0].text }),
    (error) => ({
      error: error.constructor.name,
      status: error.statusCode ?? error.status ?? null,
      message: error.message,
      requestId: error instanceof WorkloadIdentityError ? error.requestId : null,
    }),
  );
  console.log(JSON.stringify({ ...outcome, variables: variables.sort() }));
}
