"""A line in the log for each request, its id, its metrics, and the queries that took too long.

``docs/decisions/0024-logs-and-metrics.md`` says why.
"""

import logging
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from backend import metrics

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
MAX_SQL = 2000
# Asked every few seconds by machines.
QUIET_ROUTES = {"healthcheck", "metrics"}


@dataclass
class QueryWatch:
    """Counts and times the queries of a request, and tells of slow ones."""

    count: int = 0
    seconds: float = 0
    slow_seconds: float = field(default_factory=lambda: settings.SLOW_QUERY_MS / 1000)

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Execute the query; its parameters may be anybody's data, and are never logged."""
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            taken = time.perf_counter() - began
            self.count += 1
            self.seconds += taken
            if taken >= self.slow_seconds:
                metrics.SLOW_QUERIES.inc()
                fields = {"sql": str(sql)[:MAX_SQL], "duration_ms": _milliseconds(taken)}
                logger.warning("slow query", extra={"fields": fields})


class RequestLogMiddleware:
    """Give each request an id, which its answer and all its lines carry, and write its line at the end."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the view's response with ``X-Request-ID``: that of the request, where it is one."""
        given = request.headers.get("X-Request-ID", "")
        request_id = given if REQUEST_ID.fullmatch(given) else str(uuid4())
        began, watch = time.perf_counter(), QueryWatch()
        structlog.contextvars.clear_contextvars()
        with structlog.contextvars.bound_contextvars(request_id=request_id), ExitStack() as watched:
            for alias in connections:
                watched.enter_context(connections[alias].execute_wrapper(watch))
            response = self.get_response(request)
            response["X-Request-ID"] = request_id
            _tell(request, response, time.perf_counter() - began, watch)
        return response


def _tell(request: HttpRequest, response: HttpResponseBase, seconds: float, watch: QueryWatch) -> None:
    route, status = _route(request), response.status_code
    metrics.observe(request.method or "", route, status, seconds, watch.count, watch.seconds)
    fields = {
        "method": request.method,
        "path": request.path,
        "route": route,
        "status": status,
        "duration_ms": _milliseconds(seconds),
        "queries": watch.count,
        "query_ms": _milliseconds(watch.seconds),
        "bytes": len(response.content) if isinstance(response, HttpResponse) else None,
        "user_id": _user_id(request),
    }
    exception = getattr(request, "unhandled_exception", None) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None
    told = {name: value for name, value in fields.items() if value is not None}
    logger.log(_level(route, status), "request", exc_info=exception, extra={"fields": told})


def _route(request: HttpRequest) -> str:
    """Return the name of the route: of these there are only so many."""
    return request.resolver_match.view_name if request.resolver_match else "none"


def _user_id(request: HttpRequest) -> str | None:
    """Return who was found to be signed in; nobody is looked up for the log."""
    user = getattr(request, "_cached_user", None)
    return str(user.pk) if user is not None and user.pk else None


def _level(route: str, status: int) -> int:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    return logging.DEBUG if route in QUIET_ROUTES and status < HTTPStatus.BAD_REQUEST else logging.INFO


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
