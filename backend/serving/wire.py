"""What holds before Django sees a request: how large it may be, how long it may take, and how it is refused.

Twisted and Daphne leave all of that open. See ``docs/decisions/0023-limits-on-the-wire.md``.
"""
# Most of Twisted has no types.
# mypy: disable-error-code="no-untyped-call"

import logging
import re
import time
from enum import Enum, auto
from http import HTTPStatus
from itertools import chain
from math import inf
from tempfile import SpooledTemporaryFile
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from twisted.internet import tcp
from twisted.web.http import RESPONSES, HTTPChannel
from twisted.web.http_headers import Headers

from serving.refusals import refusal, request_so_far

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 0.5
# A client that was refused may send so much more, for so long, while it reads the answer.
LINGER_SECONDS = 5
LINGER_BYTES = 16 * 2**20
# Of an answer that waits for its reader, so much must go out within RESPONSE_STALL_SECONDS.
READ_AT_LEAST = 64 * 2**10
# A body in parts may have so many, and one more for each so many bytes: a part costs more than its bytes do.
PARTS_FREE = 1000
BYTES_PER_PART = 256
BODY_IN_MEMORY = 100_000
LONGEST_NUMBER = 18

ABSOLUTE_TARGET = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE)


class Phase(Enum):
    """What a connection is at."""

    WAITING = auto()
    """No byte of a request has come."""
    HEAD = auto()
    BODY = auto()
    ANSWERING = auto()
    LEAVING = auto()
    """A request was refused; what else the client sends is thrown away."""


class WireTransport(tcp.Server):
    """A connection that counts what its client has taken."""

    sent = 0

    def writeSomeData(self, data: bytes) -> Any:  # noqa: N802 (Twisted's name, as those below)
        """Send what the client takes now."""
        taken = super().writeSomeData(data)
        if isinstance(taken, int):
            self.sent += taken
        return taken

    @property
    def unsent(self) -> int:
        """How many bytes wait for the client."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen


class WireRequest(WebRequest):  # type: ignore[misc]
    """A request whose body is measured while it comes."""

    def __init__(self, channel: "WireChannel", *args: Any) -> None:
        # The body is the application's to parse.
        super().__init__(channel, *args, parsePOSTFormSubmission=False)
        self._received = 0
        self._parts = 0

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """Make the place for the body, which becomes a file only when it is large."""
        if length is None or length > BODY_IN_MEMORY:
            self.content = SpooledTemporaryFile(BODY_IN_MEMORY)  # noqa: SIM115 (closed with the request)
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Keep a part of the body, unless that makes it too large."""
        self._received += len(data)
        self._parts += 1
        if problem := self._body_problem():
            self.channel.refuse(HTTPStatus.BAD_REQUEST, problem)
            return
        try:
            super().handleContentChunk(data)
        except OSError as error:
            logger.error("A request's body can't be kept: %s", error)  # noqa: TRY400 (there is no more to say)
            self.channel.refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def _body_problem(self) -> str:
        if self._received > settings.REQUEST_MAX_BYTES:
            return too_large()
        if self._parts > PARTS_FREE + self._received / BYTES_PER_PART:
            return "The request's body comes in too many small parts."
        return ""

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:  # noqa: N802
        """Note the status, with the phrase of those that Twisted doesn't know, such as 429."""
        super().setResponseCode(code, message or HTTPStatus(code).phrase.encode())

    def process(self) -> Any:
        """Hand the request to the application, without a header by which clients could move its URLs."""
        self.requestHeaders.removeHeader(b"Daphne-Root-Path")
        return super().process()

    def handle_exception(self, exception: BaseException) -> None:
        """Answer with a 500; an answer that has begun is cut off, so that nobody takes it for whole."""
        if self.finished or not self._response_started:
            super().handle_exception(exception)
        elif self.channel is not None:
            self.channel.transport.abortConnection()

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Answer in place of the application."""
        headers = _pairs(self.requestHeaders)
        message = f"{body}." if status < HTTPStatus.INTERNAL_SERVER_ERROR else ""
        response = refusal(request_so_far(self.method, self.uri, headers), status, message)
        pairs = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
        self.handle_reply({"type": "http.response.start", "status": status, "headers": pairs})
        self.handle_reply({"type": "http.response.body", "body": response.content})


class WireChannel(HTTPChannel):
    """A connection. Every request that it refuses is answered, and every wait of it ends."""

    factory: "WireFactory"
    transport: Any  # a WireTransport
    _path: Any  # the target; the annotation in Twisted is wrong

    def __init__(self) -> None:
        super().__init__()
        self.phase = Phase.WAITING
        self._began = 0.0
        self._deadline = inf
        self._line = b""
        self._thrown_away = 0
        self._stall: tuple[float, int] | None = None

    @property
    def is_receiving(self) -> bool:
        """Whether a part of a request has come."""
        return self.phase in {Phase.HEAD, Phase.BODY}

    def connectionMade(self) -> None:  # noqa: N802
        """Wait for a request."""
        super().connectionMade()
        self.factory.enter(self)
        self._wait(settings.REQUEST_HEAD_SECONDS)

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        """Forget the connection."""
        self.factory.leave(self)
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take what has come, or throw it away."""
        if self.phase is Phase.LEAVING:
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_BYTES:
                self.transport.abortConnection()
            return
        if self.phase is Phase.WAITING:
            self._begin()
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        """Take a line of the head."""
        if self.phase is Phase.WAITING:  # the request came together with the one before
            self._begin()
        self._line = line
        if line[:1] in {b" ", b"\t"}:
            self.refuse(HTTPStatus.BAD_REQUEST, "A header goes over more than one line.")
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        """Refuse a line that is longer than a whole head may be."""
        self._line = line
        self.refuse(HTTPStatus.BAD_REQUEST, f"The request's line and headers are larger than {self.MAX_LENGTH} bytes.")

    def headerReceived(self, line: bytes) -> bool:  # noqa: N802
        """Take a header, but no number that Python refuses to read."""
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value.strip()) > LONGEST_NUMBER:
            self.refuse(HTTPStatus.BAD_REQUEST, too_large())
            return False
        return bool(super().headerReceived(line))

    def allHeadersReceived(self) -> None:  # noqa: N802
        """Refuse the request, or let its body come."""
        problem = next(filter(None, (check() for check in self._checks())), None)
        if problem:
            self.refuse(HTTPStatus.BAD_REQUEST, problem)
            return
        self.phase = Phase.BODY
        self._deadline = self._began + settings.REQUEST_READ_SECONDS
        self.factory.move(self, to=self.factory.sending)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:  # noqa: N802
        """Have the request answered, however long that takes."""
        if self.phase is Phase.LEAVING:
            return
        self.phase = Phase.ANSWERING
        self._deadline = inf
        self.factory.move(self)
        super().allContentReceived()

    def requestDone(self, request: WireRequest) -> None:  # noqa: N802
        """Wait for the next request."""
        self._wait(settings.KEEP_ALIVE_SECONDS)
        super().requestDone(request)

    def checkPersistence(self, request: WireRequest, version: bytes) -> bool:  # noqa: N802
        """Return whether the connection is kept after the answer: not by a process that is about to stop."""
        if self.factory.is_draining:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return bool(super().checkPersistence(request, version))

    def refuse(self, status: int, message: str = "") -> None:
        """Answer in place of the application, and close the connection once the client could read that."""
        if self.phase is Phase.LEAVING:
            return
        self.phase = Phase.LEAVING
        self._deadline = time.monotonic() + LINGER_SECONDS
        self.factory.move(self)
        self.clearLineBuffer()
        logger.info("Refused with %s: %s", status, message)
        self._send(refusal(self._request_so_far(), status, message))
        self._networkProducer.unregisterProducer()
        self.transport.resumeProducing()
        self.transport.loseWriteConnection()

    def drop(self) -> None:
        """Close the connection without an answer."""
        self.factory.move(self)
        self._deadline = inf
        if self.transport.unsent:
            self.transport.abortConnection()
        else:
            self.loseConnection()

    def check_time(self, now: float) -> None:
        """End what has taken too long."""
        if self._is_stalled(now):
            self.transport.abortConnection()
        elif now > self._deadline:
            self._expire()

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        """Answer what Twisted refuses by itself."""
        self.refuse(HTTPStatus.BAD_REQUEST)

    def _wait(self, seconds: float) -> None:
        self.phase = Phase.WAITING
        self._deadline = time.monotonic() + seconds
        self.factory.move(self, to=self.factory.waiting)

    def _begin(self) -> None:
        self.phase = Phase.HEAD
        self._began = time.monotonic()
        self._deadline = self._began + settings.REQUEST_HEAD_SECONDS

    def _expire(self) -> None:
        if self.is_receiving:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "The request took too long to arrive.")
        elif self.phase is Phase.LEAVING:
            self.transport.abortConnection()
        else:
            self.drop()

    def _is_stalled(self, now: float) -> bool:
        """Whether the client has taken too little of what waits for it."""
        if not self.transport.unsent:
            self._stall = None
            return False
        began, sent = self._stall or (now, self.transport.sent)
        is_over = now - began >= settings.RESPONSE_STALL_SECONDS
        taken = self.transport.sent - sent
        self._stall = (now, self.transport.sent) if is_over else (began, sent)
        return is_over and taken < READ_AT_LEAST

    def _checks(self) -> tuple[Any, ...]:
        return (self._method_problem, self._target_problem, self._header_problem, self._length_problem)

    def _method_problem(self) -> str:
        """Refuse ``head``: Django takes it for HEAD and Twisted does not, so the next answer would be its body."""
        return "" if self._command.isupper() else "The method is not in upper case."

    def _target_problem(self) -> str:
        """Make an absolute target relative; its host counts, whatever the header says."""
        absolute = ABSOLUTE_TARGET.fullmatch(self._path)
        if absolute:
            self._headers.setRawHeaders(b"Host", [absolute[1]])
            self._path = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        return "" if self._path.startswith(b"/") else "The target is not a path."

    def _header_problem(self) -> str:
        if len(self._headers.getRawHeaders(b"Host", [])) > 1:
            return "There is more than one Host header."
        if any(b"websocket" in value.lower() for value in self._headers.getRawHeaders(b"Upgrade", [])):
            return "There are no WebSockets here."
        encodings = self._headers.getRawHeaders(b"Transfer-Encoding", [])
        if encodings and (self._version == b"HTTP/1.0" or [value.lower() for value in encodings] != [b"chunked"]):
            return "The only Transfer-Encoding is chunked, in HTTP/1.1."
        return ""

    def _length_problem(self) -> str:
        return too_large() if self.length is not None and self.length > settings.REQUEST_MAX_BYTES else ""

    @property
    def _headers(self) -> Headers:
        headers: Headers = self.requests[-1].requestHeaders
        return headers

    def _request_so_far(self) -> HttpRequest:
        """Return the request as far as it has come; the first line may be nothing of the kind."""
        if hasattr(self, "_path"):
            return request_so_far(self._command, self._path, _pairs(self._headers))
        method, _, rest = self._line.partition(b" ")
        target = rest.partition(b" ")[0]
        absolute = ABSOLUTE_TARGET.fullmatch(target)
        return request_so_far(method, absolute[2] if absolute else target, [])

    def _send(self, response: HttpResponse) -> None:
        headers = Headers()
        for name, value in response.items():
            headers.addRawHeader(name.encode("ascii"), value.encode("latin-1"))
        headers.setRawHeaders(b"Connection", [b"close"])
        status = response.status_code
        self.writeHeaders(b"HTTP/1.1", b"%d" % status, RESPONSES[status], headers)
        if getattr(self, "_command", b"") != b"HEAD":
            self.transport.write(response.content)


class WireFactory(HTTPFactory):  # type: ignore[misc]
    """Makes the connections, and looks after them."""

    protocol = WireChannel

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.timeOut = None  # Twisted's own limit starts anew with every byte
        self.channels: set[WireChannel] = set()
        self.waiting: dict[WireChannel, None] = {}
        """Those without a whole head of a request, the one that has waited longest first."""
        self.sending: dict[WireChannel, None] = {}
        """Those whose request's body is coming, the one that began it first in front."""
        self.is_draining = False
        self._sweep()

    def buildProtocol(self, addr: Any) -> WireChannel:  # noqa: N802
        """Return a connection's protocol."""
        channel: WireChannel = super().buildProtocol(addr)
        channel.requestFactory = WireRequest  # type: ignore[assignment]
        return channel

    def enter(self, channel: WireChannel) -> None:
        """Take a connection; where there are too many, the one goes that has waited or been sending longest."""
        if len(self.channels) >= settings.CONNECTIONS_MAX:
            next(chain(self.waiting, self.sending), channel).drop()
        self.channels.add(channel)

    def leave(self, channel: WireChannel) -> None:
        """Forget a connection."""
        self.channels.discard(channel)
        self.move(channel)

    def move(self, channel: WireChannel, to: dict[WireChannel, None] | None = None) -> None:
        """Put a connection at the end of those it may be closed with, or among those that are let be."""
        self.waiting.pop(channel, None)
        self.sending.pop(channel, None)
        if to is not None:
            to[channel] = None

    def log(self, request: WireRequest) -> None:
        """Write no second access log."""

    def _sweep(self) -> None:
        self.reactor.callLater(SWEEP_SECONDS, self._sweep)
        now = time.monotonic()
        for channel in list(self.channels):
            channel.check_time(now)


def too_large() -> str:
    """Return what is said of a body that is too large."""
    return f"The request's body is larger than {settings.REQUEST_MAX_BYTES:,} bytes."


def _pairs(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
