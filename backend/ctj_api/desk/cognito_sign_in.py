"""Sign-in to the admin by the pool's own pages: OpenID Connect's authorization code flow (docs/decisions/0049-*.md)."""

import asyncio
import hashlib
import json
import re
import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import httpx2
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, login, user_logged_in
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.encoding import iri_to_uri
from rest_framework.exceptions import APIException

from ctj_api.accounts.limits import Limit, require_from_address
from ctj_api.accounts.linking import account_of
from ctj_api.accounts.sessions import ENTERED_AT
from ctj_api.auth import Claims, verify_id_token
from ctj_api.models import UserProfile

BACKEND = "ctj_api.accounts.linking.CognitoBackend"
COOKIE = "cognito_sign_in_"
AGAIN = "again"
PENDING_SECONDS = 10 * 60
SESSION_AGE = timedelta(hours=8)
MAX_NEXT = 1_500  # a browser drops a cookie beyond 4 KiB

TOKEN_TIMEOUT = httpx2.Timeout(3, connect=2)
ANSWER_SECONDS = 5  # for all of an answer, which may come slowly
MAX_ANSWER = 64 * 1024
OAUTH_ERROR = re.compile(r"[a-z_]{1,40}")
# Threads of a process that wait for the pool at once; the others stay free for everybody else.
_token_requests = threading.BoundedSemaphore(2)


class Refused(Exception):
    """A sign-in that leads nowhere, for a reason that only the log tells."""


def is_configured() -> bool:
    """Return whether the admin can be entered by the pool's sign-in."""
    return settings.IDENTITY_PROVIDER == "cognito" and bool(settings.COGNITO_DOMAIN)


def require_configured() -> None:
    """Raise ``Http404`` where the admin can't be entered by the pool's sign-in."""
    if not is_configured():
        raise Http404


def has_signed_in_by_pool(request: HttpRequest) -> bool:
    """Return whether the pool's sign-in began this session."""
    return is_configured() and request.session.get(BACKEND_SESSION_KEY) == BACKEND


def sign_out_url(request: HttpRequest) -> str:
    """Return the address that ends the session at the pool and leads back to the sign-in page."""
    back = request.build_absolute_uri(reverse("admin:login"))
    return _pool_url("/logout", client_id=settings.COGNITO_ADMIN_CLIENT_ID, logout_uri=back)


def begin(request: HttpRequest, next_page: str) -> HttpResponseRedirect:
    """Send the browser to the pool's sign-in, with a cookie that the pool's answer has to fit."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    prompt = {"prompt": "login"} if AGAIN in request.GET else {}
    url = _pool_url(
        "/oauth2/authorize",
        response_type="code",
        client_id=settings.COGNITO_ADMIN_CLIENT_ID,
        redirect_uri=_callback_url(request),
        scope="openid email profile",
        state=state,
        nonce=nonce,
        code_challenge=challenge,
        code_challenge_method="S256",
        **prompt,
    )
    next_page = iri_to_uri(next_page)
    next_page = next_page if len(next_page) <= MAX_NEXT else reverse("admin:index")
    response = HttpResponseRedirect(url)
    # Of its own for each state, so that several tabs don't disturb one another.
    response.set_cookie(
        f"{COOKIE}{state}",
        signing.dumps([nonce, verifier, next_page], salt=f"{COOKIE}{state}"),
        max_age=PENDING_SECONDS,
        path=reverse("admin:cognito_callback"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",  # Strict would be withheld when the pool sends the browser back
    )
    return response


def finish(request: HttpRequest, may_enter: Callable[[UserProfile], bool]) -> str:
    """Begin the session of who has signed in at the pool, and return the address where they go; raises ``Refused``."""
    require_from_address("LOGIN_ADDRESS_RATE", request)
    nonce, verifier, next_page = _pending_sign_in(request)
    whose = "the token's owner"
    try:
        claims = verify_id_token(_id_token(request, verifier), [settings.COGNITO_ADMIN_CLIENT_ID])
        _require_nonce(claims, nonce)
        whose = f"Cognito's user {claims.sub}"
        user = account_of(claims)
    except APIException as error:
        # Not in its own words, which may quote an address.
        raise Refused(f"{whose} is refused: {error.default_code}") from error
    if not may_enter(user):
        raise Refused("the account has no work in the admin")
    _begin_session(request, user, claims)
    return next_page


def _pool_url(path: str, **query: str) -> str:
    url = f"{settings.COGNITO_DOMAIN.rstrip('/')}{path}"
    return f"{url}?{urlencode(query)}" if query else url


def _callback_url(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("admin:cognito_callback"))


def _pending_sign_in(request: HttpRequest) -> tuple[str, str, str]:
    """Return nonce, verifier and the address to go to of the sign-in that this answers, once for each sign-in."""
    name = f"{COOKIE}{request.GET.get('state')}"
    try:
        pending = signing.loads(request.COOKIES.get(name, ""), salt=name, max_age=PENDING_SECONDS)
    except signing.BadSignature as error:
        raise Refused("this browser has no such sign-in pending") from error
    if Limit("cognito sign-in", (1, PENDING_SECONDS), name).count():
        raise Refused("this sign-in has been answered already")
    nonce, verifier, next_page = pending
    return nonce, verifier, next_page


def _id_token(request: HttpRequest, verifier: str) -> str:
    """Return the ID token that the pool gives for the code; raises ``Refused`` for any other answer."""
    if "code" not in request.GET:
        error = request.GET.get("error", "")
        raise Refused(f"the pool says {error if OAUTH_ERROR.fullmatch(error) else 'nothing of use'}")
    form = {
        "grant_type": "authorization_code",
        "client_id": settings.COGNITO_ADMIN_CLIENT_ID,
        "code": request.GET["code"],
        "redirect_uri": _callback_url(request),
        "code_verifier": verifier,
    }
    if not _token_requests.acquire(blocking=False):
        raise Refused("too many sign-ins wait for the pool")
    try:
        answer = json.loads(asyncio.run(_token_answer(form)))
        return str(answer["id_token"])
    except (httpx2.HTTPError, TimeoutError) as error:
        raise Refused(f"the token endpoint can't be asked: {type(error).__name__}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise Refused("the token endpoint gives no ID token") from error
    finally:
        _token_requests.release()


async def _token_answer(form: dict[str, str]) -> bytes:
    auth = (settings.COGNITO_ADMIN_CLIENT_ID, settings.COGNITO_ADMIN_CLIENT_SECRET)
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    body = b""
    async with (
        asyncio.timeout(ANSWER_SECONDS),
        httpx2.AsyncClient(timeout=TOKEN_TIMEOUT, auth=auth, headers=headers) as client,
        client.stream("POST", _pool_url("/oauth2/token"), data=form) as response,
    ):
        if response.status_code != HTTPStatus.OK:
            raise Refused(f"the token endpoint answers {response.status_code}")
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_ANSWER:
                raise Refused("the token endpoint's answer is too long")
    return body


def _require_nonce(claims: Claims, nonce: str) -> None:
    is_needless = not claims.nonce and not settings.COGNITO_NONCE_REQUIRED
    if not is_needless and not constant_time_compare(claims.nonce, nonce):
        raise Refused("the token was made for another sign-in")


def _begin_session(request: HttpRequest, user: UserProfile, claims: Claims) -> None:
    """Begin a session with a new key, or renew the user's own without outdating the forms that are open."""
    if has_signed_in_by_pool(request) and request.user == user:
        request.session.cycle_key()
        user_logged_in.send(UserProfile, request=request, user=user)
    else:
        login(request, user, BACKEND)
    # When the pool last asked who this is: it doesn't ask who is still signed in there.
    request.session[ENTERED_AT] = min(time.time(), claims.auth_time)
    request.session.set_expiry(timezone.now() + SESSION_AGE)
