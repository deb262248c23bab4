"""Clients that send a byte a second, and never come to an end."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from devtools.benchmarks.servers import ADDRESS
from devtools.reliability.scenario import Outcome, Scale, Scenario, lost
from devtools.reliability.servers import Server, serving

HEAD = b"POST /api/auth/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = HEAD + b"Content-Length: 1000\r\n\r\n{"
LIMIT_SECONDS = 5
OTHERS = "/api/communities-of-practice/"  # takes a thread and a query, which the health check does not


@dataclass
class SlowClient:
    """A connection by which a byte is sent every second, until the server has enough of it."""

    connection: socket.socket
    rest: bytes
    began: float = field(default_factory=time.monotonic)
    answer: bytes = b""
    lasted: float | None = None

    def go_on(self) -> None:
        """Send the next byte, unless the server has answered or closed."""
        try:
            self.answer = self.connection.recv(4096)
        except BlockingIOError:
            self._send_a_byte()
            return
        except OSError:
            pass
        self.lasted = time.monotonic() - self.began

    def _send_a_byte(self) -> None:
        with suppress(OSError):
            self.connection.send(self.rest[:1])
        self.rest = self.rest[1:]


def run(scale: Scale) -> Outcome:
    """Have many of them, at the head and at the body of a request, and see when they are rid of."""
    count = scale.pick(20, 200)
    limits = {"REQUEST_HEAD_SECONDS": str(LIMIT_SECONDS), "REQUEST_READ_SECONDS": str(LIMIT_SECONDS)}
    with serving(**limits) as server, ExitStack() as opened:
        clients = [_client(server, opened, number % 2 == 0) for number in range(count)]
        are_others_served = True
        deadline = time.monotonic() + 3 * LIMIT_SECONDS
        while any(client.lasted is None for client in clients) and time.monotonic() < deadline:
            for client in clients:
                if client.lasted is None:
                    client.go_on()
            are_others_served = are_others_served and server.answers(OTHERS)
            time.sleep(1)
    lasted = [client.lasted for client in clients if client.lasted is not None]
    problems = [*problems_of(clients), *([] if are_others_served else ["others were not served meanwhile"])]
    tries = (
        f"{count} clients, limit {LIMIT_SECONDS} s: told 408 and cut off, after {max(lasted, default=0):.0f} s at most"
    )
    return Outcome(tries, lost(problems), "-", tuple(problems))


def problems_of(clients: list[SlowClient]) -> Iterator[str]:
    """Find those that were not told in time that they are too slow, or were not given the time."""
    lasted = [client.lasted for client in clients if client.lasted is not None]
    if len(lasted) < len(clients):
        yield f"{len(clients) - len(lasted)} of {len(clients)} are still there after {3 * LIMIT_SECONDS} s"
    if early := sum(seconds < LIMIT_SECONDS for seconds in lasted):
        yield f"{early} of {len(clients)} were cut off before the limit"
    if untold := sum(not client.answer.startswith(b"HTTP/1.1 408 ") for client in clients):
        yield f"{untold} of {len(clients)} were not told 408"


def _client(server: Server, opened: ExitStack, is_at_head: bool) -> SlowClient:
    connection = opened.enter_context(socket.create_connection((ADDRESS, server.port), 10))
    if not is_at_head:
        connection.sendall(BODY)
    connection.setblocking(False)
    return SlowClient(connection, HEAD + b"X-More: " + b"x" * 1000 if is_at_head else b"x" * 900)


SCENARIO = Scenario("slow-client", "clients that send a byte a second", "they are cut off, and others are served", run)
