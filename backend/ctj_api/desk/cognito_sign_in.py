"""Sign-in to the admin by the pool's own pages: OpenID Connect's authorization code flow (docs/decisions/0049-*.md)."""

import asyncio
import hashlib
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from threading import BoundedSemaphore
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, login, user_logged_in
from django.contrib.auth.views import LoginView
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework.exceptions import APIException

from ctj_api.accounts.limits import Limit, require_from_address
from ctj_api.accounts.linking import Claims, account_of
from ctj_api.accounts.sessions import ENTERED_AT
from ctj_api.auth import verify_id_token
from ctj_api.clients.download import FAILURES, download
from ctj_api.models import UserProfile

BACKEND = "ctj_api.accounts.linking.CognitoBackend"
COOKIE = "cognito_sign_in_"
PENDING_SECONDS = 10 * 60
ANSWER_SECONDS = 5
# Threads of a process that wait for the pool at once; the others stay free for everybody else.
_waiting = BoundedSemaphore(2)


class SignInError(Exception):
    """A sign-in that leads nowhere, for a reason that only the log tells."""


def is_configured() -> bool:
    """Return whether the admin can be entered by the pool's sign-in."""
    return settings.IDENTITY_PROVIDER == "cognito" and bool(settings.COGNITO_DOMAIN)


def has_signed_in_by_pool(request: HttpRequest) -> bool:
    """Return whether the pool's sign-in began this session."""
    return is_configured() and request.session.get(BACKEND_SESSION_KEY) == BACKEND


def sign_out_url(request: HttpRequest) -> str:
    """Return the address that ends the session at the pool and leads back to the sign-in page."""
    back = request.build_absolute_uri(reverse("admin:login"))
    query = {"client_id": settings.COGNITO_ADMIN_CLIENT_ID, "logout_uri": back}
    return f"{settings.COGNITO_DOMAIN}/logout?{urlencode(query)}"


def next_page(request: HttpRequest) -> str:
    """Return where a sign-in leads: the address of the query, if it is one of this site, or the index."""
    page = LoginView()
    page.setup(request)
    return page.get_redirect_url() or reverse("admin:index")


def begin(request: HttpRequest) -> HttpResponseRedirect:
    """Send the browser to the pool's sign-in, with a cookie that the pool's answer has to fit."""
    if not is_configured():
        raise Http404
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    query = {
        "response_type": "code",
        "client_id": settings.COGNITO_ADMIN_CLIENT_ID,
        "redirect_uri": request.build_absolute_uri(reverse("admin:cognito_callback")),
        "scope": "openid email profile",
        "state": state,
        "nonce": nonce,
        "code_challenge": urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    if "again" in request.GET:
        query["prompt"] = "login"
    response = HttpResponseRedirect(f"{settings.COGNITO_DOMAIN}/oauth2/authorize?{urlencode(query)}")
    name = f"{COOKIE}{state}"  # so that several tabs don't disturb one another
    response.set_cookie(
        name,
        signing.dumps([nonce, verifier, next_page(request)], salt=name),
        max_age=PENDING_SECONDS,
        path=reverse("admin:cognito_callback"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",  # a browser withholds a strict one when the pool sends it back
    )
    return response


def finish(request: HttpRequest, may_enter: Callable[[UserProfile], bool]) -> str:
    """Begin the session of who has signed in at the pool, and return where they go; raises ``SignInError``."""
    if not is_configured():
        raise Http404
    require_from_address("LOGIN_ADDRESS_RATE", request)
    nonce, verifier, page = _pending(request)
    whose = "the token's owner"
    try:
        claims = verify_id_token(_id_token(request, verifier), [settings.COGNITO_ADMIN_CLIENT_ID])
        if not constant_time_compare(claims.nonce, nonce) and (claims.nonce or settings.COGNITO_NONCE_REQUIRED):
            raise SignInError("the token was made for another sign-in")
        whose = f"Cognito's user {claims.sub}"
        user = account_of(claims)
    except APIException as error:
        # Not in its own words, which may quote an address.
        raise SignInError(f"{whose} is refused: {error.default_code}") from error
    if not may_enter(user):
        raise SignInError(f"{whose} has no work in the admin")
    _begin_session(request, user, claims)
    return page


def _pending(request: HttpRequest) -> tuple[str, str, str]:
    """Return nonce, verifier and the address to go to of the sign-in that this answers, once for each sign-in."""
    name = f"{COOKIE}{request.GET.get('state')}"
    try:
        nonce, verifier, page = signing.loads(request.COOKIES.get(name, ""), salt=name, max_age=PENDING_SECONDS)
    except signing.BadSignature as error:
        raise SignInError("this browser has no such sign-in pending") from error
    if Limit("cognito sign-in", (1, PENDING_SECONDS), name).count():
        raise SignInError("this sign-in has been answered already")
    return nonce, verifier, page


def _id_token(request: HttpRequest, verifier: str) -> str:
    if "code" not in request.GET:
        error = request.GET.get("error", "")
        raise SignInError(f"the pool says {error[:40] if error.isidentifier() else 'nothing of use'}")
    client_id = settings.COGNITO_ADMIN_CLIENT_ID
    form = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "code": request.GET["code"],
        "redirect_uri": request.build_absolute_uri(reverse("admin:cognito_callback")),
        "code_verifier": verifier,
    }
    if not _waiting.acquire(blocking=False):
        raise SignInError("too many sign-ins wait for the pool")
    url, auth = f"{settings.COGNITO_DOMAIN}/oauth2/token", (client_id, settings.COGNITO_ADMIN_CLIENT_SECRET)
    try:
        return str(asyncio.run(download("POST", url, ANSWER_SECONDS, data=form, auth=auth)).get("id_token"))
    except FAILURES as error:
        raise SignInError(f"the token endpoint fails: {type(error).__name__} {error}") from error
    finally:
        _waiting.release()


def _begin_session(request: HttpRequest, user: UserProfile, claims: Claims) -> None:
    """Begin a session with a new key, or renew the user's own without outdating the forms that are open."""
    if has_signed_in_by_pool(request) and request.user == user:
        user_logged_in.send(UserProfile, request=request, user=user)
    else:
        login(request, user, BACKEND)
    request.session.cycle_key()  # Django keeps that of somebody who signs in again
    # When the pool last asked who this is: it doesn't ask those who are still signed in there.
    request.session[ENTERED_AT] = min(time.time(), claims.auth_time)
    request.session.set_expiry(timezone.now() + timedelta(hours=8))
