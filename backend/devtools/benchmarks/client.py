"""The clients: one that waits for each answer, and one of many connections."""

import asyncio
import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.cookies import SimpleCookie
from itertools import cycle
from typing import Any, Self

import aiohttp

from .measure import check
from .servers import ADDRESS, Server

TIMEOUT_SECONDS = 60
CSRF_TOKEN = "b" * 32
PASSWORD = "benchmarks"  # nosec B105: of the demo
JSON = {"Content-Type": "application/json"}
RETRY_LATER = "503 with Retry-After"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    headers: Message
    body: bytes

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


class Client(closing[http.client.HTTPConnection]):
    """A connection that is kept while the client is used as a context."""

    def __init__(self, server: Server) -> None:
        super().__init__(http.client.HTTPConnection(ADDRESS, server.port, timeout=TIMEOUT_SECONDS))

    def __enter__(self) -> Self:
        return self

    def get(self, path: str, headers: dict[str, str] | None = None, status: int = HTTPStatus.OK) -> Answer:
        """Return the answer; raises ``BenchmarkError`` for a status that was not expected."""
        return self._send("GET", path, None, headers or {}, status)

    def sign_in(self, email: str) -> dict[str, str]:
        """Return the headers of someone who is signed in, and may write."""
        person = json.dumps({"email": email, "password": PASSWORD})
        answer = self._send("POST", "/api/auth/login/", person, JSON | signed_in(""), HTTPStatus.OK)
        cookies = SimpleCookie("; ".join(answer.headers.get_all("Set-Cookie", [])))
        return signed_in(cookies["sessionid"].value)

    def _send(self, method: str, path: str, body: str | None, headers: dict[str, str], status: int) -> Answer:
        self.thing.request(method, path, body, headers)
        response = self.thing.getresponse()
        answer = Answer(response.headers, response.read())
        check(response.status == status, f"{method} {path} gives {response.status}: {answer.body[:500]!r}")
        return answer


@dataclass(frozen=True)
class Request:
    """What is asked; ``kind`` is what it is counted as."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    kind: str = ""


@dataclass
class Outcome:
    """What many connections have met with: answers by status, and the times of the successful ones by kind."""

    seconds: float = 0
    counts: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=dict)

    @property
    def throughput(self) -> float:
        """How many requests a second succeeded."""
        return sum(map(len, self.times.values())) / self.seconds

    @property
    def failures(self) -> dict[str, int]:
        """How many requests failed, by status or exception; refusals in good order are no failures."""
        return {
            status: count for status, count in self.counts.items() if status[0] not in "23" and status != RETRY_LATER
        }


async def drive(base: str, requests: Sequence[Request], connections: int, seconds: float) -> Outcome:
    """Send ``requests`` in turn, again and again, over so many connections for a while."""
    outcome, turn, began = Outcome(), cycle(requests), time.monotonic()
    async with aiohttp.ClientSession(
        base,
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS),
        auto_decompress=False,
    ) as session:
        await asyncio.gather(*(_keep_sending(session, turn, began + seconds, outcome) for _ in range(connections)))
    outcome.seconds = time.monotonic() - began
    return outcome


def load(server: Server, requests: Sequence[Request], connections: int, seconds: float) -> Outcome:
    """Drive a server, and wait until that is over."""
    return asyncio.run(drive(f"http://{ADDRESS}:{server.port}", requests, connections, seconds))


def throughput(server: Server, path: str, connections: int, seconds: float) -> float:
    """Return how many GETs a second are answered; raises ``BenchmarkError`` where one is not."""
    outcome = load(server, [Request(path)], connections, seconds)
    check(set(outcome.counts) == {"200"}, f"GET {path} gives {outcome.counts}.")
    return outcome.throughput


def signed_in(session: str) -> dict[str, str]:
    """Return the headers of someone who is signed in, and may write."""
    return {"Cookie": f"sessionid={session}; csrftoken={CSRF_TOKEN}", "X-CSRFToken": CSRF_TOKEN}


async def _keep_sending(
    session: aiohttp.ClientSession, requests: Iterator[Request], end: float, outcome: Outcome
) -> None:
    while (began := time.monotonic()) < end:
        request = next(requests)
        try:
            status = await _send(session, request)
        except (aiohttp.ClientError, TimeoutError) as error:
            status = type(error).__name__
        outcome.counts[status] += 1
        if status[0] in "23":
            outcome.times.setdefault(request.kind, []).append(time.monotonic() - began)


async def _send(session: aiohttp.ClientSession, request: Request) -> str:
    async with session.request(request.method, request.path, headers=request.headers, data=request.body) as response:
        await response.read()
        is_told_to_retry = response.status == HTTPStatus.SERVICE_UNAVAILABLE and "Retry-After" in response.headers
        return RETRY_LATER if is_told_to_retry else str(response.status)
