"""The rankings of ``ctj_api/ranking/matches.py`` in one SQL statement: the first page, and how many there are.

Tried for the opportunities, over 100,000 of them and with the same plan up to the arithmetic: the volunteer's levels
as ``jsonb`` asked by ``->>`` for each required skill (1.4 times the time of what is here), a join of
``jsonb_each_text`` of both sides with GROUP BY (1.3 times), and an expression written out for each learned skill
(1.3 times); parallel workers and JIT are left as PostgreSQL chooses, for neither was faster without them in all cases.
"""

from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Composed, Literal

PAGE = 20

OPPORTUNITIES = SQL("""
    SELECT id, covered, required, met, needed, count(*) OVER () AS total
    FROM (
        SELECT o.id, o.created_at, s.*
        FROM ctj_api_opportunity AS o
        JOIN ctj_api_skillmatrix AS m ON m.id = o.skills_required_matrix_id
        CROSS JOIN LATERAL (
            SELECT
                sum(least(r.value::int, coalesce(l.level, 0))) AS covered,
                sum(r.value::int) AS required,
                count(*) FILTER (WHERE l.level >= r.value::int) AS met,
                count(*) AS needed
            FROM jsonb_each_text(m.levels) AS r
            LEFT JOIN unnest(%(skills)s::text[], %(levels)s::int[]) AS l (skill, level) ON l.skill = r.key
        ) AS s
        WHERE o.status = 'open' AND m.levels ?| %(skills)s::text[]
    ) AS ranked
    WHERE covered > 0
    ORDER BY covered::float8 / required DESC, needed - met, required DESC, created_at DESC, id
    LIMIT %(page)s
""")
VOLUNTEERS = SQL("""
    SELECT id, covered, %(required)s::int, met, cardinality(%(skills)s::text[]), count(*) OVER () AS total
    FROM (
        SELECT u.id, u.created_at, {covered} AS covered, {met} AS met
        FROM ctj_api_userprofile AS u
        JOIN ctj_api_skillmatrix AS m ON m.id = u.skills_learned_matrix_id
        WHERE u.is_active AND m.levels ?| %(skills)s::text[]
    ) AS ranked
    ORDER BY covered DESC, met DESC, created_at DESC, id
    LIMIT %(page)s
""")
COVERED = SQL("least(coalesce((m.levels ->> {skill})::int, 0), {level})")
MET = SQL("(coalesce((m.levels ->> {skill})::int, 0) >= {level})::int")


class Place(NamedTuple):
    """An id of the ranking with the sums of its score."""

    id: UUID
    covered: int
    required: int
    met_count: int
    required_count: int


class Page(NamedTuple):
    """The first places, and how many there are in all."""

    places: list[Place]
    total: int


def rank_opportunities(connection: psycopg.Connection, learned: dict[str, int]) -> Page:
    """Return the open opportunities that overlap with what a volunteer has, best first."""
    return _page(connection, OPPORTUNITIES, learned)


def rank_volunteers(connection: psycopg.Connection, required: dict[str, int]) -> Page:
    """Return the volunteers who overlap with what an opportunity requires, best first."""
    return _page(connection, VOLUNTEERS.format(covered=_sum(COVERED, required), met=_sum(MET, required)), required)


def _sum(term: SQL, levels: dict[str, int]) -> Composed:
    return SQL(" + ").join(term.format(skill=Literal(skill), level=Literal(level)) for skill, level in levels.items())


def _page(connection: psycopg.Connection, statement: SQL | Composed, levels: dict[str, int]) -> Page:
    values = {
        "skills": list(levels),
        "levels": list(levels.values()),
        "required": sum(levels.values()),
        "page": PAGE,
    }
    rows = connection.execute(statement, values).fetchall()
    places = [Place(id_, *map(int, sums)) for id_, *sums, _ in rows]
    return Page(places, rows[0][-1] if rows else 0)
