"""The benchmarks of single requests, of processes, and of a mix of requests at rising concurrency."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from statistics import quantiles
from urllib.parse import urlencode

import django

from .bench import Bench
from .client import Reply, Request, send_all
from .measure import Row, alternate, check, compare, show
from .servers import BARE, OURS, STOCK, children

LISTING = "/api/opportunities/?limit=100"
SKILLS = "/api/skills/"
MATCHES = "/api/users/me/matches/"
CONNECTIONS = 16
MEMORY_LIMIT = 120
FILTERS = ("", "&work_environment=remote", "&max_hours=5", "&community_of_practice=ui_ux&max_hours=8", "&offset=40")
TEXTS = ("data engineer", "react", "user research design", "python", "project manag", "terraform security")


def empty_view(bench: Bench) -> Iterator[Row]:
    """Compare the request path with Django's own, on a view that does nothing."""
    figures = _bursts(bench, "/benchmarks/empty/", bench.server(bench.plan.page), bench.server(bench.plan.page, STOCK))
    subject = f"{bench.plan.burst} requests for an empty view"
    yield compare(subject, "the same behind Django's ASGIHandler", figures, 2.5)


def list_orm(bench: Bench) -> Iterator[Row]:
    """Compare the listing with a well-written model viewset in the same process."""
    client = bench.client(bench.plan.page)
    ours, theirs = partial(client.get, LISTING), partial(client.get, "/benchmarks/opportunities/?limit=100")
    listed = json.loads(ours().body)
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


def id_token(bench: Bench) -> Iterator[Row]:
    """Compare the verification of an ID token, whose key is known, with the limit of half a millisecond."""
    django.setup(set_prefix=False)
    from ctj_api.auth import verify_id_token  # noqa: PLC0415 (after the setup)
    from ctj_api.tests import cognito  # noqa: PLC0415

    with cognito.using_cognito():
        verify = partial(verify_id_token, cognito.id_token(), [cognito.CLIENT])
        seconds, _ = alternate(bench.plan.rounds, (verify, verify))
    yield compare("verification of an ID token", "the limit", (seconds, 0.0005), 1, is_most=True)


def memory(bench: Bench) -> Iterator[Row]:
    """Compare the memory of a process that has indexed many listings with one that has indexed few."""
    figures = _memory(bench, bench.plan.many), _memory(bench, bench.plan.few) + MEMORY_LIMIT
    subject, limit = f"{bench.plan.many:,} listings indexed", f"{MEMORY_LIMIT} MB more than with {bench.plan.few:,}"
    yield compare(subject, limit, figures, 1, is_most=True, unit="MB")


def load(bench: Bench) -> Iterator[Row]:
    """Send the mix over more and more connections, after all of it has succeeded once."""
    requests, (port, _) = mix(bench), bench.server(bench.plan.many, OURS, 2)
    failed = [reply for reply in asyncio.run(send_all(port, requests, CONNECTIONS)) if not reply.is_success]
    check(not failed, f"Requests of the mix fail: {failed[:2]}")
    for clients in bench.plan.levels:
        yield level(clients, asyncio.run(send_all(port, requests, clients)))


def mix(bench: Bench) -> list[Request]:
    """Return, in an order that is always the same, forty requests for each of some volunteers."""
    client, requests = bench.client(bench.plan.many), list[Request]()
    listings = json.loads(client.get(f"/api/opportunities/?limit={bench.plan.people}").body)
    for number, listing in enumerate(listings, 1):
        path = f"/api/opportunities/{listing['id']}/"
        levels = {skill: level % 5 + 1 for skill, level in listing["skills_required_matrix"].items()}
        volunteer, manager = client.sign_in(f"volunteer{number}@example.org"), client.sign_in(listing["created_by"])
        requests += [Request(f"/api/opportunities/?limit={(20, 60, 100)[n % 3]}{FILTERS[n % 5]}") for n in range(32)]
        requests += [Request(MATCHES, headers=volunteer)] * 4 + [Request(path)] * 2
        requests += [Request("/api/users/me/", "PATCH", volunteer, {"max_available_hours": 7})]
        requests += [Request(path, "PUT", manager, listing | {"skills_required_matrix": levels})]
    Random(1).shuffle(requests)  # nosec B311
    return requests


def level(clients: int, replies: list[Reply]) -> Row:
    """Return how so many clients fared; the times are of the successful requests."""
    times = [reply.seconds for reply in replies if reply.is_success]
    check(len(times) > 1, f"{clients} clients get no answers.")
    seconds = max(reply.sent_at + reply.seconds for reply in replies) - min(reply.sent_at for reply in replies)
    shares = quantiles(times, n=100, method="inclusive")
    failures = Counter(
        f"{reply.status} with Retry-After" if "Retry-After" in reply.headers else reply.status
        for reply in replies
        if not reply.is_success
    )
    return {
        "Clients": str(clients),
        "Answers": f"{len(times) / seconds:.0f} /s",
        **{f"p{share}": show(shares[share - 1]) for share in (50, 95, 99)},
        "Failures": ", ".join(f"{count} x {status}" for status, count in failures.items()) or "none",
    }


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
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / 1_000_000
