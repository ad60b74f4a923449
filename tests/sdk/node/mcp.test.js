// The MCP SDK for TypeScript, client and server, with the real firman as authorization server. The server names
// firman in its metadata (RFC 9728) and verifies tokens by firman's keys; the client finds all the rest by itself.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { ClientCredentialsProvider, PrivateKeyJwtProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { exportPKCS8, exportSPKI, generateKeyPair } from "jose";
import { Firman } from "./server.js";
import { verifier } from "./verify.js";

let firman;
let tools;
let secret;
let keys;

before(async () => {
  firman = await Firman.start();
  tools = await ToolServer.start(firman.issuer);
  await firman.command("resource", "add", "tools", "--identifier", tools.url, "--scope", "call");
  await firman.command("resource", "add", "other", "--identifier", "urn:other", "--scope", "call");
  await firman.command("role", "add", "caller", "--grant", "tools", "--grant", "other");
  keys = await generateKeyPair("ES256", { extractable: true });
  const path = await firman.file("key.pem", await exportSPKI(keys.publicKey));
  const add = (name, ...proof) => firman.command("agent", "add", name, "--owner", "team", ...proof);
  secret = (await add("mailer", "--role", "caller", "--secret")).client_secret;
  await add("signer", "--role", "caller", "--public-key", path);
});

after(async () => {
  await tools?.stop();
  await firman?.stop();
});

// A server with one tool, which tells who called it.
class ToolServer {
  static async start(issuer) {
    const server = new ToolServer();
    server.issuer = issuer;
    server.http = createServer((request, response) => server.#answer(request, response));
    await new Promise((resolve) => server.http.listen(0, "127.0.0.1", resolve));
    server.origin = `http://127.0.0.1:${server.http.address().port}`;
    server.url = `${server.origin}/mcp`;
    server.verify = verifier(issuer, server.url);
    return server;
  }

  stop() {
    this.http.closeAllConnections();
    return new Promise((resolve) => this.http.close(resolve));
  }

  async #answer(request, response) {
    const metadata = "/.well-known/oauth-protected-resource/mcp";
    if (request.url === metadata) {
      response.setHeader("content-type", "application/json");
      return response.end(JSON.stringify({ resource: this.url, authorization_servers: [this.issuer] }));
    }
    if (request.url !== "/mcp") return response.writeHead(404).end();
    const [scheme, token] = (request.headers.authorization ?? "").split(" ");
    let claims;
    try {
      assert.equal(scheme, "Bearer");
      claims = await this.verify(token);
    } catch {
      const challenge = `Bearer resource_metadata="${this.origin}${metadata}"`;
      return response.writeHead(401, { "www-authenticate": challenge }).end();
    }
    const { client_id: clientId, scope, exp: expiresAt } = claims;
    request.auth = { token, clientId, scopes: scope.split(" "), expiresAt };
    const server = new McpServer({ name: "tools", version: "1" });
    server.registerTool("whoami", {}, ({ authInfo }) => ({
      content: [{ type: "text", text: `${authInfo.clientId} ${authInfo.scopes}` }],
    }));
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
    response.on("close", () => transport.close());
    await server.connect(transport);
    await transport.handleRequest(request, response);
  }
}

async function whoAmI(authProvider) {
  const client = new Client({ name: "agent", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(tools.url), { authProvider }));
  const answer = await client.callTool({ name: "whoami" });
  await client.close();
  return answer.content[0].text;
}

describe("refused", () => {
  test("a wrong secret", async () => {
    const provider = new ClientCredentialsProvider({
      clientId: "mailer",
      clientSecret: "not-the-secret",
      expectedIssuer: firman.issuer,
    });
    await assert.rejects(whoAmI(provider), /client authentication failed/);
  });

  test("a scope that is not granted, with what is", async () => {
    const provider = new ClientCredentialsProvider({
      clientId: "mailer",
      clientSecret: secret,
      expectedIssuer: firman.issuer,
      scope: "call admin",
    });
    await assert.rejects(whoAmI(provider), /not granted for .*: admin; granted: call/);
  });
});

describe("the MCP SDK gets a token", () => {
  test("with a client secret", async () => {
    const provider = new ClientCredentialsProvider({
      clientId: "mailer",
      clientSecret: secret,
      expectedIssuer: firman.issuer,
    });
    assert.equal(await whoAmI(provider), "mailer call");
    assert.equal(provider.tokens().token_type, "Bearer");
  });

  test("with a key", async () => {
    const provider = new PrivateKeyJwtProvider({
      clientId: "signer",
      privateKey: await exportPKCS8(keys.privateKey),
      algorithm: "ES256",
      expectedIssuer: firman.issuer,
    });
    assert.equal(await whoAmI(provider), "signer call");
  });
});
