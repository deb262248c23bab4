"""The clients: one that waits for each answer, and one of many connections in a process of its own."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any

from backend.environment import BASE_DIR

from .measure import BenchmarkError, check
from .servers import ADDRESS, Server

TIMEOUT_SECONDS = 120
CSRF_TOKEN = "b" * 32


@dataclass(frozen=True)
class Request:
    """What is asked; ``kind`` is what it is counted as."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    kind: str = ""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Outcome:
    """What many connections have met with in a while.

    ``counts`` are by status, ``latencies`` those of successes by percentile, ``medians`` by the kind of request.
    """

    seconds: float
    counts: dict[str, int]
    latencies: dict[str, float]
    medians: dict[str, float]

    @property
    def throughput(self) -> float:
        """How many requests a second succeeded."""
        return sum(count for status, count in self.counts.items() if is_success(status)) / self.seconds

    @property
    def failures(self) -> dict[str, int]:
        """How many requests did not succeed, by status or exception."""
        return {status: count for status, count in self.counts.items() if not is_success(status)}


class Client:
    """A connection that is kept."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def get(self, path: str, headers: Mapping[str, str] | None = None, status: int = HTTPStatus.OK) -> Answer:
        """Return the answer; raises ``BenchmarkError`` for a status that was not expected."""
        self._connection.request("GET", path, headers=dict(headers or {}))
        response = self._connection.getresponse()
        answer = Answer(response.status, dict(response.headers), response.read())
        check(answer.status == status, f"GET {path} gives {answer.status}: {answer.body[:500]!r}")
        return answer


@contextmanager
def talking(server: Server) -> Iterator[Client]:
    """Have a client of ``server``."""
    connection = http.client.HTTPConnection(ADDRESS, server.port, timeout=TIMEOUT_SECONDS)
    try:
        yield Client(connection)
    finally:
        connection.close()


def drive(server: Server, requests: Iterable[Request], connections: int, seconds: float) -> Outcome:
    """Send ``requests`` in turn, again and again, over so many connections for a while."""
    plan = {
        "base": f"http://{ADDRESS}:{server.port}",
        "requests": [asdict(request) for request in requests],
        "connections": connections,
        "seconds": seconds,
    }
    done = subprocess.run(
        [sys.executable, "-m", "devtools.benchmarks.throughput"],
        check=False,
        cwd=BASE_DIR,
        input=json.dumps(plan),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise BenchmarkError(f"The client failed:\n{done.stderr}")
    return Outcome(**json.loads(done.stdout))


def measure_throughput(server: Server, path: str, connections: int, seconds: float) -> float:
    """Return how many GETs a second are answered; raises ``BenchmarkError`` where one is not."""
    outcome = drive(server, [Request(path)], connections, seconds)
    check(not outcome.failures, f"GET {path} gives {outcome.failures}.")
    return outcome.throughput


def signed_in(session: str) -> dict[str, str]:
    """Return the headers of someone who is signed in, and may write."""
    return {"Cookie": f"sessionid={session}; csrftoken={CSRF_TOKEN}", "X-CSRFToken": CSRF_TOKEN}


def is_success(status: str) -> bool:
    """Return whether a status is one of success."""
    return status.isdecimal() and HTTPStatus.OK <= int(status) < HTTPStatus.BAD_REQUEST
