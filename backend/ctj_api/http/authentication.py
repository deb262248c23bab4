"""The one place that resolves who sends a request; ``auth.py`` is kept for the Cognito tokens of Stage 2."""

from django.http import QueryDict
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request

from ctj_api.models import UserProfile


class CsrfSessionAuthentication(SessionAuthentication):
    """Django's session, with the CSRF check on every unsafe request, those of anonymous people included."""

    def authenticate(self, request: Request) -> tuple[UserProfile, None] | None:
        """Return the signed-in user, or ``None``; raises ``PermissionDenied`` without a valid CSRF token."""
        if request.stream is not None and request.negotiator.select_parser(request, request.parsers) is None:
            raise UnsupportedMediaType(request.content_type)
        request._request.POST = QueryDict()  # the token is in the header: no body is parsed to look for it
        self.enforce_csrf(request._request)
        user = getattr(request._request, "user", None)
        if isinstance(user, UserProfile) and user.is_active:
            return user, None
        return None
