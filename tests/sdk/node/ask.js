// A program that uses Claude as any does: a client that is given nothing, so that it finds all by itself. It
// sends a message for each line on stdin and tells the outcome as a line of JSON.

import { createInterface } from "node:readline";
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic();
const message = { model: "claude-simulated", max_tokens: 16, messages: [{ role: "user", content: "hi" }] };
const variables = Object.keys(process.env).filter((name) => /^(ANTHROPIC|FIRMAN)_/.test(name));

for await (const _ of createInterface({ input: process.stdin })) {
  const outcome = await client.messages.create(message).then(
    ({ content }) => ({ text: content[0].text }),
    (error) => ({
      error: error.constructor.name,
      status: error.statusCode ?? error.status ?? null,
      message: error.message,
    }),
  );
  console.log(JSON.stringify({ ...outcome, variables: variables.sort() }));
}
