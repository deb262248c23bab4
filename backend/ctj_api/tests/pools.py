"""Three OpenID servers that take the place of the pool's own sign-in pages, each with a manager and a volunteer."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx2
from django.conf import settings
from django.test import override_settings
from oidc_provider_mock import User, run_server_in_thread

from .cognito import POOL
from .common import PASSWORD
from .test_nextjs import install_packages

HERE = Path(__file__).parent / "oidc"
CLIENT, SECRET = "admin-client", "admin-secret"
PM, VOLUNTEER = "ana@example.org", "ben@example.org"
ORIGIN, CALLBACK = "http://testserver", "/admin/cognito/callback/"


class Pool(NamedTuple):
    """Where an OpenID server is, what its sign-in page sends, and what else a deployment's settings say of it."""

    domain: str
    form: Callable[[str, dict[str, str]], dict[str, str]]
    changes: dict[str, Any]

    def settings(self) -> override_settings:
        """Return the settings of a deployment whose admin is entered by this server."""
        values = {
            "IDENTITY_PROVIDER": "cognito",
            "AUTHENTICATION_BACKENDS": settings.BACKENDS_OF["cognito"],
            "COGNITO_USER_POOL": POOL,
            "COGNITO_ISSUERS": [self.domain],
            "COGNITO_DOMAIN": self.domain,
            "COGNITO_ADMIN_CLIENT_ID": CLIENT,
            "COGNITO_ADMIN_CLIENT_SECRET": SECRET,
        }
        return override_settings(**values | self.changes)

    def sign_in(self, url: str, email: str) -> str:
        """Fill in the page that ``url`` leads to, and return the address that the server sends the browser back to."""
        with httpx2.Client() as browser:
            page = browser.get(url, follow_redirects=True)
            answer = browser.post(page.url, data=self.form(email, dict(parse_qsl(urlsplit(url).query))))
            while not (location := answer.headers["Location"]).startswith(ORIGIN):
                answer = browser.get(urljoin(url, location))
        return location


@contextmanager
def mock_pool() -> Iterator[Pool]:
    """Run oidc-provider-mock, which is Python's, asks for no password and takes any verifier."""
    claims = {"token_use": "id", "email_verified": True}
    users = [User(sub=email, claims={"email": email, **claims}) for email in (PM, VOLUNTEER)]
    with run_server_in_thread(user_claims=users) as server:
        domain = f"http://localhost:{server.server_port}"
        yield Pool(domain, lambda email, _: {"sub": email}, {"COGNITO_JWKS_URL": f"{domain}/jwks"})


@contextmanager
def node_pool(origin: str = ORIGIN) -> Iterator[Pool]:
    """Run oidc-provider, which knows all of OpenID Connect; any password does."""
    client = {"client_id": CLIENT, "client_secret": SECRET, "redirect_uris": [f"{origin}{CALLBACK}"]}
    users = {email: {"email": email, "email_verified": True} for email in (PM, VOLUNTEER)}
    options = json.dumps({"client": client, "signOutUrl": f"{origin}/admin/login/", "users": users})
    with _node("pool.mjs", options) as server:
        domain = f"http://127.0.0.1:{int(server.stdout.readline())}"
        yield Pool(domain, lambda email, _: {"prompt": "login", "login": email, "password": PASSWORD}, {})


@contextmanager
def local_pool() -> Iterator[Pool]:
    """Run cognito-local, whose tokens are those of Cognito but for the nonce, which it doesn't give back."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    domain = f"http://127.0.0.1:{port}"
    with _node("node_modules/cognito-local/lib/bin/start.js", HOST="127.0.0.1", PORT=str(port)) as server:
        assert "running on" in server.stdout.readline()
        headers = {"Content-Type": "application/x-amz-json-1.1"}

        def call(action: str, **parameters: Any) -> Any:
            target = {"X-Amz-Target": f"AWSCognitoIdentityProviderService.{action}"}
            return httpx2.post(domain, json=parameters, headers=headers | target).raise_for_status().json()

        pool = call("CreateUserPool", PoolName="tests")["UserPool"]["Id"]
        for email in (PM, VOLUNTEER):
            user = {"UserPoolId": pool, "Username": email}
            attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}]
            call("AdminCreateUser", **user, UserAttributes=attributes, MessageAction="SUPPRESS")
            call("AdminSetUserPassword", **user, Password=PASSWORD, Permanent=True)
        asked = {"ClientName": "admin", "GenerateSecret": True, "CallbackURLs": [f"{ORIGIN}{CALLBACK}"]}
        client = call("CreateUserPoolClient", UserPoolId=pool, **asked)["UserPoolClient"]
        changes = {
            "COGNITO_ISSUERS": [f"{domain}/{pool}"],
            "COGNITO_ADMIN_CLIENT_ID": client["ClientId"],
            "COGNITO_ADMIN_CLIENT_SECRET": client["ClientSecret"],
            "COGNITO_NONCE_REQUIRED": False,
        }
        yield Pool(domain, lambda email, query: query | {"username": email, "password": PASSWORD}, changes)


@contextmanager
def _node(script: str, *arguments: str, **environment: str) -> Iterator[Any]:
    install_packages(HERE)
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            ["node", str(HERE / script), *arguments],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
