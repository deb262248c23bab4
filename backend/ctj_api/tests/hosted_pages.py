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
from django.conf import settings
from django.test import override_settings
from moto.server import ThreadedMotoServer

REGION, SECRET, PASSWORD = "us-west-2", "of-the-web-client", "Violets-4-tin"


class HostedPages(ThreadingHTTPServer):
    """Signs in Ana, whose address is verified, or after a visit of ``/as/EMAIL`` another; Eve's is not."""

    daemon_threads = True

    def __init__(self, keys: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keys = keys
        access = {"aws_access_key_id": "unused", "aws_secret_access_key": "unused"}
        self.api: Any = boto3.client("cognito-idp", endpoint_url=keys, region_name=REGION, **access)
        self.pool = self.api.create_user_pool(PoolName="tests", UsernameAttributes=["email"])["UserPool"]["Id"]
        # A user's nonce is an attribute, as moto puts nothing else into tokens.
        told = {"UserPoolId": self.pool, "ClientName": "web", "ReadAttributes": ["email_verified", "nonce"]}
        self.client = self.api.create_user_pool_client(**told)["UserPoolClient"]["ClientId"]
        for email, is_verified in (("eve@example.org", "false"), ("ana@example.org", "true")):
            self.user = {"UserPoolId": self.pool, "Username": email}
            self.api.admin_create_user(**self.user, UserAttributes=[{"Name": "email_verified", "Value": is_verified}])
            self.api.admin_set_user_password(**self.user, Password=PASSWORD, Permanent=True)
        self.begun: dict[str, dict[str, str]] = {}  # code → what asked for it

    @property
    def environment(self) -> dict[str, str]:
        """What the front end is to know."""
        return {
            "IDENTITY_PROVIDER": "cognito",
            "SITE_URL": "http://localhost:3000",
            "COGNITO_DOMAIN": f"http://127.0.0.1:{self.server_port}",
            "COGNITO_CLIENT_ID": self.client,
            "COGNITO_CLIENT_SECRET": SECRET,
        }

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

    def answer(self, form: dict[str, str]) -> dict[str, str] | None:
        """Return the tokens of a grant; ``None`` for one that is refused."""
        if form["grant_type"] == "refresh_token":
            return self.authenticate("REFRESH_TOKEN_AUTH", REFRESH_TOKEN=form["refresh_token"])
        begun = self.begun.pop(form["code"], {})
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (begun.get("code_challenge"), begun.get("redirect_uri")) != (challenge, form["redirect_uri"]):
            return None
        nonce = {"Name": "nonce", "Value": begun["nonce"]}
        self.api.admin_update_user_attributes(**self.user, UserAttributes=[nonce])
        return self.authenticate("USER_PASSWORD_AUTH", USERNAME=self.user["Username"], PASSWORD=PASSWORD)

    def authenticate(self, flow: str, **parameters: str) -> dict[str, str] | None:
        """Have moto make tokens."""
        try:
            made = self.api.initiate_auth(ClientId=self.client, AuthFlow=flow, AuthParameters=parameters)
        except self.api.exceptions.NotAuthorizedException:
            return None
        names = {"id_token": "IdToken", "refresh_token": "RefreshToken"}
        tokens = made["AuthenticationResult"]
        return {name: tokens[theirs] for name, theirs in names.items() if theirs in tokens}


class _Handler(BaseHTTPRequestHandler):
    server: HostedPages

    def do_GET(self) -> None:
        """Send somebody back at once, as the pages do who know them."""
        server, url = self.server, urlsplit(self.path)
        query, back, code = dict(parse_qsl(url.query)), "", str(uuid4())
        if url.path.startswith("/as/"):
            server.user["Username"] = url.path.removeprefix("/as/")
        elif url.path == "/logout":
            back = query["logout_uri"]
        elif (query["client_id"], query["code_challenge_method"]) == (server.client, "S256"):
            server.begun[code] = query
            back = f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
        self.respond(302, back)

    def do_POST(self) -> None:
        """Answer with tokens, or take those of a user back."""
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        secret = base64.b64encode(f"{self.server.client}:{SECRET}".encode()).decode()
        if self.headers["Authorization"] != f"Basic {secret}":
            self.respond(401)
        elif self.path == "/oauth2/revoke":
            self.server.api.admin_user_global_sign_out(**self.server.user)
            self.respond(200)
        else:
            tokens = self.server.answer(form)
            self.respond(200 if tokens else 400, body=json.dumps(tokens))

    def respond(self, status: int, location: str = "/", body: str = "") -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body.encode())

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
