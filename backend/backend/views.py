"""Endpoints that are not resources: health check, metrics, and what unknown ``/api/*`` routes and failures are told."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from django.conf import settings
from django.db import Error, connection
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.template.loader import render_to_string
from django.utils.crypto import constant_time_compare
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from ctj_api.accounts.client_address import is_inside
from ctj_api.exceptions import RETRY_AFTER_SECONDS, error_response, is_temporary
from serving.metrics import exposition

logger = logging.getLogger(__name__)

STARTED_AT = time.monotonic()
PROBE_SECONDS = 2
prober = ThreadPoolExecutor(1, thread_name_prefix="probe")
# What a proxy passes on has come from outside, wherever the proxy stands.
PROXY_HEADERS = {"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}


@csrf_exempt
@require_safe
def healthcheck(request: HttpRequest) -> HttpResponse:
    """Return 200 with version and uptime, or 503 when the database does not answer in two seconds."""
    if not request.accepts("application/json"):
        return error_response(HTTPStatus.NOT_ACCEPTABLE)
    if not _database_answers():
        return error_response(HTTPStatus.SERVICE_UNAVAILABLE)
    uptime = round(time.monotonic() - STARTED_AT, 1)
    return JsonResponse({"status": "ok", "version": settings.RELEASE, "uptime_seconds": uptime, "database": "ok"})


@csrf_exempt
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics to who has the token or is inside; for everybody else there is nothing here."""
    if not _may_read_metrics(request):
        raise Http404
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET", "HEAD"])
    body, content_type = exposition()
    return HttpResponse(body, content_type, headers={"Cache-Control": "private, no-store"})


@csrf_exempt
def api_not_found(request: HttpRequest) -> HttpResponse:
    """Return the enveloped 404 of an unknown API route."""
    return error_response(HTTPStatus.NOT_FOUND)


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the page for people of a failure that is ours, or of a database that is away for a moment."""
    if not is_temporary(getattr(request, "unhandled_exception", None)):
        return defaults.server_error(request)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS), "Cache-Control": "private, no-store"}
    return HttpResponse(render_to_string("503.html"), status=HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)


def _database_answers() -> bool:
    """Ask in a thread: nothing else bounds the wait for a database that took the connection and then stalls."""
    asked = prober.submit(_ask_database)
    try:
        return asked.result(PROBE_SECONDS)
    except TimeoutError:
        asked.cancel()
        return False


def _ask_database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        logger.warning("The database does not answer the health check: %s", error)
        return False
    finally:
        connection.close()
    return True


def _may_read_metrics(request: HttpRequest) -> bool:
    address = request.META["REMOTE_ADDR"]
    is_passed_on = is_inside(address, settings.TRUSTED_PROXIES) or not PROXY_HEADERS.isdisjoint(request.headers)
    if not is_passed_on and is_inside(address, settings.METRICS_ALLOWED_NETWORKS):
        return True
    given = request.headers.get("Authorization", "").encode()
    expected = f"Bearer {settings.METRICS_TOKEN}".encode()
    return bool(settings.METRICS_TOKEN) and constant_time_compare(given, expected)
