"""What a server does with a token of firman's: the lines of the guide."""

import jwt


class Verifier:
    def __init__(self, issuer, audience):
        self.issuer, self.audience = issuer, audience
        self.keys = jwt.PyJWKClient(f"{issuer}/oauth2/jwks")

    def verify(self, token):
        """The claims; jwt.PyJWTError when it is not a good token."""
        verified = jwt.decode_complete(
            token,
            self.keys.get_signing_key_from_jwt(token),
            algorithms=["ES256"],
            issuer=self.issuer,
            audience=self.audience,
            options={"require": ["exp", "sub"]},
        )
        if verified["header"].get("typ") != "at+jwt":
            raise jwt.InvalidTokenError("not an access token")
        return verified["payload"]
