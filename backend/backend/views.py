"""What is no resource: the health check and the JSON 404 for unknown ``/api/*`` routes."""

import time
from http import HTTPStatus

from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from backend import __version__
from ctj_api.exceptions import error_response

STARTED_AT = time.monotonic()


@csrf_exempt
def healthcheck(request: HttpRequest) -> HttpResponse:
    """Return 200 with version and uptime, or 503 when the database does not answer in two seconds."""
    if request.method not in {"GET", "HEAD"}:
        response: HttpResponse = error_response(HTTPStatus.METHOD_NOT_ALLOWED)
        response["Allow"] = "GET, HEAD"
        return response
    if not _database_answers():
        return error_response(HTTPStatus.SERVICE_UNAVAILABLE)
    uptime = round(time.monotonic() - STARTED_AT, 1)
    return JsonResponse({"status": "ok", "version": __version__, "uptime_seconds": uptime, "database": "ok"})


@csrf_exempt
def api_not_found(request: HttpRequest, slash: str) -> HttpResponse:
    """Return the enveloped 404 of an unknown API route."""
    return error_response(HTTPStatus.NOT_FOUND)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (OperationalError, InterfaceError):
        return False
    return True
