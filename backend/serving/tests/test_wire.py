"""What a server process does with the bytes of its clients before the application sees a request."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from unittest.mock import patch

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.test import SimpleTestCase, override_settings

from ctj_api.tests.common import wait_until
from serving.refusals import refusal, request_so_far
from serving.worker import allow_open_files

from .test_worker import end

PATIENCE_SECONDS = 20
LIMIT = 1000
APPLICATION = "serving.tests.wire_app:application"


@dataclass
class Answer:
    """What a client has read."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code in the envelope."""
        code: str = self.json["error"]["code"]
        return code


class WireTests(SimpleTestCase):
    """Raw sockets at a real process, which each class starts with settings of its own."""

    options: ClassVar[dict[str, str]] = {}
    port: ClassVar[int]
    server: ClassVar[subprocess.Popen[bytes]]

    @classmethod
    def setUpClass(cls) -> None:
        """Start the process."""
        super().setUpClass()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            cls.port = listener.getsockname()[1]
        environment = {"HOST": "127.0.0.1", "PORT": str(cls.port), "WEB_CONCURRENCY": "1", **cls.options}
        cls.server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "python:serving.gunicorn_conf", APPLICATION],
            cwd=settings.BASE_DIR,
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        cls.addClassCleanup(end, cls.server)
        wait_until(cls.is_there)

    @classmethod
    def is_there(cls) -> bool:
        """Whether the process answers."""
        try:
            with closing(cls.connect()) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return bool(client.recv(1))
        except OSError:
            return False

    @classmethod
    def connect(cls) -> socket.socket:
        """Return a connection."""
        return socket.create_connection(("127.0.0.1", cls.port), PATIENCE_SECONDS)

    @contextmanager
    def connected(self, sent: bytes = b"") -> Iterator[socket.socket]:
        """Have a connection by which something was sent."""
        with closing(self.connect()) as client:
            client.sendall(sent)
            yield client

    def ask(self, sent: bytes) -> Answer:
        """Return the answer to what is sent on a connection of its own."""
        with self.connected(sent) as client:
            return read(client)

    def check_refused(self, sent: bytes) -> Answer:
        """See a 400 in the envelope, after which the connection is closed."""
        with self.connected(sent) as client:
            answer = read(client)
            self.assertEqual((answer.status, answer.code), (400, "bad_request"))
            self.assertEqual(client.recv(1), b"")
        return answer

    def check_alive(self) -> None:
        """See somebody else answered."""
        self.assertEqual(self.ask(head("GET", "/")).status, 200)


def head(method: str, target: str, *headers: str) -> bytes:
    """Return the head of a request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: testserver", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def chunked(*sizes: int) -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in sizes)


def read(client: socket.socket, method: str = "GET") -> Answer:
    """Return the next answer."""
    with closing(HTTPResponse(client, method=method)) as response:
        response.begin()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


class RefusalTests(WireTests):
    """What is refused is answered."""

    options: ClassVar[dict[str, str]] = {"REQUEST_MAX_BYTES": str(LIMIT), "DJANGO_BEHIND_PROXY": "true"}

    def test_body_as_large_as_may_be_is_passed_on(self) -> None:
        """Sent at once or in chunks."""
        length = head("POST", "/api/x/", f"Content-Length: {LIMIT}") + b"x" * LIMIT
        chunks = head("POST", "/api/x/", "Transfer-Encoding: chunked") + chunked(LIMIT - 1, 1, 0)
        for sent in (length, chunks):
            with self.subTest(sent[:60]):
                self.assertEqual(self.ask(sent).json["body"], LIMIT)

    def test_announced_body_that_is_too_large_is_refused_before_it_comes(self) -> None:
        """Nothing of it has been sent."""
        answer = self.check_refused(head("POST", "/api/x/", f"Content-Length: {LIMIT + 1}"))
        self.assertEqual(answer.json["error"]["message"], "The request's body is larger than 1,000 bytes.")

    def test_body_of_absurd_length_is_refused(self) -> None:
        """Python reads no number of so many digits."""
        self.check_refused(head("POST", "/api/x/", "Content-Length: " + "9" * 5000))

    def test_chunked_body_is_refused_as_soon_as_it_is_too_large(self) -> None:
        """Its end has not come."""
        self.check_refused(head("POST", "/api/x/", "Transfer-Encoding: chunked") + chunked(LIMIT, 1))

    def test_body_in_one_huge_chunk_is_refused_as_soon_as_it_is_too_large(self) -> None:
        """What counts is what came, not what was announced."""
        sent = head("POST", "/api/x/", "Transfer-Encoding: chunked") + b"ffffffffff\r\n"
        self.check_refused(sent + b"x" * (LIMIT + 1))

    def test_client_that_goes_on_sending_can_read_the_answer(self) -> None:
        """The connection isn't reset while it sends."""
        with self.connected(head("POST", "/api/x/", "Content-Length: 8000000")) as client:
            client.sendall(b"x" * 8_000_000)
            self.assertEqual(read(client).code, "bad_request")

    def test_client_that_sends_without_end_is_cut_off(self) -> None:
        """After it has sent more than anybody would by mistake."""
        with self.connected(head("POST", "/api/x/", "Content-Length: 800000000")) as client, self.assertRaises(OSError):
            for _ in range(800):
                client.sendall(b"x" * 1_000_000)

    def test_client_that_waits_to_be_told_sends_no_body_in_vain(self) -> None:
        """It gets the refusal in place of the 100; a body that is small enough is asked for."""
        expecting = "Expect: 100-continue"
        self.check_refused(head("POST", "/api/x/", expecting, f"Content-Length: {LIMIT + 1}"))
        with self.connected(head("POST", "/api/x/", expecting, "Content-Length: 1")) as client:
            self.assertEqual(client.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            client.sendall(b"x")
            self.assertEqual(read(client).json["body"], 1)

    def test_malformed_requests_are_refused_in_the_envelope(self) -> None:
        """All that Twisted would answer with a bare line, or not at all, and what it would let pass."""
        long_headers = [f"X-{number}: {'x' * 100}" for number in range(200)]
        for name, sent in {
            "null in a header": head("GET", "/api/x/", "X: a\0b"),
            "control character in a header": head("GET", "/api/x/", "X: a\x0bb", "Connection: close"),
            "line feed in a header": head("GET", "/api/x/", "X: a\nY: b"),
            "carriage return in a header": head("GET", "/api/x/", "X: a\rY: b"),
            "header without colon": head("GET", "/api/x/", "X"),
            "space before the colon": head("GET", "/api/x/", "Content-Length : 3"),
            "header over two lines": head("GET", "/api/x/", "X: a", " b"),
            "header before the first one": head("GET", "/api/x/").replace(b"Host", b" Host"),
            "long path": head("GET", "/api/" + "x" * 20_000),
            "long header": head("GET", "/api/x/", "X: " + "x" * 20_000),
            "long headers": head("GET", "/api/x/", *long_headers),
            "many headers": head("GET", "/api/x/", *["X: y"] * 501),
            "unknown version": b"GET /api/x/ HTTP/2.0\r\n\r\n",
            "space in the path": b"GET /api/x y HTTP/1.1\r\n\r\n",
            "path beyond ASCII": head("GET", "/api/\xa3", "Connection: close"),
            "no number": head("POST", "/api/x/", "Content-Length: +3"),
            "two lengths": head("POST", "/api/x/", "Content-Length: 3", "Content-Length: 3"),
            "two lengths in one": head("POST", "/api/x/", "Content-Length: 3, 3"),
            "length and chunks": head("POST", "/api/x/", "Content-Length: 3", "Transfer-Encoding: chunked"),
            "chunks and length": head("POST", "/api/x/", "Transfer-Encoding: chunked", "Content-Length: 3"),
            "identity": head("POST", "/api/x/", "Transfer-Encoding: identity", "Content-Length: 3"),
            "identity and chunked": head("POST", "/api/x/", "Transfer-Encoding: identity, chunked"),
            "two encodings": head("POST", "/api/x/", "Transfer-Encoding: identity", "Transfer-Encoding: chunked"),
            "unknown encoding": head("POST", "/api/x/", "Transfer-Encoding: xchunked"),
            "chunks in HTTP/1.0": b"POST /api/x/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "no size": head("POST", "/api/x/", "Transfer-Encoding: chunked") + b"x\r\n",
            "signed size": head("POST", "/api/x/", "Transfer-Encoding: chunked") + b"+1\r\nx\r\n",
            "size in Python": head("POST", "/api/x/", "Transfer-Encoding: chunked") + b"0x1\r\nx\r\n",
            "chunk that is longer": head("POST", "/api/x/", "Transfer-Encoding: chunked") + b"1\r\nxx\r\n",
            "line feed in an extension": head("POST", "/api/x/", "Transfer-Encoding: chunked") + b"1;a\nb\r\nx\r\n",
            "two hosts": head("GET", "/api/x/", "Host: elsewhere"),
            "lower case": head("head", "/api/x/"),
            "WebSocket": head("GET", "/api/x/", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x"),
        }.items():
            with self.subTest(name):
                self.check_refused(sent)
        self.check_alive()

    def test_what_is_no_request_of_the_api_is_refused_with_a_line(self) -> None:
        """Another protocol, another page, a target that is none."""
        for sent in (
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"\x16\x03\x01\x02\x00\r\n",
            head("CONNECT", "testserver:443"),
            head("OPTIONS", "*"),
            head("GET", "api/x/"),
            head("GET", "/admin/", "X: a\0b"),
        ):
            with self.subTest(sent), self.connected(sent) as client:
                answer = read(client)
                self.assertEqual((answer.status, answer.headers["content-type"]), (400, "text/plain; charset=utf-8"))
                self.assertTrue(answer.body.startswith(b"Bad Request"))
                self.assertEqual(client.recv(1), b"")

    def test_refused_head_has_no_body(self) -> None:
        """As with any other answer to HEAD."""
        with self.connected(head("HEAD", "/api/x/", "Upgrade: websocket")) as client:
            self.assertEqual(read(client, "HEAD").status, 400)
            self.assertEqual(client.recv(1), b"")

    def test_refusal_has_the_headers_of_every_answer(self) -> None:
        """Also over HTTPS."""
        secure = self.check_refused(head("GET", "/api/x/", "X-Forwarded-Proto: https", "Host: elsewhere")).headers
        plain = self.check_refused(head("GET", "/api/x/", "X: a\0b")).headers
        self.assertIn("max-age=", secure["strict-transport-security"])
        for headers in (secure, plain):
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["x-frame-options"], "DENY")
            self.assertEqual(headers["cache-control"], "private, no-store")
            self.assertEqual(headers["connection"], "close")

    def test_nothing_tells_the_product(self) -> None:
        """Neither answers nor refusals."""
        for sent in (head("GET", "/"), head("GET", "/api/\0")):
            answer = self.ask(sent)
            self.assertNotIn("server", answer.headers)
            self.assertNotIn(b"aphne", answer.body)

    def test_request_after_refused_one_is_not_read(self) -> None:
        """Whoever smuggles it in gets one answer."""
        smuggled = head("GET", "/smuggled")
        for sent in (
            head("POST", "/api/x/", "Content-Length: 3", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + smuggled,
            head("GET", "/api/x/", "Host: elsewhere") + smuggled,
            head("head", "/api/x/") + smuggled,
            head("POST", "/api/x/", "Transfer-Encoding: chunked") + chunked(LIMIT + 1, 0)[:-2] + b"\r\n" + smuggled,
        ):
            with self.subTest(sent[:80]), self.connected(sent) as client:
                self.assertEqual(read(client).status, 400)
                self.assertEqual(client.recv(1), b"")


class PassingTests(WireTests):
    """What is passed on, and as what."""

    def test_requests_in_a_row_are_answered_in_order(self) -> None:
        """Although all were sent at once, with bodies of every kind."""
        chunks = head("POST", "/2", "Transfer-Encoding: chunked") + b"2;name=value\r\nxx\r\n0\r\nTrailer: x\r\n\r\n"
        sent = head("POST", "/1", "Content-Length: 3") + b"xxx" + chunks + head("GET", "/3", "Connection: close")
        with self.connected(sent) as client, client.makefile("rb") as answers:
            told = re.findall(rb'"path": "(.*?)".*?"body": (\d+)', answers.read())
        self.assertEqual(told, [(b"/1", b"3"), (b"/2", b"2"), (b"/3", b"0")])

    def test_large_bodies_are_passed_on_whole(self) -> None:
        """Those that lie in a file meanwhile."""
        size = 500_000
        with self.connected(head("POST", "/", f"Content-Length: {size}") + b"x" * size) as client:
            self.assertEqual(read(client).json["body"], size)
            client.sendall(head("POST", "/", "Transfer-Encoding: chunked") + chunked(size // 2, size // 2, 0) + b"\r\n")
            self.assertEqual(read(client).json["body"], size)

    def test_form_is_the_applications_to_read(self) -> None:
        """Also one that can't be read: the server says nothing about it."""
        for form in ("multipart/form-data", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
            sent = head("POST", "/api/x/", f"Content-Type: {form}", "Content-Length: 3") + b"a=b"
            with self.subTest(form):
                self.assertEqual(self.ask(sent).json["body"], 3)

    def test_absolute_target_is_a_path_on_its_own_host(self) -> None:
        """Whatever the Host header says."""
        for target, path, query in (
            ("http://elsewhere/api/x/?a=1", "/api/x/", "a=1"),
            ("HTTPS://elsewhere", "/", ""),
            ("http://elsewhere?a=1", "/", "a=1"),
        ):
            with self.subTest(target):
                told = self.ask(head("GET", target)).json
                self.assertEqual((told["path"], told["query"]), (path, query))
                self.assertEqual([value for name, value in told["headers"] if name == "host"], ["elsewhere"])

    def test_client_can_move_no_urls(self) -> None:
        """Daphne has a header for that, which is meant for proxies."""
        for prefix in ("/api", "//elsewhere", "\xff"):
            with self.subTest(prefix):
                told = self.ask(head("GET", "/api/x/", f"Daphne-Root-Path: {prefix}")).json
                self.assertEqual((told["root_path"], told["path"]), ("", "/api/x/"))

    def test_every_status_has_its_phrase(self) -> None:
        """Also those that Twisted doesn't know."""
        with self.connected(head("GET", "/status?429")) as client:
            self.assertEqual(client.recv(100).partition(b"\r\n")[0], b"HTTP/1.1 429 Too Many Requests")

    def test_header_with_underscore_stands_for_no_other(self) -> None:
        """Proxies pass it on as they got it, and Python's name for both is the same."""
        told = self.ask(head("GET", "/", "X_Forwarded_For: 6.6.6.6", "X-Forwarded_For: 6.6.6.6")).json
        self.assertEqual([name for name, _ in told["headers"]], ["host"])
        request = ASGIRequest(
            {"method": "GET", "path": "/", "headers": [(b"x_forwarded_for", b"6.6.6.6")]},
            BytesIO(),
        )
        self.assertNotIn("HTTP_X_FORWARDED_FOR", request.META)

    def test_defect_returns_500_without_details(self) -> None:
        """In the envelope."""
        answer = self.ask(head("GET", "/api/defect"))
        self.assertEqual((answer.status, answer.code), (500, "server_error"))
        self.assertNotIn(b"efect", answer.body)

    def test_defect_in_the_middle_of_an_answer_cuts_it_off(self) -> None:
        """Nobody takes it for whole, and the next defect is answered as well."""
        with self.connected(head("GET", "/half")) as client, self.assertRaises(ConnectionResetError):
            while client.recv(100):
                pass
        self.assertEqual(self.ask(head("GET", "/api/defect")).status, 500)


class SlowClientTests(WireTests):
    """Nobody holds a connection for ever."""

    options: ClassVar[dict[str, str]] = {
        "REQUEST_HEAD_SECONDS": "0.5",
        "REQUEST_READ_SECONDS": "1",
        "KEEP_ALIVE_SECONDS": "0.5",
        "RESPONSE_STALL_SECONDS": "0.5",
    }

    def send_slowly(self, client: socket.socket, data: bytes) -> Answer:
        """Send a byte at a time until there is an answer."""
        client.setblocking(False)
        for byte in data:
            time.sleep(0.02)
            try:
                client.send(bytes([byte]))
                client.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                continue
            break
        client.settimeout(PATIENCE_SECONDS)
        return read(client)

    def test_head_that_comes_byte_by_byte_returns_408(self) -> None:
        """A byte gives no more time."""
        with self.connected() as client:
            answer = self.send_slowly(client, head("GET", "/api/x/", "X: " + "x" * 500))
        self.assertEqual(answer.status, 408)

    def test_head_that_stops_returns_408_in_the_envelope(self) -> None:
        """As soon as the path has come."""
        answer = self.ask(head("GET", "/api/x/")[:-2])
        self.assertEqual((answer.status, answer.code), (408, "bad_request"))

    def test_body_that_comes_byte_by_byte_returns_408(self) -> None:
        """After the time for a whole request, which is longer than that for its head."""
        began = time.monotonic()
        with self.connected(head("POST", "/api/x/", "Content-Length: 500")) as client:
            answer = self.send_slowly(client, b"x" * 500)
        self.assertEqual((answer.status, answer.code), (408, "bad_request"))
        self.assertGreater(time.monotonic() - began, 1)

    def test_connection_without_a_request_is_closed(self) -> None:
        """A new one, and one whose request was answered long ago."""
        with self.connected() as client:
            self.assertEqual(client.recv(1), b"")
        with self.connected(head("GET", "/")) as client:
            self.assertEqual(read(client).status, 200)
            self.assertEqual(client.recv(1), b"")

    def test_each_request_has_its_own_time(self) -> None:
        """A connection that is used lives longer than any limit."""
        with self.connected() as client:
            for _ in range(8):
                client.sendall(head("GET", "/"))
                self.assertEqual(read(client).status, 200)
                time.sleep(0.2)

    def test_answer_that_nobody_reads_is_given_up(self) -> None:
        """It is larger than what the system keeps of it."""
        with closing(client_with_small_buffer(self.port)) as client:
            client.sendall(head("GET", "/long?20000000"))
            wait_until(lambda: has_been_reset(client))
        self.check_alive()


class SteadyReaderTests(WireTests):
    """Whoever reads on may take as long as it takes."""

    stall_seconds = 3
    options: ClassVar[dict[str, str]] = {"RESPONSE_STALL_SECONDS": str(stall_seconds)}

    def test_answer_that_is_read_slowly_but_steadily_comes_whole(self) -> None:
        """Longer than the limit for a reader who reads nothing."""
        size = 20_000_000
        slow_until = time.monotonic() + 2 * self.stall_seconds
        with closing(client_with_small_buffer(self.port)) as client:
            client.sendall(head("GET", f"/long?{size}", "Connection: close"))
            received = 0
            while part := client.recv(32_768):
                received += len(part)
                if time.monotonic() < slow_until:
                    time.sleep(0.02)
        self.assertGreater(time.monotonic(), slow_until, "It was read before the limit could matter.")
        self.assertGreater(received, size)


class CrowdTests(WireTests):
    """More connections than are kept."""

    options: ClassVar[dict[str, str]] = {"CONNECTIONS_MAX": "4"}

    def test_one_too_many_closes_the_one_that_has_waited_longest(self) -> None:
        """Those who have asked something are answered."""
        with ExitStack() as stack:
            busy = self.begin(stack)
            waiting = [stack.enter_context(self.connected(head("GET", "/"))) for _ in range(3)]
            for client in waiting:
                read(client)
            waiting[0].sendall(head("GET", "/"))
            read(waiting[0])
            self.check_alive()
            self.assertEqual(waiting[1].recv(1), b"")
            for client in (waiting[0], waiting[2]):
                client.sendall(head("GET", "/"))
                self.assertEqual(read(client).status, 200)
            busy.sendall(b"x")
            self.assertEqual(read(busy).json["body"], 1)

    def test_one_too_many_closes_the_one_that_has_been_sending_longest(self) -> None:
        """Where nobody waits: who dribbles bodies shuts nobody out, and the others' requests are answered."""
        with ExitStack() as stack:
            sending = [self.begin(stack) for _ in range(4)]
            self.check_alive()
            self.assertEqual(sending[0].recv(1), b"")
            for client in sending[1:]:
                client.sendall(b"x")
                self.assertEqual(read(client).json["body"], 1)

    def test_body_in_many_small_parts_is_refused(self) -> None:
        """Each takes a hundred times longer to read than its byte; a few of them do no harm."""
        begun = head("POST", "/api/x/", "Transfer-Encoding: chunked")
        self.assertEqual(self.ask(begun + chunked(*[1] * 900, 0)).json["body"], 900)
        answer = self.check_refused(begun + chunked(*[1] * 1100))
        self.assertIn("too many small parts", answer.json["error"]["message"])

    def test_new_one_is_closed_where_all_others_are_being_answered(self) -> None:
        """And taken again once one of them is done."""
        with ExitStack() as stack:
            gate = Path(stack.enter_context(TemporaryDirectory())) / "gate"
            busy = [stack.enter_context(self.connected(head("GET", f"/wait?{gate}"))) for _ in range(4)]
            wait_until(lambda: len(list(gate.parent.iterdir())) == len(busy))
            with self.connected() as client:
                self.assertEqual(client.recv(1), b"")
            gate.touch()
            for client in busy:
                self.assertEqual(read(client).status, 200)
            self.check_alive()

    def begin(self, stack: ExitStack) -> socket.socket:
        """Return a connection whose request has come but for its body."""
        client = stack.enter_context(self.connected(head("POST", "/", "Content-Length: 1", "Expect: 100-continue")))
        self.assertIn(b"100 Continue", client.recv(100))
        return client


class DrainTests(WireTests):
    """A process that is told to stop."""

    def test_request_whose_body_is_still_coming_is_answered(self) -> None:
        """It began before; and the connection ends with it."""
        self.addCleanup(self.setUpClass)
        with self.connected(head("GET", "/")) as client:
            read(client)
            client.sendall(head("POST", "/", "Content-Length: 3", "Expect: 100-continue"))
            self.assertIn(b"100 Continue", client.recv(100))
            client.sendall(b"x")
            os.killpg(self.server.pid, signal.SIGTERM)
            wait_until(lambda: not self.is_there())
            client.sendall(b"xx")
            self.assertEqual(read(client).json["body"], 3)
            self.assertEqual(self.server.wait(PATIENCE_SECONDS), 0)


def client_with_small_buffer(port: int) -> socket.socket:
    """Return a connection of which the system keeps little that was not read; set later, that would lose packets."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE_SECONDS)
    client.connect(("127.0.0.1", port))
    return client


def has_been_reset(client: socket.socket) -> bool:
    """Whether the other side has cut the connection; nothing is read."""
    error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return error != 0


class RefusalAnswerTests(SimpleTestCase):
    """The answers that no view gives."""

    @override_settings(REFUSAL_MIDDLEWARE=[*settings.REFUSAL_MIDDLEWARE], SECURE_SSL_REDIRECT=True)
    def test_refusal_sends_nobody_to_https(self) -> None:
        """What is refused stays refused."""
        self.assertEqual(refusal(request_so_far(b"GET", b"/", []), 400).status_code, 400)

    def test_refusal_with_503_has_a_time_to_retry(self) -> None:
        """As every other."""
        for target in (b"/", b"/api/"):
            response = refusal(request_so_far(b"GET", target, []), 503)
            self.assertGreater(int(response["Retry-After"]), 0)


class OpenFilesTests(SimpleTestCase):
    """How many connections the system allows."""

    def test_soft_limit_is_raised_as_far_as_the_hard_one(self) -> None:
        """And never lowered."""
        for limits, wanted, raised in (
            ((1024, 4096), 2000, [(2000, 4096)]),
            ((1024, 4096), 9000, [(4096, 4096)]),
            ((1024, resource.RLIM_INFINITY), 9000, [(9000, resource.RLIM_INFINITY)]),
            ((4096, 4096), 2000, []),
            ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 2000, []),
        ):
            with (
                self.subTest(limits=limits),
                patch("resource.getrlimit", return_value=limits),
                patch("resource.setrlimit") as set_limits,
            ):
                allow_open_files(wanted)
                self.assertEqual([call.args[1] for call in set_limits.call_args_list], raised)
