"""A Cognito of the tests' own: tokens, a server of keys that can also fail in every way, and a pool of moto's."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from django.conf import settings
from django.test import override_settings
from jwt.algorithms import RSAAlgorithm
from moto.server import ThreadedMotoServer
from rest_framework.test import APIClient

from .stand_in import Answer, Handler, StandIn, drip, hang, reset, say

POOL, CLIENT = "us-west-2_Tests", "app-client"
SUB = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
POOL_PASSWORD = "Violets-4-tin"
# By their ids, made when first asked for.
PRIVATE_KEYS: defaultdict[str, RSAPrivateKey] = defaultdict(lambda: generate_private_key(65537, 2048))


def public_jwk(kid: str, **changes: Any) -> dict[str, Any]:
    """Return the public key of this id as a pool publishes it."""
    jwk = RSAAlgorithm.to_jwk(PRIVATE_KEYS[kid].public_key(), as_dict=True)
    return {"kty": "RSA", "n": jwk["n"], "e": jwk["e"], "kid": kid, "use": "sig", "alg": "RS256", **changes}


class KeyServer(StandIn):
    """Serves the public keys ``kids`` of each issuer, or does what its ``mood`` says."""

    def __init__(self) -> None:
        super().__init__()
        self.issuer, self.other_issuer = f"{self.url}/{POOL}", f"{self.url}/issuer/{POOL}"
        self.mood = "keys"
        self.kids = ["first"]
        self.others: list[Any] = []  # further members of the set
        self.id_token = ""  # as a token endpoint gives it

    def answer_to(self, request: Handler) -> Answer:
        """Return the keys and the token, or a failure."""
        told = {"keys": [*map(public_jwk, self.kids), *self.others], "id_token": self.id_token}
        keys = json.dumps(told).encode()
        failures = {
            "hang": hang,
            "reset": reset,
            "drip": drip(b"HTTP/1.0 200 OK\r\nX-Drip: "),
            "error": say(500, keys),
            "redirect": say(302, keys, Location=f"{self.issuer}/elsewhere"),
            "html": say(200, b"<html></html>"),
            "list": say(200, b"[]"),
            "empty": say(200, b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "other"}]}'),
            "huge": say(200, keys + b" " * 70_000),
        }
        return failures.get(self.mood, say(200, keys))


def cognito(**changes: Any) -> override_settings:
    """Return the settings of a deployment whose accounts are those of a pool."""
    values = {
        "IDENTITY_PROVIDER": "cognito",
        "AUTHENTICATION_BACKENDS": settings.BACKENDS_OF["cognito"],
        "COGNITO_AWS_REGION": "us-west-2",
        "COGNITO_USER_POOL": POOL,
        "COGNITO_APP_CLIENT_ID": [CLIENT],
        "COGNITO_JWKS_URL": "",
    }
    return override_settings(**values | changes)


@contextmanager
def using_cognito(**changes: Any) -> Iterator[KeyServer]:
    """Let tokens of the pool count, and give the server of its keys."""
    with KeyServer() as server, cognito(COGNITO_ISSUERS=[server.issuer, server.other_issuer], **changes):
        yield server


@contextmanager
def moto_pool() -> Iterator[dict[str, str]]:
    """Run a pool of moto's whose tokens count, with two users, and give what a front end needs to know of it."""
    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    url = "http://{}:{}".format(*moto.get_host_and_port())

    def call(action: str, **body: Any) -> Any:
        target = {"X-Amz-Target": f"AWSCognitoIdentityProviderService.{action}"}
        return httpx2.post(url, headers=target, content=json.dumps(body)).raise_for_status().json()

    try:
        told = {"PoolName": "volunteers", "UsernameAttributes": ["email"]}
        pool = call("CreateUserPool", **told)["UserPool"]["Id"]
        told = {"ClientName": "web", "ReadAttributes": ["email_verified", "nonce"]}
        client = call("CreateUserPoolClient", UserPoolId=pool, **told)["UserPoolClient"]["ClientId"]
        for email, is_verified in (("ana@example.org", "true"), ("eve@example.org", "false")):
            user = {"UserPoolId": pool, "Username": email}
            verified = {"Name": "email_verified", "Value": is_verified}
            call("AdminCreateUser", **user, UserAttributes=[verified])
            call("AdminSetUserPassword", **user, Password=POOL_PASSWORD, Permanent=True)
        with cognito(
            COGNITO_USER_POOL=pool,
            COGNITO_APP_CLIENT_ID=[client],
            COGNITO_ISSUERS=[f"https://cognito-idp.us-east-1.amazonaws.com/{pool}"],
            COGNITO_JWKS_URL=f"{url}/{pool}/.well-known/jwks.json",
        ):
            yield {"MOTO_URL": url, "POOL": pool, "PASSWORD": POOL_PASSWORD, "COGNITO_CLIENT_ID": client}
    finally:
        moto.stop()


def id_token(
    kid: str | None = "first", header: Mapping[str, Any] | None = None, algorithm: str = "RS256", **changes: Any
) -> str:
    """Return a token of the pool that the settings name, signed with the key ``kid``; a claim of ``None`` is absent."""
    now = int(time.time())
    claims = {
        "iss": (settings.COGNITO_ISSUERS or [""])[0],
        "aud": (settings.COGNITO_APP_CLIENT_ID or [""])[0],
        "sub": SUB,
        "token_use": "id",
        "iat": now,
        "exp": now + 3600,
        "email": "ana@example.org",
        "email_verified": True,
        "given_name": "Ana",
        "family_name": "Reyes",
        **changes,
    }
    told = {name: value for name, value in claims.items() if value is not None}
    key = PRIVATE_KEYS[kid or "first"] if algorithm.startswith("RS") else ""
    return jwt.encode(told, key, algorithm, headers={**({"kid": kid} if kid else {}), **(header or {})})


def bearer(token: str) -> APIClient:
    """Return a client that sends this token, and whose CSRF token is checked like any other's."""
    client = APIClient(enforce_csrf_checks=True)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client
