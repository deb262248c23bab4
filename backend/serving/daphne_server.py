"""Daphne's server, where one request's failure must not reach another; imported after the fork, as it opens files."""
# Daphne has no types.
# mypy: allow-subclassing-any

import time
from typing import Any

from daphne import http_protocol, server
from django.conf import settings
from twisted.internet import reactor, task, tcp
from twisted.logger import STDLibLogObserver, globalLogPublisher

__all__ = ["Server", "reactor", "task", "tcp"]

# Daphne discards what Twisted logs.
observer: Any = STDLibLogObserver("twisted")
globalLogPublisher.addObserver(observer)
# Twisted would accept up to a hundred connections at once: one process would take a whole burst, its siblings nothing.
listening_port: Any = tcp.Port
listening_port.numberAccepts = property(lambda _: 1, lambda _, __: None)


class Request(http_protocol.WebRequest):
    """A request whose body and failures stay its own."""

    def __init__(self, *args: Any) -> None:
        # Twisted would parse forms as well, and end the connection without an answer where it can't.
        super().__init__(*args, parsePOSTFormSubmission=False)
        self._began = time.monotonic()

    def process(self) -> None:
        """Ignore the headers by which a client would open a WebSocket, of which there are none, or move the URLs."""
        for name in ("Upgrade", "Daphne-Root-Path"):
            self.requestHeaders.removeHeader(name)
        super().process()

    def handle_exception(self, exception: BaseException) -> None:
        """Close the connection after an answer that was broken off; Daphne would fail, and never check again."""
        if self._response_started:
            self._abort()
        else:
            super().handle_exception(exception)

    def check_timeouts(self) -> None:
        """Close the connection of a request that arrives too slowly; Daphne calls this every two seconds."""
        is_arriving = not hasattr(self, "request_start")
        if is_arriving and time.monotonic() - self._began > settings.REQUEST_BODY_SECONDS:
            self._abort()

    def _abort(self) -> None:
        if transport := transport_of(self):
            transport.abortConnection()


http_protocol.WebRequest = Request


class Server(server.Server):
    """Daphne's server, which can be asked what is under way."""

    connections: dict[Any, dict[str, Any]]

    def busy_transports(self) -> set[Any]:
        """Return the sockets on which a request is arriving or being answered."""
        under_way = [request for request, details in self.connections.items() if "disconnected" not in details]
        return {transport_of(request) for request in under_way}

    def kill_all_applications(self) -> Any:
        """Cancel what is still being answered; Daphne would fail at a request that no application has taken."""
        self.connections = {
            request: details for request, details in self.connections.items() if "application_instance" in details
        }
        return super().kill_all_applications()


def transport_of(request: Any) -> Any:
    """Return the socket of a request, or ``None`` once it is answered or its connection is lost."""
    channel = getattr(request, "channel", None)  # Twisted deletes it
    return channel.transport if channel else None
