"""Clients that send a byte a second, and never come to an end."""

import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from devtools.reliability.scenario import Outcome, Scale, lost, scenario
from devtools.reliability.servers import serving
from serving.tests.proxy import proxy_to

HEAD = b"POST /api/auth/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
AT_HEAD = HEAD + b"X-More: "
AT_BODY = HEAD + b"Content-Length: 1000\r\n\r\n{"
HEAD_SECONDS = 4
BODY_SECONDS = 8
PATIENCE_SECONDS = 2 * BODY_SECONDS
OTHERS = "/api/communities-of-practice/"  # takes a thread and a query, which the health check does not


@scenario("slow-client", "clients that send a byte a second")
def dribble(scale: Scale) -> Outcome:
    """They are cut off, at the head and at the body of a request, and others are served."""
    count = scale.pick(20, 200)
    limits = {"HEADER_TIMEOUT": f"{HEAD_SECONDS}s", "BODY_TIMEOUT": f"{BODY_SECONDS}s"}
    with (
        serving(REQUEST_BODY_SECONDS=str(BODY_SECONDS // 2)) as server,
        proxy_to(server.port, **limits) as proxy,
        ExitStack() as opened,
    ):
        clients = {opened.enter_context(proxy.connect()): AT_BODY if number % 2 else AT_HEAD for number in range(count)}
        for client, start in clients.items():
            client.sendall(start)
            client.setblocking(False)
        began, ended, are_others_served = time.monotonic(), dict[ssl.SSLSocket, bytes](), True
        while len(ended) < count and time.monotonic() < began + PATIENCE_SECONDS:
            ended |= {
                client: answer for client in clients if client not in ended and (answer := go_on(client)) is not None
            }
            are_others_served = are_others_served and server.answers(OTHERS)
            time.sleep(1)
        seconds = time.monotonic() - began
    problems = [*problems_of(clients, ended), *([] if are_others_served else ["others were not served meanwhile"])]
    tries = f"{count} clients, limits {HEAD_SECONDS} and {BODY_SECONDS} s: all cut off after {seconds:.0f} s"
    return Outcome(tries, lost(problems), "-", tuple(problems))


def go_on(client: ssl.SSLSocket) -> bytes | None:
    """Send one more byte; return the answer, empty where there is none, once the proxy has ended the connection."""
    try:
        return client.recv(4096)
    except ssl.SSLWantReadError:
        with suppress(OSError):
            client.send(b"x")
        return None
    except OSError:
        return b""


def problems_of(clients: dict[ssl.SSLSocket, bytes], ended: dict[ssl.SSLSocket, bytes]) -> Iterator[str]:
    """Find the clients that are still there, and those at the body that were told that all is well."""
    if len(ended) < len(clients):
        yield f"{len(clients) - len(ended)} of {len(clients)} are still there after {PATIENCE_SECONDS} s"
    if wrong := sum(clients[client] is AT_BODY and b"HTTP/1.1 50" not in answer for client, answer in ended.items()):
        yield f"{wrong} of {len(clients)} were not told that their request failed"
