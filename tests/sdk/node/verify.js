// What a server does with a token of firman's: the lines of the guide.

import { createRemoteJWKSet, jwtVerify } from "jose";

export function verifier(issuer, audience) {
  const keys = createRemoteJWKSet(new URL(`${issuer}/oauth2/jwks`));
  const expected = { issuer, audience, typ: "at+jwt", algorithms: ["ES256"], requiredClaims: ["exp", "sub"] };
  return async (token) => (await jwtVerify(token, keys, expected)).payload;
}
