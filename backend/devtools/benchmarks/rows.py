"""The benchmarks of single requests, of processes and of searches."""

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from .bench import Bench
from .client import Request, send_all
from .measure import Row, alternate, check, compare
from .servers import BARE, OURS, STOCK, children

EMPTY = "/benchmarks/empty/"
LISTING = "/api/opportunities/?limit=100"
PLAIN_LISTING = "/benchmarks/opportunities/?limit=100"
SKILLS = "/api/skills/"
MATCHES = "/api/users/me/matches/"
ROWS = 100
CONNECTIONS = 16
MEGABYTE = 1_000_000
MEMORY_LIMIT = 120
TEXTS = ("data engineer", "react", "user research design", "python", "project manag", "terraform security")


def empty_view(bench: Bench) -> Iterator[Row]:
    """Compare the request path with Django's own, on a view that does nothing."""
    figures = _bursts(bench, EMPTY, bench.server(bench.plan.page), bench.server(bench.plan.page, STOCK))
    subject = f"{bench.plan.burst} requests for an empty view"
    yield compare(subject, "the same behind Django's ASGIHandler", figures, 2.5)


def list_orm(bench: Bench) -> Iterator[Row]:
    """Compare the listing with a well-written model viewset in the same process."""
    client = bench.client(bench.plan.page)
    ours, theirs = partial(client.get, LISTING), partial(client.get, PLAIN_LISTING)
    listed = json.loads(ours().body)
    check(len(listed) == ROWS, f"The listing has {len(listed)} rows.")
    check(listed == json.loads(theirs().body)["results"], "The model viewset lists something else.")
    figures = alternate(bench.plan.rounds, (ours, theirs))
    yield compare(f"GET {LISTING} of {bench.plan.page:,}", "ModelViewSet with select_related", figures, 1.5)


def list_bare(bench: Bench) -> Iterator[Row]:
    """Compare the listing with a hand-written statement and orjson, without a framework."""
    ours = partial(bench.client(bench.plan.page).get, LISTING)
    theirs = partial(bench.client(bench.plan.page, BARE).get, "/")
    check(json.loads(ours().body) == json.loads(theirs().body), "The statement lists something else.")
    figures = alternate(bench.plan.rounds, (ours, theirs))
    reference = "one SQL statement by psycopg, dumped by orjson, no framework"
    yield compare(f"GET {LISTING} of {bench.plan.page:,}", reference, figures, 4, is_most=True)


def skills_304(bench: Bench) -> Iterator[Row]:
    """Compare the catalog that the client has already with the catalog."""
    client = bench.client(bench.plan.page)
    known = {"If-None-Match": client.get(SKILLS).headers["ETag"]}
    figures = alternate(bench.plan.rounds, (partial(client.get, SKILLS, known, "304"), partial(client.get, SKILLS)))
    yield compare(f"GET {SKILLS} with If-None-Match: 304", "the same without: 200", figures, 5)


def search(bench: Bench) -> Iterator[Row]:
    """Compare searches in the largest database with the same ones in a small one."""
    many, few = bench.client(bench.plan.many), bench.client(bench.plan.page)
    paths = [f"/api/opportunities/?{urlencode({'search': text, 'limit': 20})}" for text in TEXTS]
    check(all(few.get(path).headers["X-Total-Count"] != "0" for path in paths), "A search finds nothing.")
    figures = alternate(bench.plan.rounds, *((partial(many.get, path), partial(few.get, path)) for path in paths))
    subject, reference = f"search of {bench.plan.many:,} listings", f"the same of {bench.plan.page:,}"
    yield compare(subject, reference, figures, 4, is_most=True)


def two_processes(bench: Bench) -> Iterator[Row]:
    """Compare two processes with one, on an answer that Python has most of the work with."""
    figures = _bursts(bench, SKILLS, bench.server(bench.plan.page, OURS, 2), bench.server(bench.plan.page))
    yield compare(f"{bench.plan.burst} x GET {SKILLS}, two processes", "one process", figures, 1.4)


def memory(bench: Bench) -> Iterator[Row]:
    """Compare the memory of a process that has indexed many listings with one that has indexed few."""
    figures = _memory(bench, bench.plan.many), _memory(bench, bench.plan.few) + MEMORY_LIMIT
    subject, limit = f"{bench.plan.many:,} listings indexed", f"{MEMORY_LIMIT} MB more than with {bench.plan.few:,}"
    yield compare(subject, limit, figures, 1, is_most=True, unit="MB")


def _bursts(bench: Bench, path: str, *servers: tuple[int, int]) -> tuple[float, float]:
    """Return how long each of two servers takes for many requests over several connections."""

    def ask(port: int) -> None:
        replies = asyncio.run(send_all(port, [Request(path)] * bench.plan.burst, CONNECTIONS))
        check({reply.status for reply in replies} == {"200"}, f"A GET of {path} fails.")

    (ours, _), (theirs, _) = servers
    return alternate(bench.plan.rounds, (partial(ask, ours), partial(ask, theirs)))


def _memory(bench: Bench, size: int) -> float:
    """Return the megabytes that a process shares with no other one, after some requests for matches."""
    client, (_, gunicorn) = bench.client(size), bench.server(size)
    headers = client.sign_in("volunteer1@example.org")
    for _ in range(bench.plan.rounds):
        client.get(MATCHES, headers)
    [process] = children(gunicorn)
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / MEGABYTE
