"""A Cognito of the tests' own: tokens, and a server of keys that can also fail in every way."""

import json
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from django.conf import settings
from django.test import override_settings
from jwt.algorithms import RSAAlgorithm
from rest_framework.test import APIClient

POOL, CLIENT = "us-west-2_Tests", "app-client"
SUB = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
# By their ids, made when first asked for.
PRIVATE_KEYS: defaultdict[str, RSAPrivateKey] = defaultdict(lambda: generate_private_key(65537, 2048))


def public_jwk(kid: str, **changes: Any) -> dict[str, Any]:
    """Return the public key of this id as a pool publishes it."""
    jwk = RSAAlgorithm.to_jwk(PRIVATE_KEYS[kid].public_key(), as_dict=True)
    return {"kty": "RSA", "n": jwk["n"], "e": jwk["e"], "kid": kid, "use": "sig", "alg": "RS256", **changes}


class KeyServer(ThreadingHTTPServer):
    """Serves the public keys ``kids`` of each issuer, or does what its ``mood`` says."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _KeyHandler)
        self.issuer = f"http://127.0.0.1:{self.server_port}/{POOL}"
        self.other_issuer = f"http://127.0.0.1:{self.server_port}/issuer/{POOL}"
        self.mood = "keys"  # or: html, list, empty, error, redirect, huge, drip, hang, reset
        self.kids = ["first"]
        self.others: list[Any] = []  # further members of the set
        self.id_token = ""  # as a token endpoint gives it
        self.fetches = 0
        self.closing = Event()


class _KeyHandler(BaseHTTPRequestHandler):
    server: KeyServer

    def do_GET(self) -> None:
        """Answer as the mood is."""
        server = self.server
        server.fetches += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = {"keys": [*map(public_jwk, server.kids), *server.others], "id_token": server.id_token}
        keys = json.dumps(told).encode()
        match server.mood:
            case "hang":
                server.closing.wait()
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.connection.close()
            case "drip":
                self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Drip: ")
                while not server.closing.wait(0.2):
                    self.wfile.write(b".")
            case "error":
                self.answer(500, keys)
            case "redirect":
                self.answer(302, keys, Location=f"{server.issuer}/elsewhere")
            case mood:
                useless = b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "other"}]}'
                body = {"html": b"<html></html>", "list": b"[]", "empty": useless, "huge": keys + b" " * 70_000}
                self.answer(200, body.get(mood, keys))

    def do_POST(self) -> None:
        """Answer a form as the mood is."""
        self.do_GET()

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """Have a server of keys, whose address no test before had; leaving this, it is away."""
    with KeyServer() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()


def cognito(server: KeyServer, **changes: Any) -> override_settings:
    """Return the settings of a deployment whose accounts are those of the server's pool."""
    values = {
        "IDENTITY_PROVIDER": "cognito",
        "AUTHENTICATION_BACKENDS": settings.BACKENDS_OF["cognito"],
        "COGNITO_AWS_REGION": "us-west-2",
        "COGNITO_USER_POOL": POOL,
        "COGNITO_APP_CLIENT_ID": [CLIENT],
        "COGNITO_ISSUERS": [server.issuer, server.other_issuer],
        "COGNITO_JWKS_URL": "",
    }
    return override_settings(**values | changes)


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
