"""The MCP SDK for Python, client and server, with the real firman as authorization server. The server names
firman in its metadata (RFC 9728) and verifies tokens by firman's keys; the client finds all the rest by itself."""

import asyncio
import logging
import sys
import threading
import unittest

import httpx2
import jwt
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mcp import Client
from mcp.client.auth import OAuthTokenError
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from server import Firman, eventually, free_ports
from verify import Verifier

KEY = ec.generate_private_key(ec.SECP256R1())

firman = tools = secret = None


def setUpModule():
    global firman, tools, secret
    logging.getLogger("mcp").setLevel(logging.CRITICAL)  # it logs each refusal with its trace
    firman = unittest.enterModuleContext(Firman())
    tools = unittest.enterModuleContext(ToolServer(firman.issuer))
    firman.command("resource", "add", "tools", "--identifier", tools.url, "--scope", "call")
    firman.command("resource", "add", "other", "--identifier", "urn:other", "--scope", "call")
    firman.command("role", "add", "caller", "--grant", "tools", "--grant", "other")
    key = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    add = ("--owner", "team", "--role", "caller")
    secret = firman.command("agent", "add", "mailer", *add, "--secret")["client_secret"]
    path = firman.file("key.pem", key.decode())
    firman.command("agent", "add", "signer", *add, "--public-key", path)


class FirmanVerifier(Verifier):
    """What the server does with a token: signature by firman's keys, then issuer, audience and times."""

    async def verify_token(self, token):
        try:
            claims = self.verify(token)
        except jwt.PyJWTError:
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims["scope"].split(),
            expires_at=claims["exp"],
            resource=claims["aud"],
        )


class ToolServer:
    """A server with one tool, which tells who called it."""

    def __init__(self, issuer):
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}/mcp"
        server = MCPServer(
            "tools",
            token_verifier=FirmanVerifier(issuer, self.url),
            auth=AuthSettings(
                issuer_url=issuer, resource_server_url=self.url, validate_token_resource=True
            ),
            log_level="ERROR",
        )

        @server.tool()
        def whoami() -> str:
            caller = get_access_token()
            return f"{caller.client_id} {' '.join(caller.scopes)}"

        self.server = uvicorn.Server(
            uvicorn.Config(server.streamable_http_app(), port=port, log_level="error")
        )

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        eventually("the tool server listens", lambda: self.server.started)
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()


class Memory:
    """Where a client keeps its tokens."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def ask_who_i_am(provider):
    async with httpx2.AsyncClient(auth=provider, timeout=20) as http:
        async with Client(streamable_http_client(tools.url, http_client=http)) as client:
            return (await client.call_tool("whoami", {})).content[0].text


def who_am_i(provider):
    return asyncio.run(ask_who_i_am(provider))


def with_secret(client_secret, **options):
    return ClientCredentialsOAuthProvider(
        server_url=tools.url,
        storage=Memory(),
        client_id="mailer",
        client_secret=client_secret,
        issuer=firman.issuer,
        **options,
    )


class McpTest(unittest.TestCase):
    def assert_refused(self, provider, description):
        """The SDK's own error, found in the groups that its tasks wrap it in."""
        with self.assertRaises(BaseException) as raised:
            who_am_i(provider)
        errors, found = [raised.exception], []
        while errors:
            error = errors.pop()
            errors.extend(getattr(error, "exceptions", ()))
            found.append(error)
        refusals = [str(error) for error in found if isinstance(error, OAuthTokenError)]
        self.assertTrue(any(description in refusal for refusal in refusals), found)

    def test_a_wrong_secret_is_refused(self):
        self.assert_refused(with_secret("not-the-secret"), "client authentication failed")

    def test_a_secret_in_the_authorization_header_gets_a_token(self):
        self.assertEqual(who_am_i(with_secret(secret)), "mailer call")

    def test_a_secret_in_the_body_gets_a_token(self):
        provider = with_secret(secret, token_endpoint_auth_method="client_secret_post")
        self.assertEqual(who_am_i(provider), "mailer call")

    def test_a_key_gets_a_token(self):
        key = KEY.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        signed = SignedJWTParameters(
            issuer="signer", subject="signer", signing_key=key.decode(), signing_algorithm="ES256"
        )
        provider = PrivateKeyJWTOAuthProvider(
            server_url=tools.url,
            storage=Memory(),
            client_id="signer",
            assertion_provider=signed.create_assertion_provider(),
            issuer=firman.issuer,
        )
        self.assertEqual(who_am_i(provider), "signer call")


if __name__ == "__main__":
    result = unittest.main(verbosity=2, exit=False).result
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    print(f"{max(result.testsRun - failed - skipped, 0)} passed, {failed} failed, {skipped} skipped")
    sys.exit(0 if result.wasSuccessful() else 1)
