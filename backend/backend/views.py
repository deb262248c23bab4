"""Endpoints that are not resources: the health check and the JSON 404 for unknown ``/api/*`` routes."""

import time
from http import HTTPStatus
from queue import Empty, SimpleQueue
from threading import Thread

from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from backend import __version__
from ctj_api.exceptions import error_response

STARTED_AT = time.monotonic()
PROBE_SECONDS = 2


@csrf_exempt
def healthcheck(request: HttpRequest) -> HttpResponse:
    """Return 200 with version and uptime, or 503 when the database does not answer in two seconds."""
    if request.method not in {"GET", "HEAD"}:
        response: HttpResponse = error_response(HTTPStatus.METHOD_NOT_ALLOWED)
        response["Allow"] = "GET, HEAD"
        return response
    if not request.accepts("application/json"):
        return error_response(HTTPStatus.NOT_ACCEPTABLE)
    if not _database_answers():
        return error_response(HTTPStatus.SERVICE_UNAVAILABLE)
    uptime = round(time.monotonic() - STARTED_AT, 1)
    return JsonResponse({"status": "ok", "version": __version__, "uptime_seconds": uptime, "database": "ok"})


@csrf_exempt
def api_not_found(request: HttpRequest) -> HttpResponse:
    """Return the enveloped 404 of an unknown API route."""
    return error_response(HTTPStatus.NOT_FOUND)


def _database_answers() -> bool:
    """Ask in a thread: nothing else bounds the wait for a database that took the connection and then stalls."""
    answers: SimpleQueue[bool] = SimpleQueue()
    Thread(target=_ask_database, args=(answers,), daemon=True).start()
    try:
        return answers.get(timeout=PROBE_SECONDS)
    except Empty:
        return False


def _ask_database(answers: SimpleQueue[bool]) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        answers.put(True)
    except (DatabaseError, InterfaceError):
        answers.put(False)
    finally:
        connection.close()
