"""Who sends a request, by an ID token of Cognito (docs/decisions/0046-*.md)."""

import re
from collections.abc import Collection
from typing import Any

import jwt
from django.conf import settings
from django.views.decorators.debug import sensitive_variables
from jwt.types import Options
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from .accounts.linking import Claims, account_of
from .clients.signing_keys import signing_keys
from .http.authentication import require_readable_body
from .models import UserProfile
from .validators import UNSTORABLE

MAX_CREDENTIALS = 8 * 1024
OPTIONS: Options = {"require": ["exp", "iat", "iss", "aud", "sub", "token_use"]}
SUB = re.compile("[ -~]{1,255}")


class CognitoAuthentication(BaseAuthentication):
    """The bearer of an ID token; a token that is sent decides alone, whatever session comes with it."""

    @sensitive_variables()
    def authenticate(self, request: Request) -> tuple[UserProfile, None] | None:
        """Return the token's account, or ``None`` without a token; raises ``AuthenticationFailed`` for a bad one."""
        if not _has_bearer(request):
            return None
        require_readable_body(request)
        credentials = request.headers["Authorization"]
        _, *tokens = credentials.split()
        if len(tokens) != 1 or len(credentials) > MAX_CREDENTIALS:
            raise AuthenticationFailed("Send one ID token of at most 8 KiB: Authorization: Bearer TOKEN.")
        account = account_of(verify_id_token(tokens[0], settings.COGNITO_APP_CLIENT_ID))
        if not account.is_active:
            raise AuthenticationFailed("This account is not active.")
        return account, None

    def authenticate_header(self, request: Request) -> str | None:
        """Return what a 401 asks for; ``None``, which makes it a 403, where accounts are local."""
        error = ', error="invalid_token"' if _has_bearer(request) else ""
        return f'Bearer realm="civictechjobs"{error}' if settings.IDENTITY_PROVIDER == "cognito" else None


@sensitive_variables()
def verify_id_token(token: str, audiences: Collection[str]) -> Claims:
    """Return what an ID token for one of these clients says; raises ``AuthenticationFailed`` for any other."""
    try:
        claims = _verified(token, audiences)
    except (jwt.PyJWTError, UnicodeError):
        raise AuthenticationFailed("The token is no valid ID token of this application, or has expired.") from None
    return Claims(
        pool=settings.COGNITO_USER_POOL,
        sub=claims["sub"],
        email=_text(claims.get("email")),
        email_verified=claims.get("email_verified") is True or claims.get("email_verified") == "true",
        first_name=_text(claims.get("given_name")),
        last_name=_text(claims.get("family_name")),
        nonce=_text(claims.get("nonce")),
        auth_time=claims["auth_time"] if isinstance(claims.get("auth_time"), int) else 0,
    )


@sensitive_variables()
def _verified(token: str, audiences: Collection[str]) -> dict[str, Any]:
    claimed = jwt.decode_complete(token, options={"verify_signature": False})
    issuer = claimed["payload"].get("iss")
    if issuer not in settings.COGNITO_ISSUERS:
        raise jwt.InvalidTokenError
    url = settings.COGNITO_JWKS_URL or f"{issuer}/.well-known/jwks.json"
    key = signing_keys(url).find(claimed["header"].get("kid", ""))
    if key is None:
        raise jwt.InvalidKeyError
    leeway = settings.COGNITO_LEEWAY_SECONDS
    claims = jwt.decode(token, key, ["RS256"], OPTIONS, audience=audiences, issuer=issuer, leeway=leeway)
    # Cognito names one client, by a text; a list of one says the same.
    is_for_several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims["token_use"] != "id" or is_for_several or not SUB.fullmatch(claims["sub"]):
        raise jwt.InvalidTokenError
    return claims


def _has_bearer(request: Request) -> bool:
    scheme = request.headers.get("Authorization", "").split()[:1]
    return settings.IDENTITY_PROVIDER == "cognito" and [part.lower() for part in scheme] == ["bearer"]


def _text(value: object) -> str:
    """Return a text that can be stored; a claim of any other kind says nothing."""
    return value if isinstance(value, str) and not UNSTORABLE.search(value) else ""
