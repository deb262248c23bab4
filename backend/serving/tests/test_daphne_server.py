"""What reaches the server by a socket: one request's failure ends its connection only, and leaves nothing behind."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPResponse
from typing import Any

from django.test import SimpleTestCase

from ctj_api.tests.common import wait_until

from .server import PATIENCE_SECONDS, Server, started

UNREADABLE_TYPES = ("a;b*=x''y", "a;charset*=utf-8''%00", "a;" + "b=c;" * 2500)


def request(path: str, *headers: str, method: str = "GET") -> bytes:
    """Return a request without a body."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", "")).encode("latin-1")


class ConnectionTests(SimpleTestCase):
    """One server process, by raw sockets."""

    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        """Start it, with the project behind it."""
        super().setUpClass()
        server = started(REQUEST_BODY_SECONDS="2", LOG_FORMAT="json", SECURE_SSL_REDIRECT="false")
        cls.server = cls.enterClassContext(server)
        wait_until(partial(cls.server.answers, "/process"))

    @contextmanager
    def sent(self, data: bytes) -> Iterator[socket.socket]:
        """Have a connection on which something was sent."""
        with socket.create_connection((self.server.host, self.server.port), PATIENCE_SECONDS) as client:
            client.sendall(data)
            yield client

    def answer_to(self, data: bytes) -> tuple[int, Any]:
        """Return the status of the answer to a request, and its body."""
        with self.sent(data) as client, HTTPResponse(client) as response:
            response.begin()
            return response.status, response.read()

    def check_nothing_is_left(self) -> None:
        """Wait until Daphne tracks no request but the one that asks."""
        wait_until(lambda: self.server.get("/tracked") == "1")

    def test_unreadable_content_type_returns_400_on_every_path(self) -> None:
        """The answer under /api/ is the envelope; nothing stays tracked; forms are the view's."""
        for content_type in UNREADABLE_TYPES:
            for path in ("/api/skills/", "/api/nowhere/", "/api/healthcheck/", "/admin/", "/metrics/", "/nowhere/"):
                for method, length in (("GET", ()), ("POST", ("Content-Length: 0",))):
                    with self.subTest(f"{method} {path} {content_type[:30]}"):
                        data = request(path, f"Content-Type: {content_type}", *length, method=method)
                        status, body = self.answer_to(data)
                        self.assertEqual(status, 400)
                        if path.startswith("/api/"):
                            self.assertEqual(json.loads(body)["error"]["code"], "bad_request")
        form = ("Content-Type: multipart/form-data; boundary=", "Content-Length: 3")  # Twisted would parse it before
        self.assertEqual(self.answer_to(request("/echo", *form, method="POST") + b"abc")[0], 200)
        self.check_nothing_is_left()

    def test_failure_of_the_application_is_logged_each_time(self) -> None:
        """Whoever asked is told 500, or cut off in the middle of an answer, and nothing stays tracked."""
        for path, status in (("/raise", b"500"), ("/break-off", b"200")):
            for _ in range(3):
                with self.sent(request(path)) as client:
                    answer = read_to_end(client, b"</html>")
                self.assertTrue(answer.startswith(b"HTTP/1.1 " + status), answer)
        wait_until(lambda: self.server.log.count('"type":"builtins.ValueError"') == 6)
        self.check_nothing_is_left()

    def test_headers_for_daphne_are_ignored(self) -> None:
        """A WebSocket's handshake is answered like any other request, and no header moves the URLs or is a 500."""
        websocket = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x")
        for headers in (websocket, websocket[1:2], ("Daphne-Root-Path: /echo",), ("Daphne-Root-Path: \u00e9",)):
            with self.subTest(headers):
                self.assertEqual(self.answer_to(request("/echo", *headers))[0], 200)
        self.check_nothing_is_left()

    def test_request_that_arrives_slowly_is_cut_off(self) -> None:
        """Its connection is closed after REQUEST_BODY_SECONDS, also while other requests come and go."""
        with self.sent(request("/echo", "Content-Length: 9", method="POST") + b"x") as client:
            client.settimeout(0.01)
            wait_until(lambda: self.server.get("/process") != "" and is_closed(client))
        self.check_nothing_is_left()

    def test_failure_in_twisted_or_daphne_is_logged(self) -> None:
        """The server goes on; of what Daphne logs as text, only type and place are kept."""
        for library in ("twisted", "daphne"):
            self.server.get(f"/fail-in-{library}")
        errors = ("ZeroDivisionError", "KeyError")
        wait_until(lambda: all(f'"type":"builtins.{error}"' in self.server.log for error in errors))
        self.assertNotIn("OF SOMEBODY", self.server.log)
        self.assertTrue(self.server.answers("/process"))


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed the connection."""
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def read_to_end(client: socket.socket, end: bytes | None = None) -> bytes:
    """Return what comes until the server closes the connection, or until ``end``."""
    received = b""
    with suppress(ConnectionError):
        while part := client.recv(65536):
            received += part
            if end is not None and end in received:
                break
    return received
