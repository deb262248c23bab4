"""Gives each request an id and a log line, counts it, reports slow queries (docs/decisions/0024-*.md)."""

import logging
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.encoding import escape_uri_path
from django.utils.functional import SimpleLazyObject
from structlog.contextvars import bound_contextvars, clear_contextvars

from serving import metrics

logger = logging.getLogger(__name__)

# The keys of a request's scope: when it had come, its id, and what came before its answer.
ARRIVED = "civictechjobs.arrived"
ID = "civictechjobs.request_id"
OUTCOME = "civictechjobs.outcome"
CLIENT_LEFT = "client left"
CUT_OFF = "cut off: the server stopped"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# A part of a path that looks like an e-mail address.
ADDRESS = re.compile(r"[^/]*@[^/]*")


@dataclass
class QueryWatch:
    """Counts and times the queries of a request, and logs slow ones."""

    count: int = 0
    seconds: float = 0

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Execute the query; its parameters may be anybody's data, and are never logged."""
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        except Error as error:
            cause = error.__cause__ or error
            metrics.DATABASE_ERRORS.labels(type(error).__name__, type(cause).__name__).inc()
            raise
        finally:
            taken = time.perf_counter() - began
            self.count += 1
            self.seconds += taken
            if taken * 1000 >= settings.SLOW_QUERY_MS:
                metrics.SLOW_QUERIES.inc()
                # Not that of a composed query, which contains its values.
                text = sql[:2000] if isinstance(sql, str) else type(sql).__name__
                logger.warning("slow query", extra={"fields": {"sql": text, "duration_ms": _milliseconds(taken)}})


class RequestLogMiddleware:
    """Gives each request an id, which its response and its log lines carry, and writes its log line."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the view's response with an ``X-Request-ID``: the request's own, if that is a valid one."""
        given = request.headers.get("X-Request-ID", "")
        new = given if REQUEST_ID.fullmatch(given) else str(uuid4())
        request_id = getattr(request, "scope", {}).setdefault(ID, new)
        began, watch = time.perf_counter(), QueryWatch()
        clear_contextvars()
        in_progress = nullcontext() if _is_from_machine(request) else metrics.IN_PROGRESS.track_inprogress()
        with bound_contextvars(request_id=request_id), in_progress:
            with connection.execute_wrapper(watch):
                response = self.get_response(request)
            response["X-Request-ID"] = request_id
            _write_line(request, response, began, watch)
        return response


def _write_line(request: HttpRequest, response: HttpResponseBase, began: float, watch: QueryWatch) -> None:
    scope = getattr(request, "scope", {})
    arrived, outcome = scope.get(ARRIVED, began), scope.get(OUTCOME)
    seconds = time.perf_counter() - arrived
    route = request.resolver_match.view_name if request.resolver_match else "none"  # unlike paths, routes are few
    status = response.status_code
    if outcome == CLIENT_LEFT and status == HTTPStatus.SERVICE_UNAVAILABLE:
        status = 499  # as nginx has it: its statement was cancelled
    if _is_from_machine(request):
        metrics.MACHINE_REQUESTS.labels(route, status).inc()
    else:
        metrics.observe(request.method or "", route, status, seconds, watch.count, watch.seconds)
    path = ADDRESS.sub("@", request.path) if "@" in request.path else request.path
    is_failure = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    is_quiet = _is_from_machine(request) and status < HTTPStatus.BAD_REQUEST
    level = logging.ERROR if is_failure else logging.DEBUG if is_quiet else logging.INFO
    size = len(response.content) if isinstance(response, HttpResponse) and request.method != "HEAD" else None
    fields = {
        "request_id": response["X-Request-ID"],
        "method": request.method,
        "path": escape_uri_path(path[:500]),
        "route": route,
        "status": status,
        "outcome": outcome,
        "duration_ms": _milliseconds(seconds),
        "waited_ms": _milliseconds(began - arrived),
        "queries": watch.count,
        "query_ms": _milliseconds(watch.seconds),
        "bytes": size,
        "user_id": _user_id(request),
    }
    exception = getattr(request, "unhandled_exception", None) if is_failure else None
    known = {name: value for name, value in fields.items() if value is not None}
    logger.log(level, "request", exc_info=exception, extra={"fields": known})


def _is_from_machine(request: HttpRequest) -> bool:
    return request.path in settings.MACHINE_PATHS


def _user_id(request: HttpRequest) -> str | None:
    """Return the id of the user, if the view has looked the user up."""
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = getattr(request, "_cached_user", None)
    return str(user.pk) if user is not None and user.is_authenticated else None


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
