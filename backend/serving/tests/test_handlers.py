"""The request handler: a request's way to a thread, to the view and back."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from http import HTTPStatus
from inspect import iscoroutinefunction
from ipaddress import ip_network
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

from django.conf import settings
from django.core.signals import got_request_exception, request_finished, request_started
from django.db import DatabaseError, connections
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.urls import path, reverse
from django.views.decorators.csrf import csrf_exempt

from ctj_api.tests.common import execute, in_another_thread, url_patterns, wait_until
from serving import metrics
from serving.handlers import RunningRequest, ThreadPoolHandler
from serving.request_log import CLIENT_LEFT, CUT_OFF, ID

PATIENCE_SECONDS = 20
THREADS = 2
VISITORS = 10
CHUNKS = (b"one ", b"", b"two ", b"x" * 100_000)
WHOLE = b"".join(CHUNKS)
STREAM_HEADERS = {("set-cookie", "a=1; Path=/"), ("x-name", "é")}
THIS_FILE = Path(__file__)
CONTENT = THIS_FILE.read_bytes()
STILL_CONNECTED = "SELECT array_agg(pid) FROM pg_stat_activity WHERE pid = ANY(%s)"
CUT = "SELECT bool_and(pg_terminate_backend(pid, 20000)) FROM unnest(%s) AS pid"
SIGNALS = {"started": request_started, "finished": request_finished, "failed": got_request_exception}
MAKES_STREAM = re.compile(r"\b(StreamingHttpResponse|FileResponse)\(")

color: ContextVar[str] = ContextVar("color", default="none")


class Happenings:
    """What the views and signals of one scenario have told, and the gate that some views wait at."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.threads: set[int] = set()
        self.requests: list[HttpRequest] = []
        self.bodies: list[IO[bytes]] = []
        self.senders: list[object] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()

    def tell(self, what: str) -> None:
        """Note what happens, and in which thread."""
        self.told.append(what)
        self.threads.add(threading.get_ident())

    async def has_entered(self) -> None:
        """Wait until one more view is at the gate."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE_SECONDS)


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
    now.threads.add(threading.get_ident())
    now.entered.release()
    now.gate.wait(PATIENCE_SECONDS)
    now.tell("view")
    return HttpResponse("done")


def parts() -> Iterator[bytes]:
    """Yield the chunks."""
    now.tell("first part")
    yield from CHUNKS
    now.tell("last part")


def stream(_: HttpRequest) -> StreamingHttpResponse:
    """Stream from a generator."""
    now.tell("view")
    response = StreamingHttpResponse(parts(), headers={"X-Name": "é"})
    response.set_cookie("a", "1")
    return response


def file(_: HttpRequest) -> FileResponse:
    """Send a file."""
    return FileResponse(THIS_FILE.open("rb"))


def server_process(_: HttpRequest) -> HttpResponse:
    """Tell which process of the database server answers this thread."""
    now.entered.release()
    now.gate.wait(PATIENCE_SECONDS)
    return HttpResponse(str(*execute("SELECT pg_backend_pid()")))


@csrf_exempt
def sleep(request: HttpRequest) -> HttpResponse:
    """Run one long statement after another, though the first is cancelled, and fail unless both have ended."""
    for _ in range(2):
        with suppress(DatabaseError):
            execute("SELECT pg_backend_pid()")
            now.requests.append(request)
            execute("SELECT pg_sleep(%s)", float(request.GET["seconds"]))
            now.tell("slept")
    return HttpResponse(status=200 if now.told.count("slept") == 2 else 503)


urlpatterns = [
    path("echo/", echo, name="echo"),
    path("fail/", fail),
    path("wait/", wait),
    path("api/wait/", wait),
    path("api/healthcheck/", echo),
    path("api/fail/", fail),
    path("stream/", stream),
    path("file/", file),
    path("server-process/", server_process),
    path("sleep/", sleep),
]


class Visitor:
    """A client's request, message by message, as a server passes it on."""

    def __init__(
        self, handler: ThreadPoolHandler, route: str, headers: Mapping[str, str] | None = None, **scope: Any
    ) -> None:
        sent = {"host": "testserver", **(headers or {})}
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": route,
            "query_string": b"",
            "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            **scope,
        }
        self.handler = handler
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.messages: list[Mapping[str, Any]] = []
        self.is_listened_to = asyncio.Event()

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

    async def wait_in_queue(self) -> None:
        """Send the request, and wait until the handler listens whether the client leaves."""
        self.start()
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

    async def _receive(self) -> dict[str, Any]:
        if self.incoming.empty():
            self.is_listened_to.set()
        return await self.incoming.get()

    async def _send(self, message: Mapping[str, Any]) -> None:
        self.messages.append(message)


def note(what: str, sender: object, **_: object) -> None:
    """Tell of a signal, and who sends it."""
    now.senders.append(sender)
    now.tell(what)


def close(handler: ThreadPoolHandler) -> None:
    """End the handler's threads once they are free, and close their database connections."""
    for pool in (handler.pool, handler.machine_pool):
        everyone = threading.Barrier(pool._max_workers)

        def leave(everyone: threading.Barrier = everyone) -> None:
            everyone.wait()
            connections.close_all()

        for _ in range(pool._max_workers):
            pool.submit(leave)
        pool.shutdown()


@override_settings(ROOT_URLCONF=__name__, REQUEST_THREADS=THREADS, SECURE_SSL_REDIRECT=False)
class HandlerTestCase(SimpleTestCase):
    """A handler for each test, whose threads end with it."""

    def setUp(self) -> None:
        """Make the handler, and note what happens."""
        now.__init__()  # type: ignore[misc]
        color.set("none")
        self.handler = ThreadPoolHandler()
        self.addCleanup(self.check_bodies_are_closed)
        for what, signal in SIGNALS.items():
            receiver = partial(note, what)
            signal.connect(receiver, weak=False)
            self.addCleanup(signal.disconnect, receiver)
        self.enterContext(patch.object(self.handler, "read_body", self.read_body))
        self.addCleanup(close, self.handler)
        self.addCleanup(now.gate.set)

    async def read_body(self, receive: Any) -> IO[bytes]:
        """Read a body and remember it."""
        now.bodies.append(await ThreadPoolHandler.read_body(self.handler, receive))
        return now.bodies[-1]

    def check_bodies_are_closed(self) -> None:
        """Whatever became of the request."""
        self.assertEqual([body.closed for body in now.bodies], [True] * len(now.bodies))

    def visitor(self, route: str, headers: Mapping[str, str] | None = None, **scope: Any) -> Visitor:
        """Return a client of the handler."""
        return Visitor(self.handler, route, headers, **scope)

    async def fill(self, route: str = "/wait/") -> list[Visitor]:
        """Return visitors who are in a view that waits at the gate, one for each thread."""
        now.gate.clear()
        visitors = [self.visitor(route) for _ in range(settings.REQUEST_THREADS)]
        for visitor in visitors:
            visitor.start()
            await now.has_entered()
        return visitors


@override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10)
class RequestTests(HandlerTestCase):
    """A request's way to the view and back."""

    async def test_request_reaches_view_whole(self) -> None:
        """The view sees the whole request, between the signals, and both its cookies come back."""
        color.set("red")
        moved = {"root_path": "/sub"}  # Daphne takes it from a header of the client
        visitor = self.visitor("/echo/", {"cookie": "c=3"}, method="POST", query_string=b"q=%C3%A9", **moved)
        visitor.say(b"first ", more_body=True)
        await visitor.visit(b"second")
        expected = {
            "method": "POST",
            "path": ["/echo/", "/echo/", "", "/echo/"],
            "query": {"q": "é"},
            "cookies": {"c": "3"},
            "body": "first second",
            "color": "red",
        }
        self.assertEqual((visitor.status, json.loads(visitor.body)), (200, expected))
        cookies = [value for name, value in visitor.headers if name == "set-cookie"]
        self.assertEqual(cookies, ["a=1; Path=/", "b=2; Path=/"])
        self.assertEqual(now.told, ["started", "view", "finished"])
        self.assertEqual(now.senders, [ThreadPoolHandler] * 2)
        for _ in range(THREADS):  # in the server's context, and not in that of the view before
            self.assertEqual(json.loads((await self.visitor("/echo/").visit()).body)["color"], "red")

    async def test_client_leaving_before_body_ends_runs_nothing(self) -> None:
        """No view is called for half a request."""
        visitor = self.visitor("/echo/")
        visitor.say(b"first", more_body=True)
        visitor.leave()
        await visitor.visit()
        self.assertEqual((visitor.messages, now.told), ([], []))

    async def test_file_and_stream_are_sent_whole_from_one_thread(self) -> None:
        """The response has all parts, headers and cookies; HEAD has the length alone."""
        for method, route, body in (("GET", "/file/", CONTENT), ("HEAD", "/file/", b""), ("GET", "/stream/", WHOLE)):
            now.told.clear()
            now.threads.clear()
            visitor = await self.visitor(route, method=method).visit()
            self.assertEqual((visitor.status, visitor.body), (200, body))
            self.assertEqual(len(now.threads), 1)
            self.assertNotIn(threading.get_ident(), now.threads)
            told = {("content-length", str(len(CONTENT)))} if route == "/file/" else STREAM_HEADERS
            self.assertLessEqual(told, set(visitor.headers))
        self.assertEqual(now.told, ["started", "view", "first part", "last part", "finished"])
        self.assertEqual((await self.visitor("/echo/", method="HEAD").visit()).body, b"")


@override_settings(REQUEST_WAIT_SECONDS=60)
class ThreadPoolTests(HandlerTestCase):
    """Who gets a thread, and for how long."""

    async def test_requests_beyond_the_threads_wait(self) -> None:
        """They are answered once a thread is free."""
        inside, waiting = await self.fill(), [self.visitor("/wait/") for _ in range(VISITORS)]
        for visitor in waiting:
            await visitor.wait_in_queue()
        self.assertEqual((len(now.threads), metrics.WAITING._value.get()), (THREADS, VISITORS))
        now.gate.set()
        await finish(*inside, *waiting)
        self.assertEqual((len(now.threads), metrics.WAITING._value.get()), (THREADS, 0))

    @override_settings(REQUEST_WAIT_SECONDS=0.05)
    async def test_overloaded_server_returns_503_but_answers_health_checks(self) -> None:
        """The response has Retry-After and, under /api/, the envelope; health checks go on."""
        inside = await self.fill()
        page, api = await self.visitor("/wait/").visit(), await self.visitor("/api/wait/").visit()
        self.assertEqual((page.status, api.status), (503, 503))
        for visitor in (page, api):
            self.assertGreater(int(dict(visitor.headers)["retry-after"]), 0)
            self.assertEqual(dict(visitor.headers)["x-content-type-options"], "nosniff")
        self.assertEqual(json.loads(api.body)["error"]["code"], "service_unavailable")
        malformed = await self.visitor("/wait/", {"content-type": "a;b*=x''y"}, query_string=b"\xff").visit()
        self.assertEqual((malformed.status, now.told.count("view"), metrics.WAITING._value.get()), (503, 0, 0))
        self.assertEqual((await self.visitor("/api/healthcheck/").visit()).status, 200)
        now.gate.set()
        await finish(*inside)
        await self.check_all_threads_are_free()

    @override_settings(TRUSTED_PROXIES=(ip_network("127.0.0.1"),))
    async def test_unreadable_request_returns_400_in_the_envelope(self) -> None:
        """So is one that doesn't name one host, once; HTTP/1.0 may name none."""
        parameters = "a;" + ";".join(f"b{number}=c" for number in range(3000))
        content_types = ("a;b*=x''y", "a;charset*=utf-8''%00", parameters)
        unreadable: list[dict[str, Any]] = [{"query_string": b"\xff"}, {"method": "get"}]
        unreadable += [{"headers": {"content-type": each, "x-request-id": "abc-1"}} for each in content_types]
        for options in unreadable:
            with self.subTest(str(options)[:60]):
                visitor = await self.visitor("/api/echo/", **options).visit()
                self.assertEqual((visitor.status, json.loads(visitor.body)["error"]["code"]), (400, "bad_request"))
                self.assertEqual(dict(visitor.headers)["x-request-id"] == "abc-1", "headers" in options)
                page = await self.visitor("/echo/", **options).visit()
                self.assertEqual((page.status, page.body), (400, b"Bad Request"))
                self.assertEqual(now.told[-2:], ["started", "finished"])
        self.assertEqual(now.requests, [])
        one, empty = (b"host", b"testserver"), (b"host", b"")
        for version, hosts, status in (
            ("1.1", [], 400),
            ("1.1", [one, one], 400),
            ("1.1", [empty], 400),
            ("1.0", [one, one], 400),
            ("1.0", [], 200),
            ("1.1", [one], 200),
        ):
            with self.subTest(version=version, hosts=hosts):
                visitor = self.visitor("/api/healthcheck/", http_version=version)
                visitor.scope["headers"] = hosts
                self.assertEqual((await visitor.visit()).status, status)

    async def test_failure_outside_the_view_or_in_it_returns_500(self) -> None:
        """Enveloped under /api/; a failing signal receiver is logged each time, and the threads stay free."""

        def receiver(**_: object) -> None:
            raise ValueError("A defect")

        request_started.connect(receiver)
        self.addCleanup(request_started.disconnect, receiver)
        with self.assertLogs("serving.handlers", "ERROR") as logged:
            for _ in range(THREADS + 1):
                visitor = await self.visitor("/api/wait/").visit()
                self.assertEqual((visitor.status, json.loads(visitor.body)["error"]["code"]), (500, "server_error"))
        self.assertEqual(len(logged.records), THREADS + 1)
        request_started.disconnect(receiver)
        await self.check_all_threads_are_free()
        now.told.clear()
        page, api = [await self.visitor(route).visit() for route in ("/fail/", "/api/fail/")]
        self.assertEqual((page.status, now.told), (500, ["started", "failed", "finished"] * 2))
        self.assertEqual((api.status, json.loads(api.body)["error"]["code"]), (500, "server_error"))

    async def test_client_leaving_or_cancelled_in_the_queue_is_dropped(self) -> None:
        """No view is called for them, and the next in the queue gets the thread."""
        inside = await self.fill()
        left, cancelled, stayed = (self.visitor(route) for route in ("/echo/", "/echo/", "/wait/"))
        for visitor in (left, cancelled, stayed):
            await visitor.wait_in_queue()
        left.leave()
        await left.finish()
        cancelled.task.cancel()
        await asyncio.wait({cancelled.task})
        now.gate.set()
        await finish(*inside, stayed)
        self.assertEqual((left.messages, cancelled.messages, now.requests), ([], [], []))
        await self.check_all_threads_are_free()

    async def test_cancelled_request_keeps_its_thread_until_it_ends(self) -> None:
        """The next waits for the thread, not for the task; the response is closed, and the log tells of the end."""
        other, cancelled = await self.fill()
        with self.assertLogs("serving.request_log", "ERROR") as logs:
            cancelled.task.cancel()
            await asyncio.wait({cancelled.task})
        (line,) = [vars(record)["fields"] for record in logs.records]
        self.assertEqual((line["path"], line["outcome"], line["status"]), ("/wait/", CUT_OFF, 503))
        self.assertEqual(line["request_id"], cancelled.scope[ID])
        next_one = self.visitor("/echo/")
        await next_one.wait_in_queue()
        self.assertEqual(now.told, ["started"] * THREADS)
        now.gate.set()
        await finish(other, next_one)
        await asyncio.to_thread(wait_until, lambda: now.told.count("finished") == THREADS + 1)
        self.assertEqual(cancelled.messages, [])

    async def check_all_threads_are_free(self) -> None:
        """See as many requests at once as there are threads, and no more."""
        inside = await self.fill()
        too_many = self.visitor("/echo/")
        await too_many.wait_in_queue()
        now.gate.set()
        await finish(*inside, too_many)
        self.assertEqual(metrics.WAITING._value.get(), 0)

    @override_settings(WARM_UP=[f"{__name__}.note_warm_up"])
    def test_warm_up_calls_what_the_setting_names(self) -> None:
        """A database that is away is logged and keeps no process from serving."""
        self.handler.warm_up()
        self.assertEqual(now.told, ["warm"])
        with patch.object(now, "tell", side_effect=DatabaseError), self.assertLogs("serving.handlers", "WARNING"):
            self.handler.warm_up()


async def finish(*visitors: Visitor) -> None:
    """Wait for the answers to all of them, which are right."""
    for visitor in visitors:
        assert (await visitor.finish()).status == HTTPStatus.OK


def note_warm_up() -> None:
    """Tell that this was called."""
    now.tell("warm")


class ProjectTests(SimpleTestCase):
    """What the handler relies on."""

    def test_project_has_no_asynchronous_and_no_streaming_view(self) -> None:
        """Only threads have connections, and only static files may be read into memory."""
        views = [pattern.callback for _, pattern in url_patterns()]
        self.assertGreater(len(views), 50)
        self.assertEqual([view for view in views if iscoroutinefunction(view)], [])
        root = Path(settings.BASE_DIR)
        sources = {path for app in ("backend", "ctj_api") for path in (root / app).rglob("*.py")}
        sources -= set((root / "ctj_api" / "tests").rglob("*.py"))
        self.assertGreater(len(sources), 50)
        makers = [path.name for path in sources if MAKES_STREAM.search(path.read_text(encoding="utf-8"))]
        self.assertEqual(makers, [])


class ConnectionTests(HandlerTestCase, TransactionTestCase):
    """Each thread keeps its database connection."""

    async def test_many_requests_share_a_connection_for_each_thread(self) -> None:
        """Connections stay open between requests, one for each thread, until the database cuts them."""
        first = await self.fill("/server-process/")
        now.gate.set()
        opened_first = {int((await visitor.finish()).body) for visitor in first}
        self.assertEqual(len(opened_first), THREADS)
        visitors = [self.visitor("/server-process/") for _ in range(60)]
        for visitor in visitors:
            visitor.start()
        self.assertEqual({int((await visitor.finish()).body) for visitor in visitors}, opened_first)
        (connected,) = in_another_thread(partial(execute, STILL_CONNECTED, list(opened_first)))
        self.assertEqual(set(connected), opened_first)
        self.assertEqual(in_another_thread(partial(execute, CUT, list(opened_first))), (True,))
        opened_then = {int((await self.visitor("/server-process/").visit()).body) for _ in range(THREADS)}
        self.assertEqual(opened_first & opened_then, set())

    async def test_query_ends_when_its_client_has_left(self) -> None:
        """Each statement of a read is cancelled, and its line in the log says 499; a write goes on."""
        for method, seconds, statements, status in (("GET", b"60", 0, 499), ("POST", b"0.1", 2, 200)):
            visitor = self.visitor("/sleep/", method=method, query_string=b"seconds=" + seconds)
            with self.subTest(method), self.assertLogs("serving.request_log", "INFO") as logs:
                now.requests.clear()
                visitor.start()
                await asyncio.to_thread(wait_until, lambda: bool(now.requests))
                visitor.leave()
                await visitor.finish()
            (line,) = [vars(record)["fields"] for record in logs.records if record.msg == "request"]
            self.assertEqual((line["status"], line["outcome"]), (status, CLIENT_LEFT))
            self.assertEqual((now.told.count("slept"), len(now.requests)), (statements, 2))

    def test_query_of_the_next_request_is_never_cancelled(self) -> None:
        """Whoever cancels holds the thread until that is done, and finds nothing of a request that has ended."""
        for _ in range(300):
            running, cancelling = RunningRequest(), threading.Event()

            def cancel(running: RunningRequest = running, begun: threading.Event = cancelling) -> None:
                begun.set()
                running.cancel()

            with running:
                thread = threading.Thread(target=cancel)
                thread.start()
                cancelling.wait()
            execute("SELECT pg_sleep(0.001)")
            thread.join()
