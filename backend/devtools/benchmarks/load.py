"""A mix of requests at rising concurrency."""

import json
from functools import cache
from itertools import cycle, islice
from random import Random
from statistics import median
from typing import Any

from .bench import PASSWORD, Bench
from .client import RETRY_LATER, Outcome, Request, load
from .measure import SHARES, Unit, percentiles
from .servers import OURS

PROCESSES = 2
WARMING_CONNECTIONS = 8
SECONDS_FACTOR = 3
LARGEST_LEVEL = 5
PEOPLE = 50
# How many of each kind are among a thousand requests, which are sent in turn.
LISTINGS, MATCHES, DETAILS, ANSWERS, EDITS = 800, 100, 50, 25, 25
KINDS = ("detail", "listing", "matches", "write")
FILTERS = (
    "",
    "&work_environment=remote",
    "&work_environment=hybrid&work_environment=in_person",
    "&min_experience_required=junior",
    "&min_experience_required=mid_level&min_experience_required=senior",
    "&max_hours=5",
    "&community_of_practice=engineering",
    "&community_of_practice=ui_ux&max_hours=8",
    "&ordering=min_hours_required",
    "&offset=40",
)


def run(bench: Bench) -> list[list[str]]:
    """Return a table of how the server fares with the mix, level by level."""
    requests, seconds = mix(bench), SECONDS_FACTOR * bench.plan.seconds
    port, _ = bench.server(bench.plan.many, OURS, PROCESSES)
    load(port, requests, PROCESSES * WARMING_CONNECTIONS, seconds)
    shares = [f"p{share}" for share in SHARES]
    head = ["Clients", "Answers", *shares, *(f"p50 of {kind}" for kind in KINDS), RETRY_LATER, "Other failures"]
    return [head, *(cells(clients, load(port, requests, clients, seconds)) for clients in bench.plan.levels)]


def cells(clients: int, outcome: Outcome) -> list[str]:
    """Return the row of a level; refusals in good order are no failures."""
    times = percentiles([time for kind in outcome.times.values() for time in kind])
    times += [median(outcome.times.get(kind, [0])) for kind in KINDS]
    failures = {status: count for status, count in outcome.counts.items() if status[0] not in "23"}
    refused = str(failures.pop(RETRY_LATER, 0))
    told = ", ".join(f"**{count} x {status}**" for status, count in failures.items()) or "none"
    return [str(clients), Unit.PER_SECOND.show(outcome.throughput), *map(Unit.SECONDS.show, times), refused, told]


def mix(bench: Bench) -> list[Request]:
    """Return the requests in a mixed order, which is always the same."""
    client = bench.client(bench.plan.many)
    sign_in = cache(lambda email: client.sign_in(email, PASSWORD))
    people = [sign_in(f"volunteer{number}@example.org") for number in range(1, PEOPLE + 1)]
    listings = json.loads(client.get(f"/api/opportunities/?limit={PEOPLE}").body)
    requests = [
        *(_listing(number) for number in range(LISTINGS)),
        *(Request("/api/users/me/matches/", headers=who, kind="matches") for who in islice(cycle(people), MATCHES)),
        *(Request(_path(listing), kind="detail") for listing in islice(cycle(listings), DETAILS)),
        *(Request("/api/users/me/", "PATCH", who, {"max_available_hours": 7}, "write") for who in people[:ANSWERS]),
        *(_edit(listing, sign_in(listing["created_by"])) for listing in listings[:EDITS]),
    ]
    Random(1).shuffle(requests)  # nosec B311
    return requests


def _listing(number: int) -> Request:
    return Request(f"/api/opportunities/?limit={20 + number % 81}{FILTERS[number % len(FILTERS)]}", kind="listing")


def _path(listing: dict[str, Any]) -> str:
    return f"/api/opportunities/{listing['id']}/"


def _edit(listing: dict[str, Any], headers: dict[str, str]) -> Request:
    levels = {skill: level % LARGEST_LEVEL + 1 for skill, level in listing["skills_required_matrix"].items()}
    return Request(_path(listing), "PUT", headers, listing | {"skills_required_matrix": levels}, "write")
