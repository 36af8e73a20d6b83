"""How a server behind wandb-gateway verifies the header X-Wandb-Gateway-Assertion.

Needs PyJWT 2.10 or later with its extra for signatures: pip install "pyjwt[crypto]".
docs/verify-assertion.md says why each check is there. Run as a program, it reads assertions from
standard input, one a line, and prints a line of JSON for each.
"""

import json
import sys

import jwt

HEADER = "X-Wandb-Gateway-Assertion"
TYPE = "wandb-gateway-assertion+jwt"
MAX_LIFE = 60  # seconds


class Verifier:
    """Verifies assertions. Make one for the whole process: it keeps the gateway's keys."""

    def __init__(self, issuer: str, audience: str, keys_url: str = "") -> None:
        self.issuer = issuer  # the gateway's address
        self.audience = audience  # what the gateway calls this server
        # Keys are used for five minutes, and fetched anew when one is unknown, which may be new.
        self.keys = jwt.PyJWKClient(
            keys_url or issuer + "/.well-known/wandb-gateway/jwks.json",
            cache_keys=False,  # its own cache of single keys would keep one that was taken away
            cache_jwk_set=True,
            lifespan=300,
            timeout=5,
        )

    def verify(self, assertion: str) -> dict:
        """Returns the claims. Raises jwt.PyJWKClientConnectionError when nobody can tell (answer 503),
        and another jwt.PyJWTError when the assertion does not count."""
        # The gateway signs access tokens with the same keys: the type tells them apart.
        if jwt.get_unverified_header(assertion).get("typ") != TYPE:
            raise jwt.InvalidTokenError("not an assertion")
        key = self.keys.get_signing_key_from_jwt(assertion)
        claims = jwt.decode(
            assertion,
            key,  # a PyJWK: it pins the algorithm
            algorithms=["ES256", "EdDSA"],  # ours to say, never the token's
            issuer=self.issuer,
            audience=self.audience,
            leeway=10,
            options={"require": ["iss", "aud", "sub", "iat", "exp"]},
        )
        if claims["exp"] - claims["iat"] > MAX_LIFE:
            raise jwt.InvalidTokenError("it lives too long")
        return claims


def main() -> None:
    verifier = Verifier(*sys.argv[1:])
    for line in sys.stdin:
        try:
            print(json.dumps(verifier.verify(line.strip())))
        except jwt.PyJWTError as error:
            print(json.dumps({"refused": f"{type(error).__name__}: {error}"}))


if __name__ == "__main__":
    main()
