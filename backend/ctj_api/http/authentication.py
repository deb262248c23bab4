"""Who sends a request, by a session cookie; ``auth.py`` knows Cognito's tokens."""

from typing import Any

from django.conf import settings
from django.http import QueryDict
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from ctj_api.models import UserProfile


class CsrfSessionAuthentication(SessionAuthentication):
    """Django's session, with the CSRF check on every unsafe request, those of anonymous people included."""

    def authenticate(self, request: Request) -> tuple[UserProfile, None] | None:
        """Return the signed-in user, or ``None``; raises ``PermissionDenied`` without a valid CSRF token."""
        require_readable_body(request)
        django_request: Any = request._request
        django_request.POST = QueryDict()  # the token is in the header: no body is parsed to look for it
        # Under Cognito a browser sends nothing but this cookie by itself.
        if settings.IDENTITY_PROVIDER == "local" or settings.SESSION_COOKIE_NAME in request.COOKIES:
            self.enforce_csrf(django_request)
        user = getattr(django_request, "user", None)
        if isinstance(user, UserProfile) and user.is_active:
            return user, None
        return None


def require_readable_body(request: Request) -> None:
    """Raise ``UnsupportedMediaType`` for a body that no parser reads; nobody looks at the body of a GET."""
    if request.method in SAFE_METHODS:
        return
    given: Any = request
    if given.stream is not None and given.negotiator.select_parser(given, given.parsers) is None:
        raise UnsupportedMediaType(given.content_type)
