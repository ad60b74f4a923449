"""authlib and joserfc, which know nothing of firman, get tokens from the real binary and verify them."""

import json
import sys
import time
import unittest

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc import jws, jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from jwt import PyJWTError

from server import Firman
from verify import Verifier

API = "https://api.example/"
CLAUDE = "https://api.anthropic.com"
ES256_KEY = ECKey.generate_key("P-256", auto_kid=False)
RS256_KEY = RSAKey.generate_key(2048, auto_kid=False)
EDDSA_KEY = OKPKey.generate_key("Ed25519", auto_kid=False)


def setUpModule():
    global firman, metadata, secrets
    firman = Firman().__enter__()
    unittest.addModuleCleanup(firman.__exit__)
    metadata = fetch_metadata()

    firman.command("resource", "add", "api", "--identifier", API, "--scope", "read", "--scope", "write")
    firman.command("resource", "add", "claude", "--profile", "claude", "--identifier", CLAUDE)
    firman.command("role", "add", "reader", "--grant", "api=read")
    firman.command("role", "add", "claude-user", "--grant", "claude")
    secrets = {name: add_with_secret(name, "reader") for name in ("mailer", "other", "switched-off")}
    secrets["thinker"] = add_with_secret("thinker", "claude-user")
    add_with_key("signer-es256", "key.jwk", json.dumps(ES256_KEY.as_dict(private=False)))
    add_with_key("signer-rs256", "key.pem", RS256_KEY.as_pem(private=False).decode())
    add_with_key("signer-eddsa", "okp.jwk", json.dumps(EDDSA_KEY.as_dict(private=False)))


def add_with_secret(name, role):
    added = firman.command("agent", "add", name, "--owner", "team-mail", "--role", role, "--secret")
    assert added["client_id"] == name, added
    return added["client_secret"]


def add_with_key(name, file, public_key):
    path = firman.file(file, public_key)
    firman.command("agent", "add", name, "--owner", "team-mail", "--role", "reader", "--public-key", path)


def fetch_metadata():
    url = get_well_known_url(firman.issuer, external=True, suffix="openid-configuration")
    return OpenIDProviderMetadata(requests.get(url, timeout=10).json())


def session_with_secret(client_id, secret, method="client_secret_basic"):
    return OAuth2Session(client_id, secret, token_endpoint_auth_method=method)


def session_with_key(client_id, key, alg, audience, claims=None):
    """`audience` None leaves authlib's default, which is the token endpoint."""
    session = OAuth2Session(client_id, key, token_endpoint_auth_method="private_key_jwt")
    session.register_client_auth_method(PrivateKeyJWT(audience, claims=claims, alg=alg))
    return session


def fetch_token(session, **parameters):
    return session.fetch_token(
        metadata["token_endpoint"], grant_type="client_credentials", timeout=10, **parameters
    )


class StrangerTest(unittest.TestCase):
    maxDiff = None

    def verified_claims(self, token, *, audience, typ):
        """What a relying party does: keys by discovery, signature, header type, then every claim."""
        keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=10).json())
        verified = jwt.decode(token, keys, algorithms=["ES256", "RS256"])
        self.assertEqual(verified.header["typ"], typ)
        self.assertIn("kid", verified.header)
        jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": metadata["issuer"]},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            jti={"essential": True},
        ).validate(verified.claims)
        self.assertEqual(verified.claims["aud"], audience, "one string, not an array")
        self.assertAlmostEqual(verified.claims["iat"], time.time(), delta=60)
        return verified.claims

    def assert_token_for_the_api(self, answer, client_id):
        claims = self.verified_claims(answer["access_token"], audience=API, typ="at+jwt")
        self.assertEqual(answer["token_type"], "Bearer")
        self.assertEqual(answer["expires_in"], claims["exp"] - claims["iat"])
        self.assertEqual(answer["scope"], "read")
        self.assertEqual(
            {name: claims[name] for name in ("sub", "client_id", "scope", "roles", "acting_agent")},
            {
                "sub": f"agent:{client_id}",
                "client_id": client_id,
                "scope": "read",
                "roles": ["reader"],
                "acting_agent": f"agent:{client_id}",
            },
        )

    def assert_refused(self, session, description=None, **parameters):
        """The refusal as authlib reports it, and as it went over the wire."""
        answers = []
        session.register_compliance_hook(
            "access_token_response", lambda answer: answers.append(answer) or answer
        )
        with self.assertRaises(AuthlibBaseError) as refusal:
            fetch_token(session, **parameters)
        self.assertEqual(refusal.exception.error, "invalid_client")
        if description:
            self.assertIn(description, refusal.exception.description)
        self.assertEqual(answers[0].status_code, 401)
        self.assertEqual(answers[0].headers["Cache-Control"], "no-store")
        return answers[0]


class DiscoveryTest(StrangerTest):
    def test_the_openid_configuration_is_valid_and_names_the_issuer_it_was_fetched_from(self):
        metadata.validate()
        self.assertEqual(metadata["issuer"], firman.issuer)
        self.assertIn("client_credentials", metadata["grant_types_supported"])
        for method in ("client_secret_basic", "client_secret_post", "private_key_jwt"):
            self.assertIn(method, metadata["token_endpoint_auth_methods_supported"])

    def test_the_oauth_metadata_is_valid_and_agrees_with_the_openid_configuration(self):
        url = get_well_known_url(firman.issuer, external=True)
        oauth = AuthorizationServerMetadata(requests.get(url, timeout=10).json())
        oauth.validate()
        for name, value in oauth.items():
            self.assertEqual(value, metadata.get(name), name)

    def test_the_key_set_holds_public_keys_only(self):
        for key in requests.get(metadata["jwks_uri"], timeout=10).json()["keys"]:
            self.assertTrue({"kty", "kid", "use", "alg"} <= key.keys(), key)
            self.assertFalse({"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys())


class VerifierTest(StrangerTest):
    def test_the_verifier_of_the_guide_accepts_what_the_resource_says_and_nothing_else(self):
        verifier = Verifier(firman.issuer, API)
        session = session_with_secret("mailer", secrets["mailer"])
        for algorithm, typ, problem in (
            ("ES256", "JWT", "not an access token"),
            ("RS256", "at+jwt", "The specified alg value is not allowed"),
            ("ES256", "at+jwt", None),
        ):
            firman.command("resource", "edit", "api", "--algorithm", algorithm, "--typ", typ)
            token = fetch_token(session)["access_token"]
            if problem:
                with self.assertRaisesRegex(PyJWTError, problem):
                    verifier.verify(token)
            else:
                self.assertEqual(verifier.verify(token)["sub"], "agent:mailer")
            with self.assertRaises(PyJWTError):
                Verifier(firman.issuer, "https://other.example").verify(token)


class RefusalTest(StrangerTest):
    def test_a_wrong_secret_is_refused(self):
        answer = self.assert_refused(session_with_secret("mailer", "not-the-secret"))
        self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Basic"))
        self.assert_refused(session_with_secret("mailer", "not-the-secret", "client_secret_post"))

    def test_the_secret_of_another_agent_is_refused(self):
        self.assert_refused(session_with_secret("mailer", secrets["other"]))

    def test_an_unknown_client_is_refused_like_a_wrong_secret(self):
        unknown = self.assert_refused(session_with_secret("nobody", secrets["mailer"]))
        wrong = self.assert_refused(session_with_secret("mailer", secrets["other"]))
        self.assertEqual(unknown.text, wrong.text)

    def test_an_assertion_for_the_token_endpoint_is_refused_and_told_the_audience(self):
        self.assert_refused(
            session_with_key("signer-es256", ES256_KEY, "ES256", audience=None),
            description=f"`aud` must be {firman.issuer}, not the token endpoint",
        )

    def test_an_assertion_signed_with_another_key_is_refused(self):
        stranger = ECKey.generate_key("P-256", auto_kid=False)
        self.assert_refused(session_with_key("signer-es256", stranger, "ES256", firman.issuer))

    def test_an_assertion_is_taken_once(self):
        claims = {"jti": "the-same-twice"}
        session = session_with_key("signer-es256", ES256_KEY, "ES256", firman.issuer, claims)
        self.assert_token_for_the_api(fetch_token(session), "signer-es256")
        self.assert_refused(
            session_with_key("signer-es256", ES256_KEY, "ES256", firman.issuer, claims)
        )

    def test_a_suspended_agent_is_refused_until_it_is_resumed(self):
        session = session_with_secret("switched-off", secrets["switched-off"])
        self.assert_token_for_the_api(fetch_token(session), "switched-off")
        firman.command("agent", "suspend", "switched-off")
        self.assert_refused(session_with_secret("switched-off", secrets["switched-off"]))
        firman.command("agent", "resume", "switched-off")
        self.assert_token_for_the_api(fetch_token(session), "switched-off")


class TokenTest(StrangerTest):
    def test_a_secret_in_the_authorization_header_gets_a_token(self):
        session = session_with_secret("mailer", secrets["mailer"])
        self.assert_token_for_the_api(fetch_token(session), "mailer")

    def test_a_secret_in_the_body_gets_a_token(self):
        session = session_with_secret("mailer", secrets["mailer"], "client_secret_post")
        self.assert_token_for_the_api(fetch_token(session, resource=API, scope="read"), "mailer")

    def test_an_es256_assertion_gets_a_token(self):
        session = session_with_key("signer-es256", ES256_KEY, "ES256", firman.issuer)
        self.assert_token_for_the_api(fetch_token(session), "signer-es256")

    def test_an_rs256_assertion_gets_a_token(self):
        session = session_with_key("signer-rs256", RS256_KEY, "RS256", firman.issuer)
        self.assert_token_for_the_api(fetch_token(session), "signer-rs256")

    def test_an_eddsa_assertion_gets_a_token(self):
        session = session_with_key("signer-eddsa", EDDSA_KEY, "EdDSA", firman.issuer)
        self.assert_token_for_the_api(fetch_token(session), "signer-eddsa")

    def test_a_token_for_claude_is_of_type_jwt_and_lives_ten_minutes(self):
        answer = fetch_token(session_with_secret("thinker", secrets["thinker"]))
        claims = self.verified_claims(answer["access_token"], audience=CLAUDE, typ="JWT")
        self.assertEqual(claims["exp"] - claims["iat"], 600)
        self.assertEqual((claims["sub"], claims["acting_agent"]), ("agent:thinker", "agent:thinker"))

    def test_openid_adds_an_id_token_for_the_agent_itself(self):
        answer = fetch_token(
            session_with_secret("mailer", secrets["mailer"]), resource=API, scope="openid read"
        )
        header = jws.extract_compact(answer["id_token"].encode()).headers()
        claims = self.verified_claims(answer["id_token"], audience="mailer", typ=header["typ"])
        self.assertEqual(claims["sub"], "agent:mailer")
        access = self.verified_claims(answer["access_token"], audience=API, typ="at+jwt")
        self.assertNotEqual(claims["jti"], access["jti"])


if __name__ == "__main__":
    result = unittest.main(verbosity=2, exit=False).result
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    print(f"{max(result.testsRun - failed - skipped, 0)} passed, {failed} failed, {skipped} skipped")
    sys.exit(0 if result.wasSuccessful() else 1)
