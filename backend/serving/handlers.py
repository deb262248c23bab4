"""The request path: a whole request in one hop to one of a few threads, each with its own database connection.

Django's own handler goes to a thread and back several times a request, and starts a new thread for each.
See ``docs/decisions/0015-one-hop-request-path.md``.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from threading import Barrier, Lock
from typing import IO, Any, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.db import DatabaseError, connections
from django.http import FileResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import set_script_prefix

from ctj_api.http.middleware import ANY_HOST_PATHS
from serving import metrics
from serving.refusals import refusal
from serving.request_log import ARRIVED

logger = logging.getLogger(__name__)

# What machines ask takes no turn with other requests, and needs no database connection of a thread's own.
HEALTH_THREADS = 2

type Scope = dict[str, Any]
type Message = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]


class HouseFullError(Exception):
    """No thread has become free for as long as a request waits for one."""


class Line:
    """What a thread sends through, until the client or the server hangs up."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._lock = Lock()
        self._sending: Future[None] | None = None
        self._is_cut = False

    def send(self, message: Message) -> None:
        """Send from a thread, and wait until it is sent; raises ``RequestAborted`` where nobody listens any more."""
        with self._lock:
            if self._is_cut:
                raise RequestAborted
            self._sending = asyncio.run_coroutine_threadsafe(self._pass_on(message), self._loop)
        try:
            self._sending.result()
        except CancelledError:
            raise RequestAborted from None

    def watch(self) -> Future[None]:
        """Have the line cut when the client leaves; cancel what is returned when that no longer matters."""
        return asyncio.run_coroutine_threadsafe(self._cut_when_client_leaves(), self._loop)

    def cut(self) -> None:
        """Send nothing more, and wait for nothing that is being sent."""
        with self._lock:
            self._is_cut = True
            if self._sending is not None:
                self._sending.cancel()

    async def _pass_on(self, message: Message) -> None:
        await self._send(message)

    async def _cut_when_client_leaves(self) -> None:
        await self._receive()
        self.cut()


class Lane:
    """A few threads, and the queue of those who wait for one."""

    def __init__(self, name: str, threads: int) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads = threads
        self._free = asyncio.Semaphore(threads)

    async def enter(self, receive: Receive) -> None:
        """Wait for a free thread, unless the client leaves meanwhile."""
        if not self._free.locked():
            await self._free.acquire()
            return
        entering = asyncio.ensure_future(self._free.acquire())
        leaving = asyncio.ensure_future(receive())
        try:
            limit = settings.REQUEST_WAIT_SECONDS
            with metrics.WAITING.track_inprogress():
                await asyncio.wait({entering, leaving}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            _check_queue(entering, leaving)
        except BaseException:
            if not entering.cancel():
                self._free.release()
            raise
        finally:
            leaving.cancel()

    def leave(self) -> None:
        """Let the next one in."""
        self._free.release()

    def close(self) -> None:
        """End the threads once they are free, and close the database connections that they keep."""
        everyone = Barrier(self._threads)

        def leave() -> None:
            everyone.wait()
            connections.close_all()

        for _ in range(self._threads):
            self.pool.submit(leave)
        self.pool.shutdown()


@dataclass
class Exchange:
    """A request whose body has come, and what its answer goes through."""

    lane: Lane
    scope: Scope
    body: IO[bytes]
    receive: Receive
    send: Send
    line: Line
    ending: ExitStack = field(default_factory=ExitStack)
    """What is still to be closed, by whoever ends the exchange."""

    def __post_init__(self) -> None:
        self.ending.callback(self.body.close)


class Hop(Executor):
    """One call in the pool. It knows when the call is over, which a cancelled caller does not wait for."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._call: Future[Any] | None = None

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start the call."""
        self._call = call = self._pool.submit(fn, *args, **kwargs)
        return call

    def when_over(self, then: Callable[[], object]) -> None:
        """Do ``then`` on the running loop when no thread is at the call: now, mostly."""
        if self._call is None or self._call.done():
            then()
            return
        loop = asyncio.get_running_loop()
        self._call.add_done_callback(lambda _: _do_soon(loop, then))


class OneHopHandler(ASGIHandler):
    """Django's handler, except for where the work is done."""

    def __init__(self) -> None:
        super().__init__()
        self._requests = Lane("request", settings.REQUEST_THREADS)
        self._health_checks = Lane("health", HEALTH_THREADS)
        metrics.THREADS.set(settings.REQUEST_THREADS)

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the middleware for threads, whatever the base class asks for."""
        super().load_middleware(is_async=False)

    def warm_up(self) -> None:
        """Make what the first requests would wait for; what can't be made now is made by them."""
        from ctj_api.ranking.live_index import make_indexes  # noqa: PLC0415 (the models are loaded by now)

        try:
            make_indexes()
        except DatabaseError as error:
            logger.warning("The indexes for matching are made later: %s", error)
        finally:
            connections.close_all()

    def close(self) -> None:
        """End the threads once they are free, and close the database connections that they keep."""
        for lane in (self._requests, self._health_checks):
            lane.close()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: its body is read first, then it waits for a thread, then the thread does all the rest."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        scope[ARRIVED] = time.perf_counter()
        lane = self._health_checks if scope["path"] in ANY_HOST_PATHS else self._requests
        exchange = Exchange(lane, scope, body, receive, send, Line(receive, send))
        try:
            await lane.enter(receive)
        except HouseFullError:
            with exchange.ending:
                await self.send_response(self._refusal(exchange), send)
        except RequestAborted:
            exchange.ending.close()
        except BaseException:
            exchange.ending.close()
            raise
        else:
            await self._deliver(await self._hop(exchange), exchange)

    def _refusal(self, exchange: Exchange) -> HttpResponseBase:
        """Return what a full house answers."""
        metrics.FULL_HOUSE.inc()
        created = self.create_request(exchange.scope, exchange.body)
        if created[0] is None:
            return _refuse_unusable(exchange.scope, created[1])
        return refusal(created[0], HTTPStatus.SERVICE_UNAVAILABLE)

    async def _hop(self, exchange: Exchange) -> HttpResponseBase:
        """Have the request answered in a thread, which is free again when it has ended, and not before."""
        hop = Hop(exchange.lane.pool)
        executor = cast("ThreadPoolExecutor", hop)  # any executor will do, but the annotation asks for this one
        try:
            return await sync_to_async(self._answer, thread_sensitive=False, executor=executor)(exchange)
        except asyncio.CancelledError:
            exchange.line.cut()
            hop.when_over(lambda: exchange.lane.pool.submit(exchange.ending.close))
            raise
        finally:
            hop.when_over(exchange.lane.leave)

    def _answer(self, exchange: Exchange) -> HttpResponseBase:
        """Do a request's work in this thread, and end it here unless the loop has to: an asynchronous stream."""
        with exchange.ending.pop_all() as ending:
            try:
                response = self._response(exchange)
            except asyncio.CancelledError:  # out of an asynchronous view
                signals.request_finished.send(sender=self.__class__)
                raise
            ending.callback(response.close)
            if isinstance(response, StreamingHttpResponse):
                if response.is_async:
                    exchange.ending = ending.pop_all()
                else:
                    self._stream(response, exchange.line)
        return response

    def _response(self, exchange: Exchange) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(exchange.scope))
        signals.request_started.send(sender=self.__class__, scope=exchange.scope)
        created = self.create_request(exchange.scope, exchange.body)
        if created[0] is None:
            return _refuse_unusable(exchange.scope, created[1])
        response = self.get_response(created[0])
        response._handler_class = self.__class__  # type: ignore[attr-defined]  # noqa: SLF001 (as the base class does)
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        return response

    def _stream(self, response: StreamingHttpResponse, line: Line) -> None:
        """Send from the thread that the stream's database connection belongs to."""
        leaving = line.watch()
        try:
            line.send(_start_of(response))
            for part in response:
                for chunk, _ in self.chunk_bytes(part):
                    line.send({"type": "http.response.body", "body": chunk, "more_body": True})
            line.send({"type": "http.response.body"})
        except RequestAborted:
            logger.debug("The client has left")
        finally:
            leaving.cancel()

    async def _deliver(self, response: HttpResponseBase, exchange: Exchange) -> None:
        """Send what the thread has left to the loop."""
        if not isinstance(response, StreamingHttpResponse):
            await self.send_response(response, exchange.send)
        elif response.is_async:
            try:
                await self._stream_on_loop(response, exchange)
            finally:
                await asyncio.shield(sync_to_async(_end_stream)(exchange.ending))

    async def _stream_on_loop(self, response: HttpResponseBase, exchange: Exchange) -> None:
        sending = asyncio.ensure_future(self.send_response(response, exchange.send))
        leaving = asyncio.ensure_future(exchange.receive())
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.wait({sending})


def _do_soon(loop: asyncio.AbstractEventLoop, then: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody is left to wait for a thread
        loop.call_soon_threadsafe(then)


def _check_queue(entering: asyncio.Future[Any], leaving: asyncio.Future[Any]) -> None:
    if leaving.done():
        raise RequestAborted
    if not entering.done():
        raise HouseFullError


def _refuse_unusable(scope: Scope, response: HttpResponseBase) -> HttpResponseBase:
    """Return the answer to a request that Django could not make: its query, mostly, is what can't be read."""
    readable = ASGIRequest(scope | {"query_string": b"", "headers": []}, BytesIO())
    return refusal(readable, response.status_code)


def _start_of(response: HttpResponseBase) -> Message:
    """Return the first message of a response."""
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    headers += [(b"Set-Cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


def _end_stream(ending: ExitStack) -> None:
    """Close an asynchronous stream in the thread that its queries ran in, which ends with it."""
    try:
        ending.close()
    finally:
        connections.close_all()
