"""The benchmarks of the rankings: beside the same in one SQL statement, and right after a change."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from statistics import mean, median
from uuid import UUID

import django

from . import statements
from .bench import PASSWORD, Bench, connect, database_of
from .client import Client
from .measure import Comparison, alternate, check, take_time
from .statements import PAGE, Levels, Page

MATCHES = f"/api/users/me/matches/?limit={PAGE}"
REQUIRED = """
    SELECT m.levels FROM ctj_api_opportunity AS o JOIN ctj_api_skillmatrix AS m ON m.id = o.skills_required_matrix_id
    ORDER BY o.id LIMIT %s
"""
LEARNED = """
    SELECT u.email, m.levels
    FROM ctj_api_userprofile AS u JOIN ctj_api_skillmatrix AS m ON m.id = u.skills_learned_matrix_id
    WHERE u.is_active ORDER BY u.id LIMIT %s
"""
SET_STATUS = "UPDATE ctj_api_opportunity SET status = %s WHERE id = %s"


def rank_opportunities(bench: Bench) -> Iterator[Comparison]:
    """Compare the ranking of the listings with SQL, at two sizes."""
    for size in (bench.plan.medium, bench.plan.many):
        matrices = [levels for _, levels in bench.sql(size).execute(LEARNED, [bench.plan.people])]
        yield _compare_rankings(bench, size, "rank_open_opportunities", matrices)


def rank_volunteers(bench: Bench) -> Iterator[Comparison]:
    """Compare the ranking of the volunteers with SQL, at two sizes."""
    for size in (bench.plan.medium, bench.plan.many):
        matrices = [levels for (levels,) in bench.sql(size).execute(REQUIRED, [bench.plan.people])]
        yield _compare_rankings(bench, size, "rank_volunteers", matrices)


def rank_in_process(database: str, name: str, matrices: list[Levels], rounds: int) -> list[list[float]]:
    """Return for each matrix the median times of the index's ranking of this name and of the statement's."""
    os.environ["SQL_DATABASE"] = database
    django.setup(set_prefix=False)
    index = getattr(import_module("ctj_api.ranking.live_index"), name)
    statement = getattr(statements, name)

    def rank(levels: Levels) -> Page:
        ranked = index(levels, Fraction(0), None)
        return ranked[:PAGE], len(ranked)

    times = []
    with connect(database) as sql:
        for levels in matrices:
            check(rank(levels) == statement(sql, levels), f"{name} and the SQL statement give different pages.")
            times.append(alternate(rounds, partial(rank, levels), partial(statement, sql, levels)))
    return times


def matches_request(bench: Bench) -> Iterator[Comparison]:
    """Compare the whole request for matches with the SQL statement of the ranking alone."""
    client, sql, times = bench.client(bench.plan.many), bench.sql(bench.plan.many), []
    for email, levels in sql.execute(LEARNED, [bench.plan.people]).fetchall():
        headers = client.sign_in(email, PASSWORD)
        statement = partial(statements.rank_open_opportunities, sql, levels)
        _check_matches(client, headers, statement())
        times.append(alternate(bench.plan.slow_rounds, partial(client.get, MATCHES, headers), statement))
    ours, theirs = map(mean, zip(*times, strict=True))
    subject = f"GET {MATCHES} of {bench.plan.many:,} open listings"
    yield Comparison(subject, "one SQL statement for the ids and the total alone", ours, theirs, 3)


def matches_after_change(bench: Bench) -> Iterator[Comparison]:
    """Compare the request for matches right after another connection changed a listing with one without a change."""
    client, sql = bench.client(bench.plan.many), bench.sql(bench.plan.many)
    after, unchanged = [], []
    for email, levels in sql.execute(LEARNED, [bench.plan.people]).fetchall():
        headers = client.sign_in(email, PASSWORD)
        ask = partial(client.get, MATCHES, headers)
        (best, *_), total = statements.rank_open_opportunities(sql, levels)
        for status, expected_total in (("closed", total - 1), ("open", total)):
            sql.execute(SET_STATUS, [status, best])
            after.append(take_time(ask))
            unchanged.append(take_time(ask))
            expected = statements.rank_open_opportunities(sql, levels)
            check(expected[1] == expected_total, "The change is not seen in SQL.")
            _check_matches(client, headers, expected)
    subject = f"GET {MATCHES} of {bench.plan.many:,}, right after a change"
    yield Comparison(subject, "with nothing changed", median(after), median(unchanged), 2, is_most=True)


def _compare_rankings(bench: Bench, size: int, name: str, matrices: list[Levels]) -> Comparison:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        times = pool.submit(rank_in_process, database_of(size), name, matrices, bench.plan.slow_rounds).result()
    ours, theirs = map(mean, zip(*times, strict=True))
    return Comparison(f"{name}: total and {PAGE} ids of {size:,}", "one SQL statement", ours, theirs, 5)


def _check_matches(client: Client, headers: dict[str, str], expected: Page) -> None:
    answer = client.get(MATCHES, headers)
    ids = [UUID(match["opportunity"]["id"]) for match in json.loads(answer.body)]
    check((ids, int(answer.headers["X-Total-Count"])) == expected, "The matches are not those of the SQL statement.")
