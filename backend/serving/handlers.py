"""Answers each request in one of a few threads, each with a connection (docs/decisions/0015-*.md)."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from http import HTTPStatus
from io import BytesIO
from threading import Lock
from typing import IO, Any

import psycopg
from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

from serving import metrics
from serving.request_log import ARRIVED, CLIENT_LEFT, CUT_OFF, OUTCOME

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
# Nobody misses their answer once the client has left; a write is finished all the same, as it was asked for.
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
CANCEL_AGAIN_SECONDS = 2
# The key of the status in the scope of a request that the server refuses.
REFUSED_WITH = "civictechjobs.refused_with"

type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[Mapping[str, Any]]]
type Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class OverloadedError(Exception):
    """No thread has become free within ``REQUEST_WAIT_SECONDS``."""


class RefusalMiddleware(MiddlewareMixin):
    """Answer a request that the server refuses before a view sees it; the middleware around makes the envelope."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Return the refusal, if the request is refused."""
        status = getattr(request, "scope", {}).get(REFUSED_WITH)
        if status is None:
            return None
        response = HttpResponse(HTTPStatus(status).phrase, "text/plain; charset=utf-8", status)
        response["Cache-Control"] = "private, no-store"
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            response["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response


class RunningRequest:
    """The database connection of a request while it runs, so that another thread can cancel its statement."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._used: BaseDatabaseWrapper | None = None

    def __enter__(self) -> None:
        self._used = connections["default"]

    def __exit__(self, *_: object) -> None:
        with self._lock:  # a cancellation that is under way would meet the next request's statement
            self._used = None

    def cancel(self) -> None:
        """Cancel the statement that runs, if there is one."""
        with self._lock, suppress(psycopg.Error):
            if self._used and self._used.connection:
                self._used.connection.cancel_safe()


class ThreadPoolHandler(ASGIHandler):
    """Django's handler, but a request is answered in one thread of a pool from its start to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = ThreadPoolExecutor(settings.REQUEST_THREADS, thread_name_prefix="request")
        # Health checks and metrics have threads of their own, so that an overloaded server does not look dead.
        self.machine_pool = ThreadPoolExecutor(2, thread_name_prefix="machine")
        metrics.THREADS.set(settings.REQUEST_THREADS)

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the middleware for threads, although the base class asks for the event loop's."""
        super().load_middleware(is_async=False)

    def warm_up(self) -> None:
        """Call what ``WARM_UP`` names, so that the first requests don't wait for it."""
        try:
            for path in settings.WARM_UP:
                import_string(path)()
        except DatabaseError as error:
            logger.warning("The first requests do what was to be done before them: %s", error)
        finally:
            connections.close_all()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the request's body, have a thread answer, and send the answer."""
        scope["root_path"] = ""  # Daphne takes it from a header that any client can send
        try:
            body = await self.read_body(receive)
            response = await self._response(scope, body, receive)
        except RequestAborted:
            return
        except asyncio.CancelledError:
            if OUTCOME not in scope:  # the server stops; Daphne also cancels what goes on long after a client left
                scope[OUTCOME] = CUT_OFF
                self._refusal(scope, HTTPStatus.SERVICE_UNAVAILABLE)  # for its log line
            raise
        except OverloadedError:
            metrics.OVERLOADED.inc()
            response = self._refusal(scope, HTTPStatus.SERVICE_UNAVAILABLE)
        except Exception:
            logger.exception("A request could not be answered")
            response = self._refusal(scope, HTTPStatus.INTERNAL_SERVER_ERROR)
        await self.send_response(response, send)

    async def _response(self, scope: Scope, body: IO[bytes], receive: Receive) -> HttpResponseBase:
        """Wait for a thread's answer, which a client that leaves gives up: in the queue, or while it only reads."""
        scope[ARRIVED] = time.perf_counter()
        pool = self.machine_pool if scope["path"] in settings.MACHINE_PATHS else self.pool
        metrics.WAITING.inc()
        running = RunningRequest()
        call = pool.submit(copy_context().run, self._answer, scope, body, running)
        call.add_done_callback(lambda _: body.close())
        answer = asyncio.wrap_future(call)
        leaving = asyncio.ensure_future(receive())
        either: set[asyncio.Future[Any]] = {answer, leaving}
        try:
            await asyncio.wait(either, timeout=settings.REQUEST_WAIT_SECONDS, return_when="FIRST_COMPLETED")
            if _is_withdrawn(call):
                raise RequestAborted if leaving.done() else OverloadedError
            await asyncio.wait(either, return_when="FIRST_COMPLETED")
            if not answer.done():
                scope[OUTCOME] = CLIENT_LEFT
            while not answer.done() and scope["method"] in SAFE_METHODS:
                await asyncio.to_thread(running.cancel)
                await asyncio.wait({answer}, timeout=CANCEL_AGAIN_SECONDS)
            return await answer
        finally:
            leaving.cancel()
            _is_withdrawn(call)

    def _answer(self, scope: Scope, body: IO[bytes], running: RunningRequest) -> HttpResponseBase:
        """Answer a request in this thread, and close there what its database connection belongs to."""
        metrics.WAITING.dec()
        with running:
            signals.request_started.send(sender=self.__class__, scope=scope)
            response = self.get_response(self._request(scope, body))
            response._handler_class = self.__class__  # type: ignore[attr-defined]  # noqa: SLF001 (as the base class does)
            try:
                return _in_memory(response, scope["method"])
            finally:
                response.close()

    def _request(self, scope: Scope, body: IO[bytes]) -> ASGIRequest:
        """Return the request; one without a ``Host``, or that Django can't read, is refused."""
        if scope["method"].isupper() and _names_one_host(scope):
            try:
                return ASGIRequest(scope, body)
            except (LookupError, ValueError) as error:
                logger.info("A request can't be read: %s", error)
        return _refused(scope, HTTPStatus.BAD_REQUEST)

    def _refusal(self, scope: Scope, status: int) -> HttpResponseBase:
        """Return the answer to a request that no view answers; it takes no query, so the event loop may make it."""
        return self.get_response(_refused(scope, status))


def _names_one_host(scope: Scope) -> bool:
    """Return whether there is one ``Host``; only HTTP/1.0 may do without."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return (len(hosts) == 1 and hosts[0] != b"") or (not hosts and scope.get("http_version") == "1.0")


def _refused(scope: Scope, status: int) -> ASGIRequest:
    """Return a request with what can always be read of it."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return ASGIRequest({**scope, "query_string": b"", "headers": headers, REFUSED_WITH: status}, BytesIO())


def _in_memory(response: HttpResponseBase, method: str) -> HttpResponseBase:
    """Return a response that the event loop can send: static files, the only streams here, are read before."""
    if method == "HEAD":
        content = b""  # Daphne would send what is beyond 64 KiB, as the start of the next answer
    elif isinstance(response, StreamingHttpResponse):
        content = b"".join(response)
    else:
        return response
    whole = HttpResponse(content, status=response.status_code, headers=response.headers)
    whole.cookies = response.cookies
    return whole


def _is_withdrawn(call: Future[Any]) -> bool:
    """Withdraw a call that no thread has begun, and return whether that was so."""
    if call.done() or not call.cancel():
        return False
    metrics.WAITING.dec()
    return True
