"""Thousands of connections are opened and never used."""

import http.client
import socket
import time
from contextlib import ExitStack
from statistics import median

from devtools.benchmarks.servers import ADDRESS
from devtools.reliability.many import allow_files
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, Scenario, lost
from devtools.reliability.servers import PROCESSES, Server, serving

REQUESTS = 50


def run(scale: Scale) -> Outcome:
    """Open them, and compare how long others are waited for before and meanwhile."""
    count = scale.pick(300, 2000)
    allow_files(count)
    # None is closed for waiting while they are opened and others are served.
    with serving(REQUEST_HEAD_SECONDS="120", REQUEST_READ_SECONDS="120") as server, ExitStack() as opened:
        before = _median_ms(server)
        connections = [opened.enter_context(socket.create_connection((ADDRESS, server.port), 10)) for _ in range(count)]
        meanwhile = _median_ms(server)
        closed = count - sum(map(is_open, connections))
    problems = (f"{closed:,} of {count:,} connections were closed",) if closed else ()
    tries = f"{count:,} connections on {PROCESSES} processes; an answer took {meanwhile:.1f} ms, before {before:.1f}"
    return Outcome(tries, lost(problems), "-", problems)


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has neither said anything nor closed the connection."""
    connection.setblocking(False)
    try:
        connection.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _median_ms(server: Server) -> float:
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection = http.client.HTTPConnection(ADDRESS, server.port, timeout=30)
        connection.request("GET", "/api/communities-of-practice/")
        if connection.getresponse().status != http.client.OK:
            raise ReliabilityError("A request of others failed.")
        connection.close()
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


SCENARIO = Scenario(
    "idle-connections", "connections that are opened and never used", "they stay, and others are served", run
)
