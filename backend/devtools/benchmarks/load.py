"""A mix of requests at rising concurrency."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, takewhile
from random import Random
from statistics import quantiles

from .bench import Bench
from .client import Reply, Request, send_all
from .measure import Row, check, show
from .servers import OURS

PROCESSES = 2
WARMING_CONNECTIONS = 16
LARGEST_LEVEL = 5
RETRY_LATER = "503 with Retry-After"
FILTERS = ("", "&work_environment=remote", "&max_hours=5", "&community_of_practice=ui_ux&max_hours=8", "&offset=40")


def load(bench: Bench) -> Iterator[Row]:
    """Have more and more clients send the mix for a while, after all of it was answered once."""
    requests, (port, _) = mix(bench), bench.server(bench.plan.many, OURS, PROCESSES)
    warming = asyncio.run(send_all(port, requests, WARMING_CONNECTIONS))
    check(all(reply.is_success for reply in warming), "Some request of the mix fails.")
    for clients in bench.plan.levels:
        end = time.monotonic() + bench.plan.seconds
        in_time = takewhile(lambda _, end=end: time.monotonic() < end, cycle(requests))
        yield level(clients, asyncio.run(send_all(port, in_time, clients)))


def mix(bench: Bench) -> list[Request]:
    """Return, in an order that is always the same, forty requests for each of some volunteers."""
    client, requests = bench.client(bench.plan.many), list[Request]()
    listings = json.loads(client.get(f"/api/opportunities/?limit={bench.plan.people}").body)
    for number, listing in enumerate(listings, 1):
        path = f"/api/opportunities/{listing['id']}/"
        levels = {skill: level % LARGEST_LEVEL + 1 for skill, level in listing["skills_required_matrix"].items()}
        volunteer, manager = client.sign_in(f"volunteer{number}@example.org"), client.sign_in(listing["created_by"])
        requests += [Request(f"/api/opportunities/?limit={20 + n}{FILTERS[n % len(FILTERS)]}") for n in range(32)]
        requests += [Request("/api/users/me/matches/", headers=volunteer)] * 4
        requests += [Request(path)] * 2
        requests += [Request("/api/users/me/", "PATCH", volunteer, {"max_available_hours": 7})]
        requests += [Request(path, "PUT", manager, listing | {"skills_required_matrix": levels})]
    Random(1).shuffle(requests)  # nosec B311
    return requests


def level(clients: int, replies: list[Reply]) -> Row:
    """Return how so many clients fared; refusals that say when to come back are no failures."""
    times = [reply.seconds for reply in replies if reply.is_success]
    check(len(times) > 1, f"{clients} clients get no answers.")
    seconds = max(reply.sent_at + reply.seconds for reply in replies) - min(reply.sent_at for reply in replies)
    shares = quantiles(times, n=100, method="inclusive")
    failures = Counter(
        RETRY_LATER if reply.status == "503" and "Retry-After" in reply.headers else reply.status
        for reply in replies
        if not reply.is_success
    )
    refused = failures.pop(RETRY_LATER, 0)
    return {
        "Clients": str(clients),
        "Answers": f"{len(times) / seconds:.0f} /s",
        **{f"p{share}": show(shares[share - 1]) for share in (50, 95, 99)},
        RETRY_LATER: str(refused),
        "Other failures": ", ".join(f"**{count} x {status}**" for status, count in failures.items()) or "none",
    }
