"""The benchmarks of single requests, of processes and of searches."""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import mean
from urllib.parse import urlencode

from .bench import PASSWORD, Bench
from .client import Client, throughput
from .measure import Comparison, Unit, alternate, alternate_figures, check
from .report import say
from .servers import BARE, OURS, STOCK, children

EMPTY = "/benchmarks/empty/"
LISTING = "/api/opportunities/?limit=100"
PLAIN_LISTING = "/benchmarks/opportunities/?limit=100"
SKILLS = "/api/skills/"
MATCHES = "/api/users/me/matches/"
ROWS = 100
CONNECTIONS = 16
MEGABYTE = 1_000_000
TEXTS = ("data engineer", "react", "user research design", "python", "project manag", "terraform security")


def empty_view(bench: Bench) -> Iterator[Comparison]:
    """Compare the request path with Django's own, on a view that does nothing."""
    servers = bench.server(bench.plan.page), bench.server(bench.plan.page, STOCK)
    ours, theirs = _throughputs(bench, EMPTY, *servers)
    yield Comparison("an empty view", "the same behind Django's ASGIHandler", ours, theirs, 2.5, unit=Unit.PER_SECOND)


def list_orm(bench: Bench) -> Iterator[Comparison]:
    """Compare the listing with a well-written model viewset in the same process."""
    client = bench.client(bench.plan.page)
    listed = json.loads(client.get(LISTING).body)
    check(len(listed) == ROWS, f"The listing has {len(listed)} rows.")
    check(listed == json.loads(client.get(PLAIN_LISTING).body)["results"], "The model viewset lists something else.")
    ours, theirs = alternate(bench.plan.rounds, lambda: client.get(LISTING), lambda: client.get(PLAIN_LISTING))
    yield Comparison(f"GET {LISTING} of {bench.plan.page:,}", "ModelViewSet with select_related", ours, theirs, 1.5)


def list_bare(bench: Bench) -> Iterator[Comparison]:
    """Compare the listing with a hand-written statement and orjson, without a framework."""
    client, bare = bench.client(bench.plan.page), bench.client(bench.plan.page, BARE)
    check(json.loads(client.get(LISTING).body) == json.loads(bare.get("/").body), "The statement lists something else.")
    ours, theirs = alternate(bench.plan.rounds, lambda: client.get(LISTING), lambda: bare.get("/"))
    reference = "one SQL statement by psycopg, dumped by orjson, no framework"
    yield Comparison(f"GET {LISTING} of {bench.plan.page:,}", reference, ours, theirs, 4, is_most=True)


def skills_304(bench: Bench) -> Iterator[Comparison]:
    """Compare the catalog that the client has already with the catalog."""
    client = bench.client(bench.plan.page)
    known = {"If-None-Match": client.get(SKILLS).headers["ETag"]}
    ours, theirs = alternate(bench.plan.rounds, lambda: client.get(SKILLS, known, "304"), lambda: client.get(SKILLS))
    yield Comparison(f"GET {SKILLS} with If-None-Match: 304", "the same without: 200", ours, theirs, 5)


def search(bench: Bench) -> Iterator[Comparison]:
    """Compare searches in the largest database with the same ones in a small one."""
    clients = bench.client(bench.plan.many), bench.client(bench.plan.page)
    ours, theirs = map(mean, zip(*(_search(bench, text, *clients) for text in TEXTS), strict=True))
    subject, reference = f"search of {bench.plan.many:,} listings", f"the same of {bench.plan.page:,}"
    yield Comparison(subject, reference, ours, theirs, 4, is_most=True)


def two_processes(bench: Bench) -> Iterator[Comparison]:
    """Compare two processes with one, on an answer that Python has most of the work with."""
    servers = bench.server(bench.plan.page, OURS, 2), bench.server(bench.plan.page)
    ours, theirs = _throughputs(bench, SKILLS, *servers)
    yield Comparison(f"GET {SKILLS}, two processes", "one process", ours, theirs, 1.4, unit=Unit.PER_SECOND)


def memory(bench: Bench) -> Iterator[Comparison]:
    """Compare the memory of a process that has indexed many listings with one that has indexed few."""
    if sys.platform != "linux":
        say("  left out: only Linux tells how much memory a process has.")
        return
    many, few = (_memory_after_matches(bench, size) for size in (bench.plan.many, bench.plan.few))
    subject, reference = f"{bench.plan.many:,} listings indexed", f"{bench.plan.few:,} listings"
    yield Comparison(subject, reference, many, few, 120, is_most=True, unit=Unit.MEGABYTES)


def _throughputs(bench: Bench, path: str, *servers: tuple[int, int]) -> list[float]:
    measures = [partial(throughput, port, path, CONNECTIONS, bench.plan.seconds) for port, _ in servers]
    return alternate_figures(bench.plan.windows, *measures)


def _search(bench: Bench, text: str, many: Client, few: Client) -> list[float]:
    path = f"/api/opportunities/?{urlencode({'search': text, 'limit': 20})}"
    check(few.get(path).headers["X-Total-Count"] != "0", f"Nothing is found for {text}.")
    return alternate(bench.plan.slow_rounds, lambda: many.get(path), lambda: few.get(path))


def _memory_after_matches(bench: Bench, size: int) -> float:
    """Return the megabytes that a process shares with no other one, after some requests of matches."""
    port, gunicorn = bench.another_server(size)
    client = Client(port)
    headers = client.sign_in("volunteer1@example.org", PASSWORD)
    for _ in range(bench.plan.slow_rounds):
        client.get(MATCHES, headers)
    client.close()
    [process] = children(gunicorn)
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / MEGABYTE
