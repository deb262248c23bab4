"""A line in the log for each request, its id, its metrics, and the queries that took too long.

``docs/decisions/0024-logs-and-metrics.md`` says why.
"""

import logging
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import Error, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.encoding import escape_uri_path
from django.utils.functional import SimpleLazyObject
from structlog.contextvars import bound_contextvars, clear_contextvars

from serving import metrics

logger = logging.getLogger(__name__)

# Where the handler notes when a request had come, in its scope.
ARRIVED = "civictechjobs.arrived"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# A part of a path that looks like an e-mail address.
ADDRESS = re.compile(r"[^/]*@[^/]*")
MAX_PATH = 500
MAX_SQL = 2000
# Asked every few seconds by machines.
QUIET_ROUTES = {"healthcheck", "metrics"}


@dataclass
class QueryWatch:
    """Counts and times the queries of a request, and tells of slow ones."""

    count: int = 0
    seconds: float = 0
    slow_seconds: float = field(default_factory=lambda: settings.SLOW_QUERY_MS / 1000)

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Execute the query; its parameters may be anybody's data, and are never logged."""
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        except Error as error:
            metrics.DATABASE_ERRORS.labels(type(error).__name__).inc()
            raise
        finally:
            taken = time.perf_counter() - began
            self.count += 1
            self.seconds += taken
            if taken >= self.slow_seconds:
                _tell_slow(sql, taken)


@dataclass
class Account:
    """What is told of a request once it is answered."""

    request: HttpRequest
    request_id: str
    began: float = field(default_factory=time.perf_counter)
    watch: QueryWatch = field(default_factory=QueryWatch)

    def tell(self, response: HttpResponseBase) -> None:
        """Write the line, and count."""
        request, watch = self.request, self.watch
        arrived = getattr(request, "scope", {}).get(ARRIVED, self.began)
        seconds = time.perf_counter() - arrived
        route, status = _route(request), response.status_code
        metrics.observe(request.method or "", route, status, seconds, watch.count, watch.seconds)
        level = _level(route, status)
        if not logger.isEnabledFor(level):
            return
        fields = {
            "request_id": self.request_id,
            "method": request.method,
            "path": _path(request),
            "route": route,
            "status": status,
            "duration_ms": _milliseconds(seconds),
            "waited_ms": _milliseconds(self.began - arrived),
            "queries": watch.count,
            "query_ms": _milliseconds(watch.seconds),
            "bytes": _size(request, response),
            "user_id": _user_id(request),
        }
        is_failure = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        exception = getattr(request, "unhandled_exception", None) if is_failure else None
        told = {name: value for name, value in fields.items() if value is not None}
        logger.log(level, "request", exc_info=exception, extra={"fields": told})


class RequestLogMiddleware:
    """Give each request an id, which its answer and all its lines carry, and write its line at the end."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the view's response with ``X-Request-ID``: that of the request, where it is one."""
        given = request.headers.get("X-Request-ID", "")
        account = Account(request, given if REQUEST_ID.fullmatch(given) else str(uuid4()))
        clear_contextvars()
        with bound_contextvars(request_id=account.request_id), metrics.IN_PROGRESS.track_inprogress():
            with ExitStack() as watched:
                for alias in connections:
                    watched.enter_context(connections[alias].execute_wrapper(account.watch))
                response = self.get_response(request)
            response["X-Request-ID"] = account.request_id
            if response.streaming:
                # A stream has been answered when it is closed, not before.
                response._resource_closers.append(partial(account.tell, response))  # type: ignore[attr-defined]  # noqa: SLF001
            else:
                account.tell(response)
        return response


def _tell_slow(sql: Any, seconds: float) -> None:
    """Tell of a slow query, by its text; one that was put together has its values in it, and isn't told."""
    metrics.SLOW_QUERIES.inc()
    text = sql[:MAX_SQL] if isinstance(sql, str) else type(sql).__name__
    logger.warning("slow query", extra={"fields": {"sql": text, "duration_ms": _milliseconds(seconds)}})


def _route(request: HttpRequest) -> str:
    """Return the name of the route: of these there are only so many."""
    return request.resolver_match.view_name if request.resolver_match else "none"


def _path(request: HttpRequest) -> str:
    """Return the path in ASCII, without what may be an address."""
    path = ADDRESS.sub("@", request.path) if "@" in request.path else request.path
    return escape_uri_path(path[:MAX_PATH])


def _size(request: HttpRequest, response: HttpResponseBase) -> int | None:
    """Return how many bytes the answer's body has, where that is known."""
    if request.method == "HEAD":
        return 0
    return len(response.content) if isinstance(response, HttpResponse) else None


def _user_id(request: HttpRequest) -> str | None:
    """Return who was found to be signed in; nobody is looked up for the log."""
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = getattr(request, "_cached_user", None)
    return str(user.pk) if user is not None and user.is_authenticated else None


def _level(route: str, status: int) -> int:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    return logging.DEBUG if route in QUIET_ROUTES and status < HTTPStatus.BAD_REQUEST else logging.INFO


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
