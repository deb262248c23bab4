"""Who keeps accounts: CivicTechJobs itself, or Cognito (docs/stage-2.md)."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from ctj_api.exceptions import error_response

KEPT_BY_COGNITO = (
    "Accounts and passwords are kept by Hack for LA's Cognito. Sign up and sign in there, and send its ID token."
)


def only_local[**P](view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
    """Answer 404, which says who keeps accounts, while that is Cognito."""

    @wraps(view)
    def unless_kept_elsewhere(*args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if settings.IDENTITY_PROVIDER == "cognito":
            return error_response(HTTPStatus.NOT_FOUND, message=KEPT_BY_COGNITO)
        return view(*args, **kwargs)

    return unless_kept_elsewhere
