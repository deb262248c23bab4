"""What holds for every request under ``/api/``, whichever view answers it, or none."""

import logging
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, DisallowedHost, RequestDataTooBig, TooManyFieldsSent
from django.core.signals import got_request_exception
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.utils.cache import get_conditional_response, has_vary_header, patch_vary_headers
from django.utils.deprecation import MiddlewareMixin

from ctj_api.exceptions import NO_SUCH_PARAMETER, error_response, is_api_request, is_temporary, leave_standby

logger = logging.getLogger(__name__)

CHARSETS = {"utf-8", "utf8", "us-ascii"}
# What browsers could give away to a page; none of it is needed here.
BROWSER_FEATURES = (
    "accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "fullscreen", "geolocation",
    "gyroscope", "magnetometer", "microphone", "midi", "payment", "publickey-credentials-get", "screen-wake-lock",
    "usb", "xr-spatial-tracking",
)  # fmt: skip
BROWSER_POLICY = {
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in BROWSER_FEATURES),
    "Cross-Origin-Resource-Policy": "same-origin",
    # The page of the docs asks for less, for sign-ins in other windows, which there are none of.
    "Cross-Origin-Opener-Policy": "same-origin",
}


class BrowserPolicyMiddleware(MiddlewareMixin):
    """Let browsers give pages no camera or location, and other sites embed nothing that is served here."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response with these headers."""
        for name, value in BROWSER_POLICY.items():
            response[name] = value
        return response


class ErrorEnvelopeMiddleware(MiddlewareMixin):
    """Replace Django's own error pages under the API by the error envelope, in debug mode as well."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response, or the envelope of its status."""
        is_json = response.get("Content-Type", "").startswith("application/json")
        if not is_api_request(request) or response.status_code < HTTPStatus.BAD_REQUEST or is_json:
            return response
        if is_temporary(getattr(request, "unhandled_exception", None)):
            return error_response(HTTPStatus.SERVICE_UNAVAILABLE)
        enveloped = error_response(response.status_code)
        for name, value in response.items():
            enveloped.headers.setdefault(name, value)
        return enveloped


class HostCheckMiddleware(CommonMiddleware):
    """Refuse foreign ``Host`` headers, except on the paths of load balancers and Prometheus, which send their own."""

    def process_request(self, request: HttpRequest) -> Any:
        """Return nothing where the host is right; raises ``DisallowedHost`` otherwise, or tells why in debug mode."""
        try:
            return None if request.path_info in settings.MACHINE_PATHS else super().process_request(request)
        except DisallowedHost:
            told = f"The host {request.META.get('HTTP_HOST', '')[:255]!r} is not in DJANGO_ALLOWED_HOSTS."
            logger.warning("%s", told)
            if settings.DEBUG:
                return error_response(HTTPStatus.BAD_REQUEST, message=told)
            raise


class CachePolicyMiddleware(MiddlewareMixin):
    """Keep API answers out of caches unless the view allows it, and answer 304 to who has the ``ETag``."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response with ``Cache-Control``, or a 304; here HEAD still has the body of GET."""
        if response.cookies or (is_api_request(request) and "Cache-Control" not in response):
            response["Cache-Control"] = "private, no-store"
            patch_vary_headers(response, ("Cookie",))
        if settings.IDENTITY_PROVIDER == "cognito" and has_vary_header(response, "Cookie"):
            patch_vary_headers(response, ("Authorization",))
        if request.method not in {"GET", "HEAD"} or not isinstance(response, HttpResponse) or "ETag" not in response:
            return response
        return get_conditional_response(request, etag=response["ETag"], response=response) or response


class StrictRequestMiddleware(MiddlewareMixin):
    """Refuse other charsets, bodies beyond the limit, and query parameters of views without a filter set."""

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Return the refusal, or nothing where the request may go on."""
        if not is_api_request(request):
            if "%00" in request.META["QUERY_STRING"]:
                raise BadRequest("The query has null characters, which no database can look for.")
            return None
        if request.resolver_match and request.resolver_match.url_name == "api-not-found":
            return None
        if request.content_params and request.content_params.get("charset", "utf-8").lower() not in CHARSETS:
            return error_response(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        try:
            _measure_chunked_body(request)
            unknown = {name: [NO_SUCH_PARAMETER] for name in request.GET}
        except (RequestDataTooBig, TooManyFieldsSent):
            return error_response(HTTPStatus.BAD_REQUEST)
        if not unknown or _leaves_parameters_to_the_view(view, request):
            return None
        return error_response(HTTPStatus.BAD_REQUEST, unknown)


def _leaves_parameters_to_the_view(view: Any, request: HttpRequest) -> bool:
    """Return whether the view reads query parameters by a filter set, or refuses the method, which comes first."""
    method = "get" if request.method == "HEAD" else str(request.method).lower()
    if method == "options":
        return True
    if hasattr(view, "actions"):
        return bool(view.actions.get(method, "list") == "list")
    if not hasattr(view, "cls"):
        return False
    return method not in view.cls.http_method_names or hasattr(view.cls, "filterset_class")


def _measure_chunked_body(request: HttpRequest) -> None:
    """Set the length of a body that came in chunks, without which REST framework doesn't read it."""
    if request.headers.get("Transfer-Encoding") and "CONTENT_LENGTH" not in request.META:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = request.read(limit + 1)
        if len(body) > limit:
            raise RequestDataTooBig
        request._body = body  # noqa: SLF001 (where HttpRequest.body keeps what it has read)
        request.META["CONTENT_LENGTH"] = str(len(body))


@receiver(got_request_exception)
def _remember_exception(request: Any, **_: object) -> None:
    request.unhandled_exception = sys.exc_info()[1]
    leave_standby(request.unhandled_exception)
