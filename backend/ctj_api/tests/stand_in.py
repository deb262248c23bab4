"""Servers in the place of others, which answer as a test says, or fail in every way."""

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self

type Answer = Callable[["Handler"], None]


class StandIn(ThreadingHTTPServer):
    """A server at an address that no test before had; ``with`` starts and stops it."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[str] = []
        self.stopped = Event()

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that ended the connection."""

    def answer_to(self, request: "Handler") -> Answer:
        """Return what to answer."""
        raise NotImplementedError


class Handler(BaseHTTPRequestHandler):
    """Reads a request, and has the server answer it."""

    server: StandIn

    def do_GET(self) -> None:
        """Answer a request."""
        self.server.requests.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.answer_to(self)(self)

    def do_POST(self) -> None:
        """Answer a form."""
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def say(status: int, body: bytes = b"{}", content_type: str = "application/json", **headers: str) -> Answer:
    """Return an answer; the underscores in the names of ``headers`` mean hyphens."""

    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def hang(handler: Handler) -> None:
    """Accept the request, and answer nothing until the test ends."""
    handler.server.stopped.wait()


def reset(handler: Handler) -> None:
    """Reset the connection."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def drip(start: bytes) -> Answer:
    """Return an answer that never ends: ``start``, then one blank after the other."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(start)
        while not handler.server.stopped.wait(0.02):
            handler.wfile.write(b" ")

    return answer
