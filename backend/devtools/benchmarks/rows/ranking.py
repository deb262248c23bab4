"""The rankings beside the same in one SQL statement, and right after a change."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import mean, median
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from devtools.benchmarks.bench import Bench
from devtools.benchmarks.client import Client, signed_in, talking
from devtools.benchmarks.data import connect
from devtools.benchmarks.measure import Comparison, Target, Unit, alternate, check, take_time
from devtools.benchmarks.plan import Size
from devtools.benchmarks.references import ranking as reference
from devtools.benchmarks.servers import OURS, serving

MATCHES = f"/api/users/me/matches/?limit={reference.PAGE}"
STATEMENT = "one SQL statement"
VOLUNTEERS = """
    SELECT u.email, m.levels
    FROM ctj_api_userprofile AS u JOIN ctj_api_skillmatrix AS m ON m.id = u.skills_learned_matrix_id
    WHERE u.is_active ORDER BY u.id LIMIT %s
"""
MATRIX = """
    SELECT m.id, m.levels
    FROM ctj_api_opportunity AS o JOIN ctj_api_skillmatrix AS m ON m.id = o.skills_required_matrix_id
    WHERE o.id = %s
"""
FOREIGN_SKILL = "SELECT id::text FROM ctj_api_skill WHERE NOT id::text = ANY (%s) ORDER BY id LIMIT 1"
CHANGE = "UPDATE ctj_api_skillmatrix SET levels = %s WHERE id = %s"


@dataclass(frozen=True)
class Volunteer:
    """Someone who is signed in."""

    levels: dict[str, int]
    headers: dict[str, str]


def rank_opportunities(bench: Bench) -> Iterator[Comparison]:
    """Compare the ranking of the listings with SQL, at two sizes."""
    for size in (bench.plan.medium, bench.plan.many):
        yield _compare_rankings(bench, size, "rank_opportunities", f"{size.opportunities:,} open listings")


def rank_volunteers(bench: Bench) -> Iterator[Comparison]:
    """Compare the ranking of the volunteers with SQL."""
    size = bench.plan.many
    yield _compare_rankings(bench, size, "rank_volunteers", f"{size.volunteers:,} volunteers")


def matches_request(bench: Bench) -> Iterator[Comparison]:
    """Compare the whole request for matches with the SQL statement of the ranking alone."""
    size = bench.plan.many
    database = bench.databases.get(size)
    times = []
    with serving(OURS, database) as server, talking(server) as client, connect(database) as sql:
        for volunteer in _volunteers(bench, database, sql):
            _check_page(client, volunteer, reference.rank_opportunities(sql, volunteer.levels))
            ours, theirs = alternate(
                bench.plan.slow_rounds,
                lambda who=volunteer: client.get(MATCHES, who.headers),  # type: ignore[misc]
                lambda who=volunteer: reference.rank_opportunities(sql, who.levels),  # type: ignore[misc]
            )
            times.append((ours, theirs))
    yield Comparison(
        f"GET /api/users/me/matches/ of {size.opportunities:,} open listings",
        f"{STATEMENT} for the ids and the total alone",
        mean(ours for ours, _ in times),
        mean(theirs for _, theirs in times),
        Unit.SECONDS,
        Target(3),
        f"the same ids and total; mean of {len(times)} volunteers",
    )


def matches_after_change(bench: Bench) -> Iterator[Comparison]:
    """Compare the request for matches right after a listing has changed with one when nothing has.

    After each change both of two servers have to tell what SQL tells.
    """
    size = bench.plan.many
    database = bench.databases.get(size)
    after, unchanged = [], []
    with (
        serving(OURS, database) as server,
        serving(OURS, database) as other_server,
        talking(server) as client,
        talking(other_server) as other_client,
        connect(database) as sql,
    ):
        for volunteer in _volunteers(bench, database, sql):
            for each in (client, other_client):
                each.get(MATCHES, volunteer.headers)
            before = reference.rank_opportunities(sql, volunteer.levels)
            with _changed(sql, before.places[0].id, volunteer):
                changed = reference.rank_opportunities(sql, volunteer.levels)
                check(changed.total == before.total - 1, "The change is not seen in SQL.")
                after.append(take_time(lambda who=volunteer: client.get(MATCHES, who.headers)))  # type: ignore[misc]
                unchanged.append(take_time(lambda who=volunteer: client.get(MATCHES, who.headers)))  # type: ignore[misc]
                for each in (other_client, client):
                    _check_page(each, volunteer, changed)
            after.append(take_time(lambda who=volunteer: client.get(MATCHES, who.headers)))  # type: ignore[misc]
            unchanged.append(take_time(lambda who=volunteer: client.get(MATCHES, who.headers)))  # type: ignore[misc]
            for each in (other_client, client):
                _check_page(each, volunteer, before)
    yield Comparison(
        f"GET /api/users/me/matches/ of {size.opportunities:,}, right after a change",
        "the same with nothing changed",
        median(after),
        median(unchanged),
        Unit.SECONDS,
        Target(2, is_most=True),
        f"{len(after)} changes by another connection, each seen by the next request in both of two processes",
    )


def _compare_rankings(bench: Bench, size: Size, task: str, candidates: str) -> Comparison:
    times = bench.ask_django(bench.databases.get(size), task, people=bench.plan.people, rounds=bench.plan.slow_rounds)
    ratios = sorted(theirs / ours for ours, _, theirs in times)
    with_rows = Unit.SECONDS.show(mean(rows for _, rows, _ in times))
    return Comparison(
        f"total and first {reference.PAGE} ids of {candidates}",
        STATEMENT,
        mean(ours for ours, _, _ in times),
        mean(theirs for _, _, theirs in times),
        Unit.SECONDS,
        Target(5),
        f"the same ids, scores and total; mean of {len(times)} rankings, ratios {ratios[0]:.1f} to {ratios[-1]:.1f}; "
        f"with the rows of the page loaded ours takes {with_rows}",
    )


def _volunteers(bench: Bench, database: str, sql: psycopg.Connection) -> list[Volunteer]:
    rows = sql.execute(VOLUNTEERS, [bench.plan.people]).fetchall()
    sessions = bench.sign_in(database, [email for email, _ in rows])
    return [Volunteer(levels, signed_in(sessions[email])) for email, levels in rows]


def _check_page(client: Client, volunteer: Volunteer, expected: reference.Page) -> None:
    answer = client.get(MATCHES, volunteer.headers)
    told = [(match["opportunity"]["id"], match["met_count"], match["required_count"]) for match in answer.json()]
    there = [(str(place.id), place.met_count, place.required_count) for place in expected.places]
    check(told == there, "The matches are not those of the SQL statement.")
    check(int(answer.headers["X-Total-Count"]) == expected.total, "The total is not that of the SQL statement.")


@contextmanager
def _changed(sql: psycopg.Connection, opportunity: UUID, volunteer: Volunteer) -> Iterator[None]:
    """Have a listing require nothing that the volunteer has, and then again what it required."""
    matrix, levels = _first(sql.execute(MATRIX, [opportunity]))
    (foreign,) = _first(sql.execute(FOREIGN_SKILL, [list(volunteer.levels)]))
    sql.execute(CHANGE, [Jsonb({foreign: 1}), matrix])
    try:
        yield
    finally:
        sql.execute(CHANGE, [Jsonb(levels), matrix])


def _first(cursor: psycopg.Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    check(row is not None, "There is no such row.")
    return row or ()
