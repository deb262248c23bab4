"""The client of the benchmarks and of the trials: one request after the other, or over many connections."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, NamedTuple

import aiohttp

from .measure import check
from .servers import ADDRESS

TIMEOUT_SECONDS = 60
CSRF_TOKEN = "b" * 32
CUT_OFF = "cut off"
RETRY_LATER = "503 with Retry-After"


class Request(NamedTuple):
    """What is asked, as JSON; ``headers`` say by whom, and ``kind`` is what it is counted as."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    body: Any = None
    kind: str = ""


class Reply(NamedTuple):
    """What became of a request that was sent at a time of the loop: the status of the answer, or ``cut off``."""

    sent_at: float
    status: str = CUT_OFF
    headers: Mapping[str, str] = {}
    body: bytes = b""
    session: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the server has done what was asked."""
        return self.status[0] in "23"


@dataclass
class Outcome:
    """What many connections have met with: replies by status, and the times of the successful ones by kind."""

    seconds: float = 0
    counts: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=dict)

    @property
    def throughput(self) -> float:
        """How many requests a second succeeded."""
        return sum(map(len, self.times.values())) / self.seconds

    def note(self, kind: str, reply: Reply, seconds: float) -> None:
        """Count a reply; one that asks to come back later apart from other refusals."""
        is_to_retry = reply.status == "503" and "Retry-After" in reply.headers
        self.counts[RETRY_LATER if is_to_retry else reply.status] += 1
        if reply.is_success:
            self.times.setdefault(kind, []).append(seconds)


class Client:
    """Sends one request after the other, over a connection that is kept."""

    def __init__(self, port: int) -> None:
        self._runner = asyncio.Runner()
        self._session = self._runner.run(open_session(port))

    def get(self, path: str, headers: Mapping[str, str] | None = None, status: str = "200") -> Reply:
        """Return the answer; raises ``BenchmarkError`` for a status that was not expected."""
        return self._send(Request(path, headers=headers), status)

    def sign_in(self, email: str, password: str) -> dict[str, str]:
        """Return the headers of someone who is signed in, and may write."""
        body = {"email": email, "password": password}
        return signed_in(self._send(Request("/api/auth/login/", "POST", signed_in(""), body), "200").session)

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self._session.close())
        self._runner.close()

    def _send(self, request: Request, status: str) -> Reply:
        reply = self._runner.run(send(self._session, request))
        check(reply.status == status, f"{request.method} {request.path} gives {reply.status}: {reply.body[:500]!r}")
        return reply


def signed_in(session: str) -> dict[str, str]:
    """Return the headers of someone who is signed in, and may write."""
    return {"Cookie": f"sessionid={session}; csrftoken={CSRF_TOKEN}", "X-CSRFToken": CSRF_TOKEN}


async def send(session: aiohttp.ClientSession, request: Request) -> Reply:
    """Send a request once and return what became of it."""
    sent_at = asyncio.get_running_loop().time()
    try:
        async with session.request(
            request.method, request.path, headers=request.headers, json=request.body
        ) as response:
            cookie = response.cookies.get("sessionid")
            body = await response.read()
            return Reply(sent_at, str(response.status), response.headers, body, cookie.value if cookie else "")
    except (aiohttp.ClientError, TimeoutError):
        return Reply(sent_at)


async def open_session(port: int) -> aiohttp.ClientSession:
    """Return what takes as many connections to a server as are needed."""
    return aiohttp.ClientSession(
        f"http://{ADDRESS}:{port}",
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS),
    )


def load(port: int, requests: Sequence[Request], connections: int, seconds: float) -> Outcome:
    """Send ``requests`` in turn, again and again, over so many connections for a while."""

    async def drive() -> Outcome:
        turn, outcome, began = cycle(requests), Outcome(), time.monotonic()
        async with await open_session(port) as session:
            end = began + seconds
            await asyncio.gather(*(keep_sending(session, turn, end, outcome) for _ in range(connections)))
        outcome.seconds = time.monotonic() - began
        return outcome

    return asyncio.run(drive())


def throughput(port: int, path: str, connections: int, seconds: float) -> float:
    """Return how many GETs a second are answered; raises ``BenchmarkError`` where one is not."""
    outcome = load(port, [Request(path)], connections, seconds)
    check(set(outcome.counts) == {"200"}, f"GET {path} gives {outcome.counts}.")
    return outcome.throughput


async def keep_sending(
    session: aiohttp.ClientSession, requests: Iterator[Request], end: float, outcome: Outcome
) -> None:
    """Send one request after the other until the time is over, and note the replies."""
    while (began := time.monotonic()) < end:
        request = next(requests)
        outcome.note(request.kind, await send(session, request), time.monotonic() - began)
