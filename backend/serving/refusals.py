"""Answers that no view gives: what the wire refuses, a house that is full, a defect of the server itself."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from io import BytesIO
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.security import SecurityMiddleware
from django.utils.module_loading import import_string

from ctj_api.exceptions import CODE_OF_STATUS, RETRY_AFTER_SECONDS, ErrorCode, envelope
from ctj_api.http.middleware import is_api_request

type GetResponse = Callable[[HttpRequest], HttpResponse]


class SecurityHeadersMiddleware(SecurityMiddleware):
    """The headers of ``SecurityMiddleware`` without its way to HTTPS: a refused request stays refused."""

    def process_request(self, request: HttpRequest) -> None:
        """Redirect nobody."""


def refusal(request: HttpRequest, status: int, message: str = "") -> HttpResponse:
    """Return the envelope under ``/api/``, elsewhere a line of text, with the headers that every answer has."""
    get_response: GetResponse = lambda request: _body_of(request, status, message)  # noqa: E731
    for path in reversed(settings.REFUSAL_MIDDLEWARE):
        get_response = import_string(path)(get_response)
    response = get_response(request)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def request_so_far(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> HttpRequest:
    """Return as a request what is known of one that was refused before it was complete."""
    path, _, query = target.partition(b"?")
    scope = {
        "method": method.decode("latin-1"),
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "query_string": query.decode("latin-1"),
        "headers": [(name.lower(), value) for name, value in headers],
    }
    return ASGIRequest(scope, BytesIO())


def _body_of(request: HttpRequest, status: int, message: str) -> HttpResponse:
    phrase = HTTPStatus(status).phrase
    headers = {"Cache-Control": "private, no-store"}
    response: HttpResponse
    if is_api_request(request):
        code, usual_message = CODE_OF_STATUS.get(status, (ErrorCode.BAD_REQUEST, f"{phrase}."))
        response = JsonResponse(envelope(code, message or usual_message), status=status, headers=headers)
    else:
        text = f"{phrase}: {message}" if message else phrase
        response = HttpResponse(text, "text/plain; charset=utf-8", status, headers=headers)
    response["Content-Length"] = str(len(response.content))
    return response
