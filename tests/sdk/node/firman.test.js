// openid-client and jose, which know nothing of firman, get tokens from the real binary and verify them.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  calculateJwkThumbprint,
  createRemoteJWKSet,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  jwtVerify,
} from "jose";
import * as client from "openid-client";
import { Firman } from "./server.js";
import { verifier } from "./verify.js";

const API = "https://api.example/";
const CLAUDE = "https://api.anthropic.com";
const SIGNERS = ["ES256", "RS256", "PS256"];

let firman;
const secrets = {};
const keys = {};

before(async () => {
  firman = await Firman.start();
  await firman.command("resource", "add", "api", "--identifier", API, "--scope", "read", "--scope", "write");
  await firman.command("resource", "add", "claude", "--profile", "claude", "--identifier", CLAUDE);
  await firman.command("role", "add", "reader", "--grant", "api=read");
  await firman.command("role", "add", "claude-user", "--grant", "claude");
  for (const name of ["mailer", "other", "switched-off"]) secrets[name] = await addWithSecret(name, "reader");
  secrets.thinker = await addWithSecret("thinker", "claude-user");
  for (const alg of SIGNERS) {
    keys[alg] = await generateKeyPair(alg, { extractable: true });
    const { publicKey } = keys[alg];
    const path =
      alg === "ES256"
        ? await firman.file(`${alg}.jwk`, JSON.stringify(await exportJWK(publicKey)))
        : await firman.file(`${alg}.pem`, await exportSPKI(publicKey));
    const name = `signer-${alg.toLowerCase()}`;
    await firman.command("agent", "add", name, "--owner", "team", "--role", "reader", "--public-key", path);
  }
});

after(() => firman?.stop());

async function addWithSecret(name, role) {
  const added = await firman.command("agent", "add", name, "--owner", "team", "--role", role, "--secret");
  assert.equal(added.client_id, name);
  return added.client_secret;
}

function discover(clientId, authentication, options = {}) {
  return client.discovery(
    new URL(firman.issuer),
    clientId,
    { id_token_signed_response_alg: "ES256" },
    authentication,
    { execute: [client.allowInsecureRequests], ...options },
  );
}

async function fetchToken(clientId, authentication, parameters) {
  return client.clientCredentialsGrant(await discover(clientId, authentication), parameters);
}

// What a relying party does: keys by discovery, then signature, header type and claims.
async function verify(token, expected) {
  const server = (await discover("anyone", client.None())).serverMetadata();
  return jwtVerify(token, createRemoteJWKSet(new URL(server.jwks_uri)), {
    issuer: server.issuer,
    algorithms: ["ES256", "RS256"],
    requiredClaims: ["sub", "aud", "iat", "nbf", "exp", "jti"],
    ...expected,
  });
}

async function assertTokenForTheApi(answer, clientId) {
  const { payload } = await verify(answer.access_token, { audience: API, typ: "at+jwt" });
  assert.equal(answer.token_type, "bearer"); // openid-client writes it in lower case
  assert.equal(answer.scope, "read");
  assert.equal(answer.expires_in, payload.exp - payload.iat);
  const { sub, aud, client_id, scope, roles, acting_agent } = payload;
  assert.deepEqual(
    { sub, aud, client_id, scope, roles, acting_agent },
    {
      sub: `agent:${clientId}`,
      aud: API,
      client_id: clientId,
      scope: "read",
      roles: ["reader"],
      acting_agent: `agent:${clientId}`,
    },
  );
}

function assertRefused(answer, description) {
  return assert.rejects(answer, (error) => {
    assert.ok(error instanceof client.ResponseBodyError, error);
    assert.equal(error.error, "invalid_client");
    assert.equal(error.status, 401);
    if (description) assert.ok(error.error_description.includes(description), error.error_description);
    return true;
  });
}

describe("discovery", () => {
  for (const [algorithm, document] of [
    ["oidc", "openid-configuration"],
    ["oauth2", "oauth-authorization-server"],
  ]) {
    test(`openid-client accepts ${document}`, async () => {
      const server = (await discover("anyone", client.None(), { algorithm })).serverMetadata();
      assert.equal(server.issuer, firman.issuer);
      assert.ok(server.grant_types_supported.includes("client_credentials"));
    });
  }
});

// The setting of a resource, and what the guide's verifier says to such a token.
for (const [algorithm, typ, refusal] of [
  ["ES256", "JWT", /unexpected "typ"/],
  ["RS256", "at+jwt", /"alg" \(Algorithm\) Header Parameter value not allowed/],
  ["ES256", "at+jwt", undefined],
]) {
  test(`the verifier of the guide and a token with ${algorithm} and ${typ}`, async () => {
    await firman.command("resource", "edit", "api", "--algorithm", algorithm, "--typ", typ);
    const { access_token: token } = await fetchToken("mailer", client.ClientSecretBasic(secrets.mailer), {});
    const verified = verifier(firman.issuer, API)(token);
    if (refusal) await assert.rejects(verified, refusal);
    else assert.equal((await verified).sub, "agent:mailer");
    await assert.rejects(verifier(firman.issuer, "https://other.example")(token));
  });
}

describe("refused", () => {
  test("a wrong secret in the body", async () => {
    await assertRefused(fetchToken("mailer", client.ClientSecretPost("not-the-secret")));
  });

  test("a wrong secret in the header, with a challenge", async () => {
    await assert.rejects(fetchToken("mailer", client.ClientSecretBasic(secrets.other)), (error) => {
      assert.ok(error instanceof client.WWWAuthenticateChallengeError, error);
      assert.equal(error.status, 401);
      assert.equal(error.cause[0].scheme, "basic");
      return true;
    });
  });

  test("an assertion for the token endpoint, naming the audience that it must have", async () => {
    const forTheEndpoint = client.PrivateKeyJwt(keys.ES256.privateKey, {
      [client.modifyAssertion]: (_header, payload) => {
        payload.aud = `${firman.issuer}/oauth2/token`;
      },
    });
    await assertRefused(fetchToken("signer-es256", forTheEndpoint), `\`aud\` must be ${firman.issuer}, not the token endpoint`);
  });

  test("an assertion signed with another agent's key", async () => {
    await assertRefused(fetchToken("signer-es256", client.PrivateKeyJwt(keys.RS256.privateKey)));
  });

  test("an assertion that was taken before", async () => {
    const always = client.PrivateKeyJwt(keys.ES256.privateKey, {
      [client.modifyAssertion]: (_header, payload) => {
        payload.jti = "the-same-twice";
      },
    });
    await assertTokenForTheApi(await fetchToken("signer-es256", always), "signer-es256");
    await assertRefused(fetchToken("signer-es256", always));
  });

  test("an agent while it is suspended", async () => {
    const secret = client.ClientSecretPost(secrets["switched-off"]);
    await assertTokenForTheApi(await fetchToken("switched-off", secret), "switched-off");
    await firman.command("agent", "suspend", "switched-off");
    await assertRefused(fetchToken("switched-off", secret));
    await firman.command("agent", "resume", "switched-off");
    await assertTokenForTheApi(await fetchToken("switched-off", secret), "switched-off");
  });
});

// openid-client keeps the nonce that a server gave and sends a request once more for one that it lacked.
describe("bound to a key (DPoP)", () => {
  async function withKey(clientId, authentication, options) {
    const configuration = await discover(clientId, authentication);
    const keyPair = await client.randomDPoPKeyPair("ES256");
    const DPoP = client.getDPoPHandle(configuration, keyPair, options);
    const jkt = await calculateJwkThumbprint(await exportJWK(keyPair.publicKey));
    const get = () => client.clientCredentialsGrant(configuration, { resource: API }, { DPoP });
    return { get, jkt };
  }

  test("a proof that was taken before is refused", async () => {
    const { get } = await withKey("mailer", client.ClientSecretPost(secrets.mailer), {
      [client.modifyAssertion]: (_header, payload) => {
        payload.jti = "the-same-proof-twice";
      },
    });
    assert.equal((await get()).token_type, "dpop");
    await assert.rejects(get(), (error) => {
      assert.ok(error instanceof client.ResponseBodyError, error);
      assert.deepEqual([error.status, error.error], [400, "invalid_dpop_proof"]);
      return true;
    });
  });

  for (const [name, authentication] of [
    ["a secret", () => ["mailer", client.ClientSecretBasic(secrets.mailer)]],
    ["an assertion", () => ["signer-es256", client.PrivateKeyJwt(keys.ES256.privateKey)]],
  ]) {
    test(`with ${name}, at first without a nonce and then with the one that it was given`, async () => {
      const { get, jkt } = await withKey(...authentication());
      for (let times = 0; times < 2; times++) {
        const answer = await get();
        assert.equal(answer.token_type, "dpop"); // openid-client writes it in lower case
        const { payload } = await verify(answer.access_token, { audience: API, typ: "at+jwt" });
        assert.deepEqual(payload.cnf, { jkt });
      }
    });
  }
});

describe("a token", () => {
  // openid-client percent-encodes the secret before Base64 (RFC 6749 section 2.3.1), as few libraries do.
  test("for a secret in the Authorization header", async () => {
    await assertTokenForTheApi(await fetchToken("mailer", client.ClientSecretBasic(secrets.mailer)), "mailer");
  });

  test("for a secret in the body, with resource and scope named", async () => {
    const parameters = { resource: API, scope: "read" };
    const answer = await fetchToken("mailer", client.ClientSecretPost(secrets.mailer), parameters);
    await assertTokenForTheApi(answer, "mailer");
  });

  for (const alg of SIGNERS) {
    test(`for an assertion signed with ${alg}`, async () => {
      const name = `signer-${alg.toLowerCase()}`;
      await assertTokenForTheApi(await fetchToken(name, client.PrivateKeyJwt(keys[alg].privateKey)), name);
    });
  }

  test("for Claude is of type JWT and lives ten minutes", async () => {
    const answer = await fetchToken("thinker", client.ClientSecretPost(secrets.thinker));
    const { payload } = await verify(answer.access_token, { audience: CLAUDE, typ: "JWT" });
    assert.equal(payload.exp - payload.iat, 600);
    assert.equal(payload.acting_agent, "agent:thinker");
  });

  test("with scope openid comes with an id_token for the agent itself", async () => {
    const parameters = { resource: API, scope: "openid read" };
    const answer = await fetchToken("mailer", client.ClientSecretBasic(secrets.mailer), parameters);
    assert.equal(answer.claims().sub, "agent:mailer");
    const { payload } = await verify(answer.id_token, { audience: "mailer" });
    assert.equal(payload.sub, "agent:mailer");
    const access = await verify(answer.access_token, { audience: API, typ: "at+jwt" });
    assert.notEqual(payload.jti, access.payload.jti);
  });
});
