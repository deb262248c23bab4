"""A mix of requests at rising concurrency."""

from functools import cache, partial
from itertools import cycle
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
VOLUNTEERS = """
    SELECT email FROM ctj_api_userprofile
    WHERE is_active AND NOT is_project_manager AND skills_learned_matrix_id IS NOT NULL ORDER BY id LIMIT 50
"""
OPPORTUNITIES = """
    SELECT
        o.id::text, u.email, json_build_object(
            'project', o.project_id, 'role', o.role_id, 'body', o.body,
            'min_experience_required', o.min_experience_required, 'min_hours_required', o.min_hours_required,
            'work_environment', o.work_environment, 'status', o.status, 'skills_required_matrix', m.levels
        )
    FROM ctj_api_opportunity AS o
    JOIN ctj_api_userprofile AS u ON u.id = o.created_by_id
    JOIN ctj_api_skillmatrix AS m ON m.id = o.skills_required_matrix_id
    ORDER BY o.id LIMIT 50
"""


def run(bench: Bench) -> list[list[str]]:
    """Return a table of how the server fares with the mix, level by level."""
    requests, seconds = mix(bench), SECONDS_FACTOR * bench.plan.seconds
    port = bench.server(bench.plan.many, OURS, PROCESSES).port
    load(port, requests, PROCESSES * WARMING_CONNECTIONS, seconds)
    shares = [f"p{share}" for share in SHARES]
    head = ["Clients", "Answers", *shares, *(f"p50 of {kind}" for kind in KINDS), RETRY_LATER, "Other failures"]
    return [head, *(cells(clients, load(port, requests, clients, seconds)) for clients in bench.plan.levels)]


def cells(clients: int, outcome: Outcome) -> list[str]:
    """Return the row of a level; refusals in good order are no failures."""
    times = percentiles([time for kind in outcome.times.values() for time in kind])
    times += [median(outcome.times.get(kind, [0])) for kind in KINDS]
    failures = [
        f"**{count} x {status}**"
        for status, count in outcome.counts.items()
        if status[0] not in "23" and status != RETRY_LATER
    ]
    refused = str(outcome.counts[RETRY_LATER])
    throughput, shown = Unit.PER_SECOND.show(outcome.throughput), map(Unit.SECONDS.show, times)
    return [str(clients), throughput, *shown, refused, ", ".join(failures) or "none"]


def mix(bench: Bench) -> list[Request]:
    """Return the requests in a mixed order, which is always the same."""
    sql = bench.sql(bench.plan.many)
    volunteers = [email for (email,) in sql.execute(VOLUNTEERS)]
    opportunities = sql.execute(OPPORTUNITIES).fetchall()
    sign_in = cache(partial(bench.client(bench.plan.many).sign_in, password=PASSWORD))
    requests = [_listing(number, filters) for number, filters in zip(range(LISTINGS), cycle(FILTERS), strict=False)]
    for number, email in zip(range(MATCHES), cycle(volunteers), strict=False):
        requests.append(Request("/api/users/me/matches/", headers=sign_in(email), kind="matches"))
        if number < ANSWERS:
            hours = {"max_available_hours": 3 + number % 20}
            requests.append(Request("/api/users/me/", "PATCH", sign_in(email), hours, "write"))
    for number, (pk, email, values) in zip(range(DETAILS), cycle(opportunities), strict=False):
        requests.append(Request(f"/api/opportunities/{pk}/", kind="detail"))
        if number < EDITS:
            requests.append(_edit(pk, sign_in(email), values))
    Random(1).shuffle(requests)  # nosec B311
    return requests


def _listing(number: int, filters: str) -> Request:
    return Request(f"/api/opportunities/?limit={20 + number % 81}{filters}", kind="listing")


def _edit(pk: str, headers: dict[str, str], values: dict[str, Any]) -> Request:
    levels = {skill: level % LARGEST_LEVEL + 1 for skill, level in values["skills_required_matrix"].items()}
    return Request(f"/api/opportunities/{pk}/", "PUT", headers, values | {"skills_required_matrix": levels}, "write")
