"""A mix of requests at rising concurrency."""

import json
import os
from random import Random
from typing import Any

import psycopg

from .bench import Bench
from .client import Outcome, Request, drive, signed_in
from .data import connect
from .report import Level, LoadReport, say
from .servers import Server, serving_as_started

# How many of each kind are among the requests, which are sent in turn.
LISTINGS, MATCHES, DETAILS, ANSWERS, EDITS = 800, 100, 50, 25, 25
PEOPLE = 50
REFUSED = "503 with Retry-After"
LARGEST_LEVEL = 5
# So many for each process, that all of them index the listings before the first level.
WARMING_CONNECTIONS = 8
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
    WHERE is_active AND NOT is_project_manager AND skills_learned_matrix_id IS NOT NULL ORDER BY id LIMIT %s
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
    ORDER BY o.id LIMIT %s
"""


def run(bench: Bench) -> LoadReport:
    """Return how the server fares with the mix, level by level."""
    size, processes = bench.plan.many, process_count()
    with bench.databases.copy(size) as database:
        with connect(database) as sql:
            requests = mix(bench, database, sql)
        with serving_as_started(database, processes) as server:
            drive(server, requests, processes * WARMING_CONNECTIONS, bench.plan.level_seconds)
            levels = [_level(bench, server, requests, clients) for clients in bench.plan.levels]
    description = (
        f"{size.opportunities:,} listings and {size.volunteers:,} volunteers, {processes} processes, "
        f"{bench.plan.level_seconds:g} s at each level. Of the requests 80 % are for the listing (20 to 100 rows, with "
        "various filters), 10 % for one's matches, 5 % for one listing, 2.5 % save a step of the qualifier and 2.5 % "
        "replace a listing with other levels. The client and PostgreSQL share the cores with the server."
    )
    return LoadReport(description, levels)


def mix(bench: Bench, database: str, sql: psycopg.Connection) -> list[Request]:
    """Return the requests in a mixed order, which is always the same."""
    volunteers = [email for (email,) in sql.execute(VOLUNTEERS, [PEOPLE]).fetchall()]
    opportunities = sql.execute(OPPORTUNITIES, [DETAILS]).fetchall()
    managers = [email for _, email, _ in opportunities]
    people = {email: signed_in(key) for email, key in bench.sign_in(database, sorted({*volunteers, *managers})).items()}
    requests = [
        *(Request(_listing(number), kind="listing") for number in range(LISTINGS)),
        *(
            Request("/api/users/me/matches/", headers=people[_of(volunteers, number)], kind="matches")
            for number in range(MATCHES)
        ),
        *(Request(f"/api/opportunities/{_of(opportunities, number)[0]}/", kind="detail") for number in range(DETAILS)),
        *(_answer(people[_of(volunteers, number)], number) for number in range(ANSWERS)),
        *(_edit(people, *_of(opportunities, number)) for number in range(EDITS)),
    ]
    Random(1).shuffle(requests)  # nosec B311
    return requests


def process_count() -> int:
    """Return how many processes serve: ``WEB_CONCURRENCY``, or else two."""
    return int(os.environ.get("WEB_CONCURRENCY") or 2)


def _level(bench: Bench, server: Server, requests: list[Request], clients: int) -> Level:
    outcome = drive(server, requests, clients, bench.plan.level_seconds)
    level = read_level(clients, outcome)
    for status, count in level.failures.items():
        say(f"FAILED with {clients} clients: {count} x {status}")
    return level


def read_level(clients: int, outcome: Outcome) -> Level:
    """Return what became of a level; refusals in good order are apart from other failures."""
    failures = outcome.failures
    refused = failures.pop(REFUSED, 0)
    return Level(clients, outcome.throughput, outcome.latencies, outcome.medians, refused, failures)


def _of[T](rows: list[T], number: int) -> T:
    return rows[number % len(rows)]


def _listing(number: int) -> str:
    return f"/api/opportunities/?limit={20 + number % 81}{_of(list(FILTERS), number)}"


def _answer(headers: dict[str, str], number: int) -> Request:
    return _write("/api/users/me/", "PATCH", headers, {"max_available_hours": 3 + number % 20})


def _edit(people: dict[str, dict[str, str]], opportunity: str, manager: str, values: dict[str, Any]) -> Request:
    levels = {skill: level % LARGEST_LEVEL + 1 for skill, level in values["skills_required_matrix"].items()}
    changed = values | {"skills_required_matrix": levels}
    return _write(f"/api/opportunities/{opportunity}/", "PUT", people[manager], changed)


def _write(path: str, method: str, headers: dict[str, str], values: dict[str, Any]) -> Request:
    return Request(path, method, headers | {"Content-Type": "application/json"}, json.dumps(values), "write")
