"""Clients that send a byte a second, and never come to an end."""

import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.servers import ADDRESS
from reliability.scenario import NOTHING, Outcome, Scale, Scenario
from reliability.servers import Server, serving

HEAD = b"POST /api/auth/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = HEAD + b"Content-Length: 1000\r\n\r\n{"
LIMIT_SECONDS = 5


@dataclass
class SlowClient:
    """A connection by which a byte is sent every second, until the server has enough of it."""

    connection: socket.socket
    rest: bytes
    began: float = field(default_factory=time.monotonic)
    answer: bytes = b""
    lasted: float | None = None

    def send_a_byte(self) -> None:
        """Send the next byte, and notice whether the server has answered or closed."""
        try:
            self.connection.send(self.rest[:1] or b" ")
            self.rest = self.rest[1:]
            self.answer += self.connection.recv(4096)
            self.lasted = time.monotonic() - self.began
        except BlockingIOError:
            return
        except OSError:
            self.lasted = time.monotonic() - self.began


def run(scale: Scale) -> Outcome:
    """Have many of them, at the head and at the body of a request, and see when they are rid of."""
    count, problems = scale.pick(20, 200), []
    limits = {"REQUEST_HEAD_SECONDS": str(LIMIT_SECONDS), "REQUEST_READ_SECONDS": str(LIMIT_SECONDS)}
    with serving(**limits) as server, ExitStack() as opened:
        clients = [_client(server, opened, number % 2 == 0) for number in range(count)]
        healthy = True
        deadline = time.monotonic() + 3 * LIMIT_SECONDS
        while any(client.lasted is None for client in clients) and time.monotonic() < deadline:
            for client in clients:
                if client.lasted is None:
                    client.send_a_byte()
            healthy = healthy and server.is_healthy()
            time.sleep(1)
    lasted = [client.lasted for client in clients if client.lasted is not None]
    if len(lasted) < count:
        problems.append(f"{count - len(lasted)} of {count} are still there after {3 * LIMIT_SECONDS} s")
    if not healthy:
        problems.append("the health check failed meanwhile")
    told = sum(b" 408 " in client.answer for client in clients)
    longest = max(lasted, default=0)
    tries = f"{count} clients, limit {LIMIT_SECONDS} s: all cut off after {longest:.0f} s at most, {told} with a 408"
    return Outcome(tries, NOTHING, "-", tuple(problems))


def _client(server: Server, opened: ExitStack, is_at_head: bool) -> SlowClient:
    connection = opened.enter_context(socket.create_connection((ADDRESS, server.port), 10))
    if not is_at_head:
        connection.sendall(BODY)
    connection.setblocking(False)
    return SlowClient(connection, HEAD + b"X-More: " + b"x" * 1000 if is_at_head else b"x" * 900)


SCENARIO = Scenario("slow-client", "clients that send a byte a second", "they are cut off, and others are served", run)
