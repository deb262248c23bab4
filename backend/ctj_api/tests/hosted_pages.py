"""The hosted pages and OAuth endpoints of Cognito, which moto lacks, in front of a user pool of moto's."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import boto3
from botocore.exceptions import ClientError
from django.conf import settings
from django.test import override_settings
from moto.cognitoidp.models import cognitoidp_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer

REGION, SECRET, PASSWORD = "us-west-2", "of-the-web-client", "Violets-4-tin"
READABLE = ["email", "email_verified", "given_name", "family_name"]


class HostedPages(ThreadingHTTPServer):
    """Signs in Ana, whose address is verified, or after a visit of ``/as/EMAIL`` another; Eve's is not."""

    daemon_threads = True

    def __init__(self, keys: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keys, self.user = keys, "ana@example.org"
        self.begun: dict[str, dict[str, str]] = {}  # code → what asked for it
        access = {"aws_access_key_id": "unused", "aws_secret_access_key": "unused"}
        self.api: Any = boto3.client("cognito-idp", endpoint_url=keys, region_name=REGION, **access)
        self.pool = self.api.create_user_pool(PoolName="tests", UsernameAttributes=["email"])["UserPool"]["Id"]
        made = self.api.create_user_pool_client(UserPoolId=self.pool, ClientName="web", ReadAttributes=READABLE)
        self.client = made["UserPoolClient"]["ClientId"]
        for email, is_verified in (("ana@example.org", "true"), ("eve@example.org", "false")):
            user = {"UserPoolId": self.pool, "Username": email}
            self.api.admin_create_user(**user, UserAttributes=[{"Name": "email_verified", "Value": is_verified}])
            self.api.admin_set_user_password(**user, Password=PASSWORD, Permanent=True)

    @property
    def environment(self) -> dict[str, str]:
        """What the front end is to know."""
        address = f"http://127.0.0.1:{self.server_port}"
        client = {"COGNITO_CLIENT_ID": self.client, "COGNITO_CLIENT_SECRET": SECRET}
        return {"IDENTITY_PROVIDER": "cognito", "COGNITO_DOMAIN": address, "SITE_URL": "http://localhost:3000", **client}

    def deployment(self) -> override_settings:
        """Return the settings of an API that takes this pool's tokens."""
        return override_settings(
            IDENTITY_PROVIDER="cognito",
            AUTHENTICATION_BACKENDS=settings.BACKENDS_OF["cognito"],
            COGNITO_AWS_REGION=REGION,
            COGNITO_USER_POOL=self.pool,
            COGNITO_APP_CLIENT_ID=[self.client],
            COGNITO_ISSUERS=[f"https://cognito-idp.{REGION}.amazonaws.com/{self.pool}"],
            COGNITO_JWKS_URL=f"{self.keys}/{self.pool}/.well-known/jwks.json",
        )

    def tokens(self, form: dict[str, str]) -> dict[str, str] | None:
        """Return what a grant is worth; ``None`` for one that is refused."""
        flow, given = "REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": form.get("refresh_token", "")}
        extra = {}
        if form["grant_type"] == "authorization_code":
            begun = self.begun.pop(form["code"], {})
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if (begun.get("code_challenge"), begun.get("redirect_uri")) != (challenge, form["redirect_uri"]):
                return None
            flow, given = "USER_PASSWORD_AUTH", {"USERNAME": self.user, "PASSWORD": PASSWORD}
            model = self.model
            extra = {"nonce": begun["nonce"], **model.get_user_extra_data_by_client_id(self.client, self.user)}
        try:
            answer = self.api.initiate_auth(ClientId=self.client, AuthFlow=flow, AuthParameters=given)
        except ClientError:
            return None
        result = answer["AuthenticationResult"]
        token = self.model.create_jwt(self.client, self.user, "id", extra_data=extra)[0] if extra else result["IdToken"]
        refresh = {"refresh_token": result["RefreshToken"]} if "RefreshToken" in result else {}
        return {"id_token": token, **refresh}

    @property
    def model(self) -> Any:
        """The pool inside moto."""
        return cognitoidp_backends[DEFAULT_ACCOUNT_ID][REGION].user_pools[self.pool]


class _Handler(BaseHTTPRequestHandler):
    server: HostedPages

    def do_GET(self) -> None:
        """Send somebody back at once, as the pages do who know them."""
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        if url.path.startswith("/as/"):
            self.server.user = url.path.removeprefix("/as/")
        elif url.path == "/logout":
            return self.answer(302, Location=query["logout_uri"])
        elif (query["client_id"], query["code_challenge_method"]) == (self.server.client, "S256"):
            code = str(uuid4())
            self.server.begun[code] = query
            back = urlencode({"code": code, "state": query["state"]})
            return self.answer(302, Location=f"{query['redirect_uri']}?{back}")
        return self.answer(200)

    def do_POST(self) -> None:
        """Answer with tokens, or take a refresh token back."""
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        secret = base64.b64encode(f"{self.server.client}:{SECRET}".encode()).decode()
        if self.headers["Authorization"] != f"Basic {secret}":
            return self.answer(401)
        if self.path == "/oauth2/revoke":
            self.server.model.refresh_tokens[form["token"]] = None
            return self.answer(200)
        tokens = self.server.tokens(form)
        return self.answer(400 if tokens is None else 200, json.dumps(tokens).encode())

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def hosted_pages() -> Iterator[HostedPages]:
    """Have a pool with its pages, and an API that takes its tokens."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with HostedPages(f"http://{host}:{port}") as pages, pages.deployment():
        Thread(target=pages.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield pages
        finally:
            pages.shutdown()
            moto.stop()
