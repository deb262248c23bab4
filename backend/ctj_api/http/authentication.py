"""The one place that resolves who sends a request; ``auth.py`` is kept for the Cognito tokens of Stage 2."""

from typing import Any

from django.http import QueryDict
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request

from ctj_api.models import UserProfile


class CsrfSessionAuthentication(SessionAuthentication):
    """Django's session, with the CSRF check on every unsafe request, those of anonymous people included."""

    def authenticate(self, request: Request) -> tuple[UserProfile, None] | None:
        """Return the signed-in user, or ``None``; raises ``PermissionDenied`` without a valid CSRF token."""
        given: Any = request
        if given.stream is not None and given.negotiator.select_parser(given, given.parsers) is None:
            raise UnsupportedMediaType(given.content_type)
        given._request.POST = QueryDict()  # the token is in the header: no body is parsed to look for it
        self.enforce_csrf(given._request)
        user = getattr(request._request, "user", None)
        if isinstance(user, UserProfile) and user.is_active:
            return user, None
        return None
