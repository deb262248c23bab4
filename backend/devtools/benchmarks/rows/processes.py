"""What the server's processes do and take: the request path, two of them, their memory."""

import sys
from collections.abc import Iterator

from devtools.benchmarks.bench import Bench
from devtools.benchmarks.client import Request, measure_throughput, signed_in, talking
from devtools.benchmarks.measure import Comparison, SkippedError, Target, Unit, alternate_figures
from devtools.benchmarks.plan import Size
from devtools.benchmarks.servers import OURS, STOCK, serving, serving_as_started

EMPTY = Request("/benchmarks/empty/")
CATALOG = Request("/api/skills/")
CONNECTIONS = 16
VOLUNTEER = "volunteer1@example.org"
MEGABYTE = 1_000_000


def empty_view(bench: Bench) -> Iterator[Comparison]:
    """Compare the request path with Django's own, on a view that does nothing."""
    database = bench.databases.get(bench.plan.page)
    with serving(OURS, database) as server, serving(STOCK, database) as stock:
        ours, theirs = alternate_figures(
            bench.plan.windows,
            lambda: measure_throughput(server, EMPTY.path, CONNECTIONS, bench.plan.window_seconds),
            lambda: measure_throughput(stock, EMPTY.path, CONNECTIONS, bench.plan.window_seconds),
        )
    yield Comparison(
        "an empty view of REST framework",
        "the same behind Django's ASGIHandler",
        ours,
        theirs,
        Unit.PER_SECOND,
        Target(2.5),
        f"{CONNECTIONS} connections",
    )


def two_processes(bench: Bench) -> Iterator[Comparison]:
    """Compare two processes with one, on an answer that Python has most of the work with."""
    database = bench.databases.get(bench.plan.page)
    with serving_as_started(database, 2) as two, serving_as_started(database, 1) as one:
        ours, theirs = alternate_figures(
            bench.plan.windows,
            lambda: measure_throughput(two, CATALOG.path, CONNECTIONS, bench.plan.window_seconds),
            lambda: measure_throughput(one, CATALOG.path, CONNECTIONS, bench.plan.window_seconds),
        )
    yield Comparison(
        "GET /api/skills/, two processes",
        "one process",
        ours,
        theirs,
        Unit.PER_SECOND,
        Target(1.4),
        f"{CONNECTIONS} connections; the client and PostgreSQL share the cores with them",
    )


def memory(bench: Bench) -> Iterator[Comparison]:
    """Compare the memory of a process that has indexed many listings with one that has indexed few."""
    if sys.platform != "linux":
        raise SkippedError("the memory of a process is read from /proc, which only Linux has")
    plan = bench.plan
    many, few = _memory_after_matches(bench, plan.many), _memory_after_matches(bench, plan.few)
    yield Comparison(
        f"a process with {plan.many.opportunities:,} listings indexed",
        f"a process with {plan.few.opportunities:,}",
        many / MEGABYTE,
        few / MEGABYTE,
        Unit.MEGABYTES,
        Target(120, is_most=True, unit="MB more"),
        "private memory (USS), after requests of matches",
    )


def _memory_after_matches(bench: Bench, size: Size) -> int:
    database = bench.databases.get(size)
    headers = signed_in(bench.sign_in(database, [VOLUNTEER])[VOLUNTEER])
    with serving(OURS, database) as server, talking(server) as client:
        for _ in range(bench.plan.slow_rounds):
            client.get("/api/users/me/matches/", headers)
        return server.private_memory()
