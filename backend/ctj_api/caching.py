"""What caches may keep. Everything is private unless a view says otherwise."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_cache_control

PUBLIC_MAX_AGE_SECONDS = 60

type View = Callable[..., HttpResponseBase]


def public_cache(view: View) -> View:
    """Let shared caches keep the view's answers to anonymous readers for a minute, then revalidate by ``ETag``."""

    @wraps(view)
    def cached(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        is_read = request.method in {"GET", "HEAD"} and response.status_code == HTTPStatus.OK
        if is_read and not request.user.is_authenticated:
            patch_cache_control(response, public=True, max_age=PUBLIC_MAX_AGE_SECONDS)
        return response

    return cached
