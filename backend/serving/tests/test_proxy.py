"""The API through Caddy, with the Caddyfile of production."""

import json
import os
import re
import shutil
import signal
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from http.client import HTTPResponse
from pathlib import Path

from django.conf import settings
from django.test import SimpleTestCase

from ctj_api.tests.common import wait_until
from serving.tests.ports import reserved_port
from serving.tests.proxy import Proxy, proxy_to

from .server import Server, started
from .test_daphne_server import read_to_end, request

LIMIT = 2_621_440
CAN_RUN = shutil.which("caddy") or os.environ.get("REQUIRE_PROXY")
PIPELINED, UNREAD_MB = 500, 50


def answer_to(proxy: Proxy, data: bytes) -> tuple[HTTPResponse, bytes]:
    """Return the answer to what was sent on a new connection, and its body; the proxy may close it while we send."""
    with proxy.connect() as client:
        with suppress(OSError):
            client.sendall(data)
        response = HTTPResponse(client)
        response.begin()
        return response, response.read()


@unittest.skipUnless(CAN_RUN, "Caddy is not installed")
class ProxyTests(SimpleTestCase):
    """A server behind the proxy, whose answers tell what has reached it."""

    server: Server
    proxy: Proxy

    @classmethod
    def setUpClass(cls) -> None:
        """Start both, with short limits of time."""
        super().setUpClass()
        cls.server = cls.enterClassContext(started(REQUEST_BODY_SECONDS="2"))
        cls.proxy = cls.enterClassContext(proxy_to(cls.server.port, HEADER_TIMEOUT="2s", BODY_TIMEOUT="6s"))
        wait_until(lambda: answer_to(cls.proxy, request("/echo"))[0].status == 200)

    def test_body_over_the_limit_returns_413(self) -> None:
        """The envelope stands under /api/ only; a body of the limit reaches the server."""
        body = b"x" * (LIMIT + 1)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:LIMIT], body[LIMIT:])) + b"0\r\n\r\n"
        for header, content in ((f"Content-Length: {len(body)}", body), ("Transfer-Encoding: chunked", chunks)):
            with self.subTest(header):
                data = request("/api/auth/login/", header, method="POST") + content
                response, envelope = answer_to(self.proxy, data)
                self.assertEqual((response.status, response.headers["Content-Type"]), (413, "application/json"))
                error = json.loads(envelope)["error"]
                self.assertEqual(error["code"], "bad_request")
                self.assertIn(f"{settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes", error["message"])
                response, text = answer_to(self.proxy, request("/admin/login/", header, method="POST") + content)
                self.assertEqual((response.status, text[:18]), (413, b"The request's body"))
        data = request("/echo", f"Content-Length: {LIMIT}", method="POST") + body[:LIMIT]
        self.assertEqual(json.loads(answer_to(self.proxy, data)[1])["body"], LIMIT)

    def test_header_over_16_kb_is_refused_by_the_proxy(self) -> None:
        """One that the proxy lets through is not too large for the server."""
        self.assertEqual(answer_to(self.proxy, request("/echo", f"X-Large: {'x' * 17_000}"))[0].status, 431)
        self.assertEqual(answer_to(self.proxy, request("/echo", f"X-Large: {'x' * 15_500}"))[0].status, 200)

    def test_slow_header_or_unused_connection_is_cut_off(self) -> None:
        """The connection is closed after the limit; HTTP/2 is offered to who speaks it."""
        for sent in (b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b""):
            with self.subTest(sent), self.proxy.connect() as client:
                client.sendall(sent)
                self.assertEqual(read_to_end(client), b"")
        with self.proxy.connect("h2", "http/1.1") as client:
            self.assertEqual(client.selected_alpn_protocol(), "h2")

    def test_slow_body_is_cut_off(self) -> None:
        """The client is told that the request has failed, in the envelope."""
        data = request("/api/auth/login/", "Content-Length: 9", "Content-Type: application/json", method="POST")
        response, body = answer_to(self.proxy, data + b"{")
        self.assertIn(response.status, (502, 504))
        self.assertEqual(json.loads(body)["error"]["code"], "service_unavailable")

    def test_forged_headers_are_not_passed_on(self) -> None:
        """The server sees the true host and address, HTTPS and a new id, whatever is claimed."""
        forged = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http", "Daphne-Root-Path: /x", "Upgrade: websocket")
        data = request("/echo", "X-Request-ID: abc-1", *forged)
        seen = [json.loads(answer_to(self.proxy, data)[1])["headers"] for _ in range(2)]
        for each in seen:
            told = [each[name] for name in ("host", "x-forwarded-for", "x-forwarded-proto")]
            self.assertEqual(told, ["localhost", "127.0.0.1", "https"])
            self.assertEqual({"daphne-root-path", "upgrade"} & set(each), set())
        self.assertEqual(len({each["x-request-id"] for each in seen} - {"abc-1"}), 2)

    def test_metrics_are_hidden_from_outside(self) -> None:
        """Also where the proxy's own address is inside."""
        with started(METRICS_ALLOWED_NETWORKS="127.0.0.0/8", application="backend.asgi:application") as server:
            wait_until(partial(server.answers, "/metrics/"))
            self.assertIn("ctj_requests", server.get("/metrics/"))
            with proxy_to(server.port) as proxy:
                self.assertEqual(answer_to(proxy, request("/metrics/"))[0].status, 404)

    def test_client_waits_for_a_server_that_is_started_anew(self) -> None:
        """What is read is answered once there is a process."""
        with reserved_port() as port, proxy_to(port) as proxy, ThreadPoolExecutor() as pool:
            answer = pool.submit(answer_to, proxy, request("/echo"))
            with started(PORT=str(port)):
                self.assertEqual(answer.result()[0].status, 200)

    def test_client_of_a_server_that_is_reloaded_loses_no_request(self) -> None:
        """Reads and writes without a break are all answered while SIGHUP replaces the processes, twice."""
        is_over = threading.Event()

        def keep_asking(data: bytes) -> set[int]:
            statuses = set()
            while not is_over.is_set():
                statuses.add(answer_to(self.proxy, data)[0].status)
            return statuses

        with ThreadPoolExecutor() as pool, ExitStack() as stack:
            stack.callback(is_over.set)
            data = [request("/echo"), request("/echo", "Content-Length: 1", method="POST") + b"x"] * 2
            clients = [pool.submit(keep_asking, each) for each in data]
            for _ in range(2):
                before = self.server.get("/process")
                self.server.process.send_signal(signal.SIGHUP)
                wait_until(lambda before=before: self.server.get("/process") != before)  # type: ignore[misc]
            is_over.set()
            self.assertEqual([client.result() for client in clients], [{200}] * 4)

    def test_dead_server_is_told_in_the_envelope(self) -> None:
        """With a time to retry; a page outside /api/ is a line of text."""
        with reserved_port() as port, proxy_to(port, RETRY_TIME="0s") as proxy:
            for path, content_type in (("/api/skills/", "application/json"), ("/admin/", "text/plain; charset=utf-8")):
                response, body = answer_to(proxy, request(path))
                self.assertEqual((response.status, response.headers["Content-Type"]), (502, content_type))
                self.assertEqual(response.headers["Retry-After"], "5")
                if path.startswith("/api/"):
                    self.assertEqual(json.loads(body)["error"]["code"], "service_unavailable")

    def test_unread_answers_take_little_memory(self) -> None:
        """500 pipelined requests for a large file on each of four connections stay below 50 MB in every process."""
        processes = [self.proxy.process, int(self.server.get("/process"))]
        before = [resident_mb(process) for process in processes]
        with ExitStack() as opened:
            for _ in range(4):
                client = opened.enter_context(self.proxy.connect())
                client.settimeout(2)
                with suppress(TimeoutError):
                    client.sendall(request("/large") * PIPELINED)
            wait_until(lambda: self.server.get("/served-large") == "4")
            grown = [resident_mb(process) - old for process, old in zip(processes, before, strict=True)]
        self.assertLess(max(grown), UNREAD_MB, grown)


def resident_mb(process: int) -> float:
    """Return how much memory a process has."""
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(kilobytes) / 1024
