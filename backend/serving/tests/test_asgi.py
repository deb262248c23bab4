"""The request path: what Django's own ASGI handler does, ours does as well, and then what only ours does."""

import asyncio
import json
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.signals import got_request_exception, request_finished, request_started
from django.db import connection
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.urls import path, reverse
from django.views.decorators.csrf import csrf_exempt

from ctj_api.http.middleware import GetResponse
from ctj_api.tests.common import wait_until
from serving.handlers import OneHopHandler

PATIENCE_SECONDS = 20
THREADS = 2
VISITORS = 12
CHUNKS = (b"one ", b"", b"two ", b"x" * 100_000)
WHOLE = b"".join(CHUNKS)
THIS_FILE = Path(__file__)
CONTENT = THIS_FILE.read_bytes()

color: ContextVar[str] = ContextVar("color", default="none")


class Happenings:
    """What the views and signals of one scenario have told, and the gate that some views wait at."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.threads: set[int] = set()
        self.requests: list[HttpRequest] = []
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.bodies: list[IO[bytes]] = []
        self.senders: list[object] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.ended = threading.Event()
        self.inside = self.most_inside = 0
        self.lock = threading.Lock()

    def tell(self, what: str) -> None:
        """Note what happens, and in which thread."""
        self.told.append(what)
        self.threads.add(threading.get_ident())

    async def has_entered(self) -> None:
        """Wait until one more view is at the gate."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE_SECONDS)

    async def has_ended(self) -> None:
        """Wait for the next ``request_finished``."""
        assert await asyncio.to_thread(self.ended.wait, PATIENCE_SECONDS)


now = Happenings()


@csrf_exempt
def echo(request: HttpRequest) -> HttpResponse:
    """Tell what the request is, with cookies."""
    now.tell("view")
    now.requests.append(request)
    response = JsonResponse(
        {
            "method": request.method,
            "path": [request.path, request.path_info, request.META["SCRIPT_NAME"], reverse("echo")],
            "query": request.GET.dict(),
            "cookies": request.COOKIES,
            "body": request.body.decode(),
            "color": color.get(),
        }
    )
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    color.set("left over")
    return response


def fail(_: HttpRequest) -> HttpResponse:
    """Have a defect."""
    raise ValueError("A defect")


def wait(_: HttpRequest) -> HttpResponse:
    """Wait at the gate."""
    with now.lock:
        now.inside += 1
        now.most_inside = max(now.most_inside, now.inside)
    now.entered.release()
    now.gate.wait(PATIENCE_SECONDS)
    with now.lock:
        now.inside -= 1
    now.tell("view")
    return HttpResponse("done")


def parts(ending: str) -> Iterator[bytes]:
    """Yield the chunks, and then end as ``ending`` says."""
    now.tell("first part")
    try:
        yield from CHUNKS
        if ending == "defect":
            raise ValueError("A defect")
        while ending == "never":
            yield b"more"
    finally:
        now.tell("stream closed")


async def parts_on_loop(ending: str) -> AsyncIterator[bytes]:
    """Yield the same on the event loop."""
    now.loops.append(asyncio.get_running_loop())
    try:
        for part in parts(ending):
            yield part
            await asyncio.sleep(0)
    finally:
        now.told.append("closed on the loop")


def stream(_: HttpRequest, ending: str) -> StreamingHttpResponse:
    """Stream from a generator."""
    now.tell("view")
    response = StreamingHttpResponse(parts(ending), headers={"X-Name": "é"})
    response.set_cookie("a", "1")
    return response


def stream_on_loop(_: HttpRequest, ending: str) -> StreamingHttpResponse:
    """Stream from an asynchronous generator."""
    return StreamingHttpResponse(parts_on_loop(ending))


def stream_later(_: HttpRequest) -> StreamingHttpResponse:
    """Wait at the gate, and then stream from an asynchronous generator."""
    now.entered.release()
    now.gate.wait(PATIENCE_SECONDS)
    return StreamingHttpResponse(parts_on_loop("well"))


def stream_with_pause(_: HttpRequest) -> StreamingHttpResponse:
    """Wait at the gate after the first part, and then never end."""

    def answer() -> Iterator[bytes]:
        yield b"first"
        now.entered.release()
        now.gate.wait(PATIENCE_SECONDS)
        yield from parts("never")

    return StreamingHttpResponse(answer())


def file(_: HttpRequest) -> FileResponse:
    """Send a file."""
    return FileResponse(THIS_FILE.open("rb"))


async def on_loop(_: HttpRequest) -> HttpResponse:
    """Answer from the event loop."""
    now.loops.append(asyncio.get_running_loop())
    await sync_to_async(now.tell)("view")
    return HttpResponse("from the loop")


async def endless(_: HttpRequest) -> HttpResponse:
    """Wait on the event loop for what never comes."""
    now.entered.release()
    try:
        await asyncio.Event().wait()
    finally:
        now.told.append("view cancelled")
    return HttpResponse()


def server_process(_: HttpRequest) -> HttpResponse:
    """Tell which process of the database server answers this thread."""
    now.entered.release()
    now.gate.wait(PATIENCE_SECONDS)
    return HttpResponse(ask_for_process())


def server_process_on_loop(_: HttpRequest) -> StreamingHttpResponse:
    """Tell which process answers the thread of an asynchronous stream."""

    async def answer() -> AsyncIterator[str]:
        for _ in range(2):
            yield await sync_to_async(ask_for_process)() + " "

    return StreamingHttpResponse(answer())


def ask_for_process() -> str:
    """Return the number of the process of the database server that answers this thread."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return str(cursor.fetchone()[0])


urlpatterns = [
    path("echo/", echo, name="echo"),
    path("fail/", fail),
    path("wait/", wait),
    path("api/wait/", wait),
    path("api/healthcheck/", echo),
    path("api/fail/", fail),
    path("stream/<ending>/", stream),
    path("stream-on-loop/<ending>/", stream_on_loop),
    path("stream-later/", stream_later),
    path("stream-with-pause/", stream_with_pause),
    path("file/", file),
    path("on-loop/", on_loop),
    path("endless/", endless),
    path("server-process/", server_process),
    path("server-process-on-loop/", server_process_on_loop),
]


def defective_middleware(_: GetResponse) -> GetResponse:
    """Fail at each request."""

    def middleware(_: HttpRequest) -> HttpResponseBase:
        raise ValueError("A defect")

    return middleware


class TooLargeRequest(ASGIRequest):
    """A request that is refused when it is made."""

    def __init__(self, *args: Any) -> None:
        raise RequestDataTooBig


class Visitor:
    """A client's request, message by message, as a server passes it on."""

    def __init__(
        self, handler: ASGIHandler, route: str, headers: Mapping[str, str] | None = None, **scope: Any
    ) -> None:
        sent = {"host": "testserver", **(headers or {})}
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": route,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            **scope,
        }
        self.handler = handler
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.messages: list[Mapping[str, Any]] = []
        self.is_listened_to = asyncio.Event()
        self.listening_ended = asyncio.Event()
        self.has_left = asyncio.Event()
        self.leaves_after: int | None = None
        self.stalls = False

    def say(self, body: bytes = b"", more_body: bool = False) -> None:
        """Send the body, or a part of it."""
        self.incoming.put_nowait({"type": "http.request", "body": body, "more_body": more_body})

    def leave(self) -> None:
        """Close the connection."""
        self.incoming.put_nowait({"type": "http.disconnect"})

    def start(self, body: bytes = b"") -> None:
        """Send the request."""
        self.say(body)
        self.task = asyncio.create_task(self.handler(self.scope, self._receive, self._send))

    async def finish(self) -> "Visitor":
        """Wait for the end of the answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.task
        return self

    async def visit(self, body: bytes = b"") -> "Visitor":
        """Send the request, and wait for the end of the answer."""
        self.start(body)
        return await self.finish()

    async def is_queued(self) -> None:
        """Wait until the handler listens whether the client leaves."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.is_listened_to.wait()

    @property
    def status(self) -> int:
        """The answer's status."""
        status: int = self.messages[0]["status"]
        return status

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The answer's headers, those that come twice as well."""
        return sorted((name.decode().lower(), value.decode("latin-1")) for name, value in self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        """The answer's body."""
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def chunks(self) -> list[int]:
        """The sizes of the body's chunks, the last with a mark."""
        sizes = [len(message.get("body", b"")) for message in self.messages[1:]]
        assert [message.get("more_body", False) for message in self.messages[1:]] == [True] * (len(sizes) - 1) + [False]
        return sizes

    async def _receive(self) -> dict[str, Any]:
        if self.incoming.empty():
            self.is_listened_to.set()
        try:
            message = await self.incoming.get()
        finally:
            if self.is_listened_to.is_set():
                self.listening_ended.set()
        if message["type"] == "http.disconnect":
            self.has_left.set()
        return message

    async def _send(self, message: Mapping[str, Any]) -> None:
        self.messages.append(message)
        if len(self.messages) == self.leaves_after:
            self.leave()
        if self.stalls:
            now.entered.release()
            await asyncio.Event().wait()


@contextmanager
def listening() -> Iterator[None]:
    """Tell the signals, and who sends them."""

    def started(sender: object, **_: object) -> None:
        now.senders.append(sender)
        now.tell("started")

    def finished(sender: object, **_: object) -> None:
        now.senders.append(sender)
        now.tell("finished")
        now.ended.set()

    def failed(**_: object) -> None:
        now.tell("failed")

    pairs = ((request_started, started), (request_finished, finished), (got_request_exception, failed))
    for signal, receiver in pairs:
        signal.connect(receiver)
    try:
        yield
    finally:
        for signal, receiver in pairs:
            signal.disconnect(receiver)


@contextmanager
def opened(kind: type[ASGIHandler]) -> Iterator[ASGIHandler]:
    """Yield a handler whose happenings are told, and end its threads. Ours has closed every body then."""
    now.__init__()  # type: ignore[misc]
    handler = kind()
    read = handler.read_body

    async def read_body(receive: Any) -> IO[bytes]:
        now.bodies.append(await read(receive))
        return now.bodies[-1]

    try:
        with listening(), patch.object(handler, "read_body", read_body):
            yield handler
    finally:
        now.gate.set()
        if isinstance(handler, OneHopHandler):
            handler.close()
            assert all(body.closed for body in now.bodies)
        for body in now.bodies:  # Django's own leaves some open
            body.close()


type Scenario[H: ASGIHandler] = Callable[[Any, H], Awaitable[None]]


def with_both_handlers(scenario: Scenario[ASGIHandler]) -> Callable[[SimpleTestCase], None]:
    """Run the scenario through Django's handler, which shows what is right, and through ours."""

    @wraps(scenario)
    def test(self: SimpleTestCase) -> None:
        for kind in (ASGIHandler, OneHopHandler):
            with self.subTest(kind.__name__), opened(kind) as handler, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")
                asyncio.run(scenario(self, handler))  # type: ignore[arg-type]

    return test


def with_our_handler(scenario: Scenario[OneHopHandler]) -> Callable[[SimpleTestCase], None]:
    """Run the scenario through our handler."""

    @wraps(scenario)
    def test(self: SimpleTestCase) -> None:
        with opened(OneHopHandler) as handler:
            asyncio.run(scenario(self, handler))  # type: ignore[arg-type]

    return test


@override_settings(ROOT_URLCONF=__name__, REQUEST_THREADS=THREADS, SECURE_SSL_REDIRECT=False)
class CommonTests(SimpleTestCase):
    """What both handlers do."""

    @with_both_handlers
    async def test_request_sends_signals_in_order(self, handler: ASGIHandler) -> None:
        """The start comes before the view, the end after it."""
        await Visitor(handler, "/echo/").visit()
        self.assertEqual(now.told, ["started", "view", "finished"])
        self.assertEqual(now.senders, [type(handler)] * 2)

    @with_both_handlers
    async def test_request_reaches_view_whole(self, handler: ASGIHandler) -> None:
        """Method, path, query, cookies and body; and both cookies of the answer come back."""
        visitor = Visitor(handler, "/echo/", {"cookie": "c=3"}, method="POST", query_string=b"q=%C3%A9")
        visitor.say(b"first ", more_body=True)
        await visitor.visit(b"second")
        self.assertEqual(
            (visitor.status, json.loads(visitor.body)),
            (
                200,
                {
                    "method": "POST",
                    "path": ["/echo/", "/echo/", "", "/echo/"],
                    "query": {"q": "é"},
                    "cookies": {"c": "3"},
                    "body": "first second",
                    "color": "none",
                },
            ),
        )
        cookies = [value for name, value in visitor.headers if name == "set-cookie"]
        self.assertEqual(cookies, ["a=1; Path=/", "b=2; Path=/"])

    @with_both_handlers
    async def test_root_path_is_script_prefix_of_one_request(self, handler: ASGIHandler) -> None:
        """The next request on the same thread has none."""
        for _ in range(THREADS):
            visitor = await Visitor(handler, "/sub/echo/", root_path="/sub").visit()
            expected = ["/sub/echo/", "/echo/", "/sub", "/sub/echo/"]
            self.assertEqual(json.loads(visitor.body)["path"], expected)
        for _ in range(THREADS):
            visitor = await Visitor(handler, "/echo/").visit()
            self.assertEqual(json.loads(visitor.body)["path"], ["/echo/", "/echo/", "", "/echo/"])

    @with_both_handlers
    async def test_context_reaches_view_and_no_other_request(self, handler: ASGIHandler) -> None:
        """What the server has set is seen; what a view has set is not seen by the next one."""
        color.set("red")
        for _ in range(THREADS + 1):
            visitor = await Visitor(handler, "/echo/").visit()
            self.assertEqual(json.loads(visitor.body)["color"], "red")

    @with_both_handlers
    async def test_bodies_are_closed(self, handler: ASGIHandler) -> None:
        """Those in memory, those on disk, and those of requests that are refused."""
        with self.settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10):
            await Visitor(handler, "/echo/").visit(b"short")
            await Visitor(handler, "/echo/").visit(b"longer than ten")
            await Visitor(handler, "/fail/").visit()
            await Visitor(handler, "/stream-on-loop/well/").visit()
            await Visitor(handler, "/echo/", query_string=b"\xff").visit()
        self.assertEqual([body.closed for body in now.bodies], [True] * 5)

    @with_both_handlers
    async def test_too_large_body_is_refused(self, handler: ASGIHandler) -> None:
        """By the view that reads it."""
        with self.settings(DATA_UPLOAD_MAX_MEMORY_SIZE=10):
            visitor = await Visitor(handler, "/echo/", {"content-length": "11"}).visit(b"x" * 11)
        self.assertEqual(visitor.status, 400)

    @with_both_handlers
    async def test_malformed_request_returns_400(self, handler: ASGIHandler) -> None:
        """No view sees a query that is no text."""
        visitor = await Visitor(handler, "/echo/", query_string=b"\xff").visit()
        self.assertEqual((visitor.status, now.told), (400, ["started", "finished"]))

    @with_both_handlers
    async def test_request_refused_when_made_returns_413(self, handler: ASGIHandler) -> None:
        """It has too much data."""
        with patch.object(handler, "request_class", TooLargeRequest):
            visitor = await Visitor(handler, "/echo/").visit()
        self.assertEqual((visitor.status, now.told), (413, ["started", "finished"]))

    @with_both_handlers
    async def test_client_leaving_before_body_ends_runs_nothing(self, handler: ASGIHandler) -> None:
        """There is no request yet."""
        visitor = Visitor(handler, "/echo/")
        visitor.say(b"first", more_body=True)
        visitor.leave()
        await visitor.visit()
        self.assertEqual((visitor.messages, now.told), ([], []))

    @with_both_handlers
    async def test_defective_view_returns_500(self, handler: ASGIHandler) -> None:
        """The defect is told to the signal; under /api/ the answer is the envelope."""
        visitor = await Visitor(handler, "/fail/").visit()
        self.assertEqual((visitor.status, now.told), (500, ["started", "failed", "finished"]))
        visitor = await Visitor(handler, "/api/fail/").visit()
        self.assertEqual((visitor.status, json.loads(visitor.body)["error"]["code"]), (500, "server_error"))

    @override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, f"{__name__}.defective_middleware"])
    @with_both_handlers
    async def test_defective_middleware_returns_500(self, handler: ASGIHandler) -> None:
        """As a view that has a defect."""
        visitor = await Visitor(handler, "/echo/").visit()
        self.assertEqual((visitor.status, now.told), (500, ["started", "failed", "finished"]))

    @override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True)
    @with_both_handlers
    async def test_propagated_defect_reaches_server(self, handler: ASGIHandler) -> None:
        """Where the settings ask for it; the next request is answered."""
        for _ in range(THREADS + 1):
            with self.assertRaisesMessage(ValueError, "A defect"):
                await Visitor(handler, "/fail/").visit()
        self.assertEqual((await Visitor(handler, "/echo/").visit()).status, 200)

    @with_both_handlers
    async def test_defective_receiver_reaches_server(self, handler: ASGIHandler) -> None:
        """No response can be made where the start of the request fails."""

        def receiver(**_: object) -> None:
            raise ValueError("A defect")

        request_started.connect(receiver)
        try:
            for _ in range(THREADS + 1):
                with self.assertRaisesMessage(ValueError, "A defect"):
                    await Visitor(handler, "/echo/").visit()
        finally:
            request_started.disconnect(receiver)
        self.assertEqual((await Visitor(handler, "/echo/").visit()).status, 200)

    @with_both_handlers
    async def test_head_has_headers_and_no_body(self, handler: ASGIHandler) -> None:
        """The length is that of GET."""
        got = await Visitor(handler, "/echo/", {"if-none-match": "x"}).visit()
        visitor = await Visitor(handler, "/echo/", method="HEAD").visit()
        self.assertEqual((visitor.status, visitor.body), (200, b""))
        self.assertEqual(int(dict(visitor.headers)["content-length"]), len(got.body) + 1)

    @with_both_handlers
    async def test_known_page_returns_304(self, handler: ASGIHandler) -> None:
        """The client has it."""
        tag = dict((await Visitor(handler, "/on-loop/").visit()).headers)["etag"]
        visitor = await Visitor(handler, "/on-loop/", {"if-none-match": tag}).visit()
        self.assertEqual((visitor.status, visitor.body), (304, b""))

    @with_both_handlers
    async def test_file_is_sent_in_large_chunks(self, handler: ASGIHandler) -> None:
        """The whole file, with its length."""
        visitor = await Visitor(handler, "/file/").visit()
        self.assertEqual(dict(visitor.headers)["content-length"], str(len(CONTENT)))
        self.assertEqual((visitor.body, visitor.chunks), (CONTENT, [len(CONTENT), 0]))

    @with_both_handlers
    async def test_stream_is_sent_whole(self, handler: ASGIHandler) -> None:
        """Large parts come in chunks; an empty message ends it, and then the generator and the request."""
        visitor = await Visitor(handler, "/stream/well/").visit()
        self.assertEqual((visitor.status, visitor.body), (200, WHOLE))
        self.assertLessEqual({("set-cookie", "a=1; Path=/"), ("x-name", "é")}, set(visitor.headers))
        self.assertEqual(visitor.chunks, [4, 0, 4, 65536, 34464, 0])
        self.assertEqual(now.told, ["started", "view", "first part", "stream closed", "finished"])

    @with_both_handlers
    async def test_asynchronous_stream_is_sent_whole(self, handler: ASGIHandler) -> None:
        """It is read on the server's own loop."""
        visitor = await Visitor(handler, "/stream-on-loop/well/").visit()
        self.assertEqual((visitor.body, visitor.chunks), (WHOLE, [4, 0, 4, 65536, 34464, 0]))
        self.assertEqual(now.loops, [asyncio.get_running_loop()])
        self.assertEqual(now.told, ["started", "first part", "stream closed", "closed on the loop", "finished"])

    @with_both_handlers
    async def test_defective_stream_reaches_server(self, handler: ASGIHandler) -> None:
        """It has begun, and can't become a 500."""
        for route in ("/stream/defect/", "/stream-on-loop/defect/"):
            visitor = Visitor(handler, route)
            with self.assertRaisesMessage(ValueError, "A defect"):
                await visitor.visit()
            self.assertEqual((visitor.status, visitor.messages[-1].get("more_body", True)), (200, True))

    @with_both_handlers
    async def test_client_leaving_ends_asynchronous_stream(self, handler: ASGIHandler) -> None:
        """The generator is closed, and then the request."""
        visitor = Visitor(handler, "/stream-on-loop/never/")
        visitor.leaves_after = 9
        await visitor.visit()
        self.assertEqual(now.told, ["started", "first part", "stream closed", "closed on the loop", "finished"])

    @with_both_handlers
    async def test_asynchronous_view_runs_on_loop(self, handler: ASGIHandler) -> None:
        """It is the server's own."""
        visitor = await Visitor(handler, "/on-loop/").visit()
        self.assertEqual((visitor.body, now.loops), (b"from the loop", [asyncio.get_running_loop()]))

    @with_both_handlers
    async def test_other_protocol_is_refused(self, handler: ASGIHandler) -> None:
        """There are no websockets."""
        with self.assertRaisesMessage(ValueError, "Django can only handle ASGI/HTTP connections, not websocket."):
            await Visitor(handler, "/echo/", type="websocket").visit()


@override_settings(ROOT_URLCONF=__name__, REQUEST_THREADS=THREADS, REQUEST_WAIT_SECONDS=60, SECURE_SSL_REDIRECT=False)
class OneHopTests(SimpleTestCase):
    """What only ours does."""

    @with_our_handler
    async def test_request_stays_in_one_thread(self, handler: OneHopHandler) -> None:
        """Signals, view, stream and end, because the database connection is the thread's."""
        for route in ("/echo/", "/stream/well/", "/on-loop/"):
            now.threads.clear()
            await Visitor(handler, route).visit()
            self.assertEqual(len(now.threads), 1)
            self.assertNotIn(threading.get_ident(), now.threads)

    @with_our_handler
    async def test_stream_is_sent_while_it_is_made(self, handler: OneHopHandler) -> None:
        """Django's own handler collects it first, and would never end here."""
        visitor = Visitor(handler, "/stream/never/")
        visitor.leaves_after = 9
        await visitor.visit()
        self.assertEqual(visitor.body[: len(WHOLE)], WHOLE)
        self.assertEqual(now.told, ["started", "view", "first part", "stream closed", "finished"])
        self.assertEqual(len(now.threads), 1)

    @with_our_handler
    async def test_stream_listens_for_client_until_it_ends(self, handler: OneHopHandler) -> None:
        """No task is left over."""
        visitor = await Visitor(handler, "/stream/well/").visit()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await visitor.listening_ended.wait()
        self.assertFalse(visitor.has_left.is_set())

    @with_our_handler
    async def test_client_leaving_stream_after_queue_ends_it(self, handler: OneHopHandler) -> None:
        """Nothing left over from the queue takes the news away."""
        inside = await fill(handler)
        visitor = Visitor(handler, "/stream/never/")
        visitor.leaves_after = 9
        visitor.start()
        await visitor.is_queued()
        now.gate.set()
        for each in (*inside, visitor):
            self.assertEqual((await each.finish()).status, 200)

    @with_our_handler
    async def test_client_leaving_between_parts_ends_stream(self, handler: OneHopHandler) -> None:
        """The next part is not sent."""
        visitor = Visitor(handler, "/stream-with-pause/")
        visitor.start()
        await now.has_entered()
        visitor.leave()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await visitor.has_left.wait()
        now.gate.set()
        await visitor.finish()
        self.assertEqual(visitor.body, b"first")
        self.assertEqual(now.told, ["started", "first part", "stream closed", "finished"])

    @with_our_handler
    async def test_stream_made_after_cancellation_is_closed(self, handler: OneHopHandler) -> None:
        """Nobody is left to read it."""
        visitor = Visitor(handler, "/stream-later/")
        visitor.start()
        await now.has_entered()
        visitor.task.cancel()
        await asyncio.wait({visitor.task})
        now.gate.set()
        await now.has_ended()
        self.assertEqual((visitor.messages, now.told), ([], ["started", "finished"]))

    @with_our_handler
    async def test_stream_waits_until_its_part_is_sent(self, handler: OneHopHandler) -> None:
        """A cancelled one waits no longer, and is closed."""
        visitor = Visitor(handler, "/stream/never/")
        visitor.stalls = True
        visitor.start()
        await now.has_entered()
        self.assertEqual((len(visitor.messages), now.told), (1, ["started", "view"]))
        visitor.task.cancel()
        await now.has_ended()
        self.assertEqual((len(visitor.messages), now.told), (1, ["started", "view", "finished"]))

    @with_our_handler
    async def test_cancelled_asynchronous_stream_is_closed(self, handler: OneHopHandler) -> None:
        """The server gives it up while a part is being sent."""
        visitor = Visitor(handler, "/stream-on-loop/never/")
        visitor.stalls = True
        visitor.start()
        await now.has_entered()
        visitor.task.cancel()
        await asyncio.wait({visitor.task})
        self.assertEqual(now.told, ["started", "finished"])

    @with_our_handler
    async def test_cancelled_asynchronous_view_is_cancelled(self, handler: OneHopHandler) -> None:
        """It may clean up."""
        visitor = Visitor(handler, "/endless/")
        visitor.start()
        await now.has_entered()
        visitor.task.cancel()
        await now.has_ended()
        self.assertEqual(now.told, ["started", "view cancelled", "finished"])
        self.assertEqual((await Visitor(handler, "/echo/").visit()).status, 200)

    @with_our_handler
    async def test_client_leaving_during_view_lets_it_end(self, handler: OneHopHandler) -> None:
        """What it does is done whole, and closed."""
        visitor = Visitor(handler, "/wait/")
        visitor.start()
        await now.has_entered()
        visitor.leave()
        now.gate.set()
        await visitor.finish()
        self.assertEqual(now.told, ["started", "view", "finished"])

    @with_our_handler
    async def test_full_house_lets_no_more_in(self, handler: OneHopHandler) -> None:
        """Whoever is too many waits, and is answered in turn."""
        visitors = [Visitor(handler, "/wait/") for _ in range(VISITORS)]
        for visitor in visitors:
            visitor.start()
        for _ in range(THREADS):
            await now.has_entered()
        for visitor in visitors[THREADS:]:
            await visitor.is_queued()
        self.assertEqual(now.inside, THREADS)
        now.gate.set()
        for visitor in visitors:
            self.assertEqual((await visitor.finish()).status, 200)
        self.assertEqual((now.most_inside, len(now.threads)), (THREADS, THREADS))

    @override_settings(REQUEST_WAIT_SECONDS=0.05)
    @with_our_handler
    async def test_house_full_for_long_returns_503(self, handler: OneHopHandler) -> None:
        """With a time to retry, and under /api/ in the envelope; and the view is not run."""
        inside = await fill(handler)
        page, api = await Visitor(handler, "/wait/").visit(), await Visitor(handler, "/api/wait/").visit()
        self.assertEqual((page.status, api.status), (503, 503))
        for visitor in (page, api):
            self.assertGreater(int(dict(visitor.headers)["retry-after"]), 0)
            self.assertEqual(dict(visitor.headers)["x-content-type-options"], "nosniff")
        self.assertEqual(json.loads(api.body)["error"]["code"], "service_unavailable")
        malformed = await Visitor(handler, "/wait/", query_string=b"\xff").visit()
        self.assertEqual((malformed.status, now.inside), (400, THREADS))
        now.gate.set()
        for visitor in inside:
            self.assertEqual((await visitor.finish()).status, 200)
        await self.check_all_threads_are_free(handler)

    @override_settings(REQUEST_WAIT_SECONDS=0.05)
    @with_our_handler
    async def test_full_house_answers_health_checks(self, handler: OneHopHandler) -> None:
        """It is busy, not dead, and nobody else gets in by that way."""
        inside = await fill(handler)
        self.assertEqual((await Visitor(handler, "/api/healthcheck/").visit()).status, 200)
        self.assertEqual((await Visitor(handler, "/echo/").visit()).status, 503)
        now.gate.set()
        for visitor in inside:
            self.assertEqual((await visitor.finish()).status, 200)

    @with_our_handler
    async def test_request_that_cannot_be_made_is_refused_in_the_envelope(self, handler: OneHopHandler) -> None:
        """Where Django's handler answers with an empty page."""
        malformed = await Visitor(handler, "/api/wait/", query_string=b"\xff").visit()
        self.assertEqual((malformed.status, json.loads(malformed.body)["error"]["code"]), (400, "bad_request"))

    @with_our_handler
    async def test_client_leaving_queue_is_dropped(self, handler: OneHopHandler) -> None:
        """Nobody waits for the answer, and the next in the queue goes in."""
        inside = await fill(handler)
        left, stayed = Visitor(handler, "/echo/"), Visitor(handler, "/wait/")
        left.start()
        await left.is_queued()
        stayed.start()
        await stayed.is_queued()
        left.leave()
        await left.finish()
        self.assertEqual(left.messages, [])
        now.gate.set()
        for visitor in (*inside, stayed):
            self.assertEqual((await visitor.finish()).status, 200)
        self.assertEqual(now.requests, [])
        await self.check_all_threads_are_free(handler)

    @with_our_handler
    async def test_cancelled_in_queue_takes_no_thread(self, handler: OneHopHandler) -> None:
        """Whether it still waits or has just been called."""
        for _ in range(THREADS + 1):
            inside = await fill(handler)
            waiting = Visitor(handler, "/echo/")
            waiting.start()
            await waiting.is_queued()
            called = Visitor(handler, "/echo/")
            called.start()
            await called.is_queued()
            waiting.task.cancel()
            await asyncio.wait({waiting.task})
            now.gate.set()
            for visitor in inside:
                visitor.task.add_done_callback(lambda _, task=called.task: task.cancel())  # type: ignore[misc]
            for visitor in inside:
                await visitor.finish()
            await asyncio.wait({called.task})
            self.assertEqual(waiting.messages, [])
            await self.check_all_threads_are_free(handler)

    @override_settings(REQUEST_THREADS=1)
    @with_our_handler
    async def test_cancelled_request_keeps_its_thread_until_it_ends(self, handler: OneHopHandler) -> None:
        """The next waits for the thread, not for the task, and the response is closed."""
        cancelled, next_one = Visitor(handler, "/wait/"), Visitor(handler, "/echo/")
        cancelled.start()
        await now.has_entered()
        cancelled.task.cancel()
        await asyncio.wait({cancelled.task})
        next_one.start()
        await next_one.is_queued()
        self.assertEqual(now.told, ["started"])
        now.gate.set()
        self.assertEqual((await next_one.finish()).status, 200)
        self.assertEqual(now.told, ["started", "view", "finished", "started", "view", "finished"])
        self.assertEqual(cancelled.messages, [])

    async def check_all_threads_are_free(self, handler: OneHopHandler) -> None:
        """See as many requests at once as there are threads, and no more."""
        inside = await fill(handler)
        too_many = Visitor(handler, "/echo/")
        too_many.start()
        await too_many.is_queued()
        now.gate.set()
        for visitor in (*inside, too_many):
            self.assertIn((await visitor.finish()).status, {200})


async def fill(handler: OneHopHandler) -> list[Visitor]:
    """Return visitors who are in a view that waits at the gate, one for each thread."""
    now.gate.clear()
    visitors = [Visitor(handler, "/wait/") for _ in range(settings.REQUEST_THREADS)]
    for visitor in visitors:
        visitor.start()
        await now.has_entered()
    return visitors


@override_settings(ROOT_URLCONF=__name__, REQUEST_THREADS=THREADS, SECURE_SSL_REDIRECT=False)
class ConnectionTests(TransactionTestCase):
    """Each thread keeps its database connection."""

    serialized_rollback = True

    @with_our_handler
    async def test_many_requests_share_a_connection_for_each_thread(self, handler: OneHopHandler) -> None:
        """They stay open between requests, and there are never more."""
        first = [Visitor(handler, "/server-process/") for _ in range(THREADS)]
        for visitor in first:
            visitor.start()
            await now.has_entered()
        now.gate.set()
        opened_first = {int((await visitor.finish()).body) for visitor in first}
        self.assertEqual(len(opened_first), THREADS)
        visitors = [Visitor(handler, "/server-process/") for _ in range(60)]
        for visitor in visitors:
            visitor.start()
        self.assertEqual({int((await visitor.finish()).body) for visitor in visitors}, opened_first)
        self.assertEqual(await asyncio.to_thread(still_connected, opened_first), opened_first)

    @with_our_handler
    async def test_asynchronous_stream_keeps_its_connection_to_its_end(self, handler: OneHopHandler) -> None:
        """It has one thread for all its queries, and leaves no connection."""
        visitor = await Visitor(handler, "/server-process-on-loop/").visit()
        first, second = map(int, visitor.body.split())
        self.assertEqual(first, second)
        await asyncio.to_thread(wait_until, lambda: not still_connected({first}))

    @override_settings(REQUEST_THREADS=1)
    @with_our_handler
    async def test_request_after_connection_is_cut_returns_200(self, handler: OneHopHandler) -> None:
        """The database was restarted, say; a new connection is made."""
        now.gate.set()
        before = await Visitor(handler, "/server-process/").visit()
        await asyncio.to_thread(cut_connection, int(before.body))
        after = await Visitor(handler, "/server-process/").visit()
        self.assertEqual((before.status, after.status), (200, 200))
        self.assertNotEqual(before.body, after.body)

    @override_settings(REQUEST_THREADS=VISITORS)
    def test_closed_handler_keeps_no_connection(self) -> None:
        """Each of its threads has closed its own."""

        async def open_connections(handler: ASGIHandler) -> set[int]:
            visitors = [Visitor(handler, "/server-process/") for _ in range(VISITORS)]
            for visitor in visitors:
                visitor.start()
                await now.has_entered()
            now.gate.set()
            return {int((await visitor.finish()).body) for visitor in visitors}

        with opened(OneHopHandler) as handler:
            processes = asyncio.run(open_connections(handler))
            self.assertEqual((still_connected(processes), len(processes)), (processes, VISITORS))
        wait_until(lambda: not still_connected(processes))


def still_connected(processes: set[int]) -> set[int]:
    """Return those of the server's processes that serve somebody."""
    return {pid for (pid,) in ask_database("SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)", [list(processes)])}


def cut_connection(process: int) -> None:
    """End a connection from the side of the server."""
    ask_database("SELECT pg_terminate_backend(%s, 20000)", [process])


def ask_database(query: str, values: list[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a query, through a connection of its own."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    connection.close()
    return rows
