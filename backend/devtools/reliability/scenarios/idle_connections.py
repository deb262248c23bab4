"""Thousands of connections are opened and never used."""

import http.client
import socket
import time
from contextlib import ExitStack
from statistics import median

from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, lost, scenario
from devtools.reliability.servers import allow_files, serving
from serving.tests.ports import ADDRESS
from serving.tests.proxy import Proxy, proxy_to

REQUESTS = 50
LONGEST_WAIT_SECONDS = 60


@scenario("idle-connections", "connections that are opened and never used")
def open_and_wait(scale: Scale) -> Outcome:
    """They are closed, and others are served meanwhile."""
    count, limit = scale.pick((300, "10s"), (2000, "30s"))
    allow_files(count)
    with serving() as server, proxy_to(server.port, HEADER_TIMEOUT=limit) as proxy, ExitStack() as opened:
        before = _median_ms(proxy)
        connections = [opened.enter_context(socket.create_connection((ADDRESS, proxy.port), 10)) for _ in range(count)]
        meanwhile = _median_ms(proxy)
        left = sum(not is_closed(connection) for connection in connections)
    problems = (f"{left:,} of {count:,} connections are still open",) if left else ()
    tries = f"{count:,} connections, closed after {limit}; an answer took {meanwhile:.1f} ms, before {before:.1f}"
    return Outcome(tries, lost(problems), "-", problems)


def is_closed(connection: socket.socket) -> bool:
    """Wait for the proxy to close a connection, and return whether it does."""
    connection.settimeout(LONGEST_WAIT_SECONDS)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def _median_ms(proxy: Proxy) -> float:
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection = http.client.HTTPConnection("localhost", proxy.port)
        connection.sock = proxy.connect()
        connection.request("GET", "/api/communities-of-practice/")
        if connection.getresponse().status != http.client.OK:
            raise ReliabilityError("A request of others failed.")
        connection.close()
        times.append((time.perf_counter() - began) * 1000)
    return median(times)
