"""The benchmarks of the rankings: beside the same in one SQL statement (``sql/``), and right after a change."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from uuid import UUID

import django
import psycopg
from django.db import connection
from psycopg.sql import SQL, Composed, Literal

from .bench import Bench, database_of
from .client import Client
from .measure import Row, alternate, check, compare, take_time

PAGE = 20
MATCHES = f"/api/users/me/matches/?limit={PAGE}"
FOLDER = Path(__file__).parent / "sql"
OPPORTUNITIES = (FOLDER / "rank_open_opportunities.sql").read_bytes()
VOLUNTEERS_SQL = (FOLDER / "rank_volunteers.sql").read_text()
COVERED = SQL("least(coalesce((m.levels ->> {skill})::int, 0), {level})")
MET = SQL("(coalesce((m.levels ->> {skill})::int, 0) >= {level})::int")
LEARNED = """
    SELECT m.levels, u.email
    FROM ctj_api_userprofile AS u JOIN ctj_api_skillmatrix AS m ON m.id = u.skills_learned_matrix_id
    WHERE u.is_active ORDER BY u.id LIMIT %s
"""
REQUIRED = """
    SELECT m.levels FROM ctj_api_opportunity AS o JOIN ctj_api_skillmatrix AS m ON m.id = o.skills_required_matrix_id
    ORDER BY o.id LIMIT %s
"""
DIFFERENT = "The matches are not those of the SQL statement."

type Levels = Mapping[str, int]
type Page = tuple[list[UUID], int]


def rank_open_opportunities(connection: psycopg.Connection, learned: Levels) -> Page:
    """Return the ids of the open opportunities that overlap with what a volunteer has, best first, and the total."""
    return _page(connection, OPPORTUNITIES, learned)


def rank_volunteers(connection: psycopg.Connection, required: Levels) -> Page:
    """Return the ids of the volunteers who overlap with what an opportunity requires, best first, and the total."""
    covered, met = (
        SQL(" + ").join(term.format(skill=Literal(skill), level=Literal(level)) for skill, level in required.items())
        for term in (COVERED, MET)
    )
    return _page(connection, SQL(VOLUNTEERS_SQL).format(covered=covered, met=met), required)


def rankings(bench: Bench) -> Iterator[Row]:
    """Compare the rankings of the listings and of the volunteers with SQL, in this process and at each size."""
    django.setup(set_prefix=False)
    from ctj_api.ranking.live_index import OPEN_OPPORTUNITIES, VOLUNTEERS  # noqa: PLC0415 (after the setup)

    kinds = ((OPEN_OPPORTUNITIES, rank_open_opportunities, LEARNED), (VOLUNTEERS, rank_volunteers, REQUIRED))
    for size in bench.plan.ranked:
        sql = bench.sql(size)
        connection.close()
        connection.settings_dict["NAME"] = database_of(size)
        for index, statement, matrices in kinds:
            pairs = []
            for levels, *_ in sql.execute(matrices, [bench.plan.people]).fetchall():
                ours, theirs = partial(_rank, index.read, levels), partial(statement, sql, levels)
                check(ours() == theirs(), f"{statement.__name__} and the SQL statement give different pages.")
                pairs.append((ours, theirs))
            subject = f"{statement.__name__}: total and {PAGE} ids of {size:,}"
            yield compare(subject, "one SQL statement", alternate(bench.plan.rounds, *pairs), 5)


def matches_request(bench: Bench) -> Iterator[Row]:
    """Compare the whole request for matches with the SQL statement of the ranking alone."""
    pairs = list(_volunteers(bench))
    check(all(ask() == statement() for ask, statement in pairs), DIFFERENT)
    subject = f"GET {MATCHES} of {bench.plan.many:,} open listings"
    yield compare(subject, "one SQL statement for ids and total alone", alternate(bench.plan.rounds, *pairs), 3)


def matches_after_change(bench: Bench) -> Iterator[Row]:
    """Compare the request for matches right after another connection closed a listing with one without a change."""
    sql, after, unchanged = bench.sql(bench.plan.many), [], []
    for ask, statement in _volunteers(bench):
        (best, *_), total = statement()
        sql.execute("UPDATE ctj_api_opportunity SET status = 'closed' WHERE id = %s", [best])
        after.append(take_time(ask))
        unchanged.append(take_time(ask))
        check(statement()[1] == total - 1, "The change is not seen in SQL.")
        check(ask() == statement(), DIFFERENT)
    subject = f"GET {MATCHES} of {bench.plan.many:,}, right after a change"
    yield compare(subject, "with nothing changed", (median(after), median(unchanged)), 2, is_most=True)


def _page(connection: psycopg.Connection, statement: bytes | Composed, levels: Levels) -> Page:
    values = {"skills": list(levels), "levels": list(levels.values()), "page": PAGE}
    rows = connection.execute(statement, values).fetchall()
    return [pk for pk, _ in rows], rows[0][1] if rows else 0


def _rank(read: Callable[..., Sequence[UUID]], levels: Levels) -> Page:
    ranked = read(lambda index: index.rank(levels, Fraction(0), None))
    return list(ranked[:PAGE]), len(ranked)


def _volunteers(bench: Bench) -> Iterator[tuple[Callable[[], Page], Callable[[], Page]]]:
    """Yield how some volunteers ask for their matches, and how SQL finds the same."""
    client, sql = bench.client(bench.plan.many), bench.sql(bench.plan.many)
    for levels, email in sql.execute(LEARNED, [bench.plan.people]).fetchall():
        yield partial(_ask, client, client.sign_in(email)), partial(rank_open_opportunities, sql, levels)


def _ask(client: Client, headers: dict[str, str]) -> Page:
    answer = client.get(MATCHES, headers)
    ids = [UUID(match["opportunity"]["id"]) for match in json.loads(answer.body)]
    return ids, int(answer.headers["X-Total-Count"])
