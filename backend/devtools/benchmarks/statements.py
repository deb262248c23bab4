"""What the backend is compared with in SQL: the listing, and the first page of both rankings with the total."""

from collections.abc import Mapping
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Literal

PAGE = 20
LISTING = """
    SELECT
        o.id, o.project_id AS project, p.name AS project_name, o.role_id AS role, r.title AS role_title,
        r.community_of_practice_id AS community_of_practice, o.body, o.min_experience_required, o.min_hours_required,
        o.work_environment, m.levels AS skills_required_matrix, rated.skills AS skills_required, o.status,
        u.email AS created_by, o.created_at, o.updated_at
    FROM (
        SELECT * FROM ctj_api_opportunity WHERE status <> 'draft' ORDER BY created_at DESC, id LIMIT 100
    ) AS o
    JOIN ctj_api_project AS p ON p.id = o.project_id
    JOIN ctj_api_role AS r ON r.id = o.role_id
    JOIN ctj_api_skillmatrix AS m ON m.id = o.skills_required_matrix_id
    LEFT JOIN ctj_api_userprofile AS u ON u.id = o.created_by_id
    CROSS JOIN LATERAL (
        SELECT coalesce(
            json_agg(
                json_build_object('skill', s.id, 'name', s.name, 'level', l.value::int)
                ORDER BY l.value::int DESC, s.name, s.id
            ), '[]'
        ) AS skills
        FROM jsonb_each_text(m.levels) AS l JOIN ctj_api_skill AS s ON s.id = l.key::uuid
    ) AS rated
    ORDER BY o.created_at DESC, o.id
"""
OPPORTUNITIES = SQL("""
    SELECT id, count(*) OVER ()
    FROM (
        SELECT o.id, o.created_at, s.*
        FROM ctj_api_opportunity AS o
        JOIN ctj_api_skillmatrix AS m ON m.id = o.skills_required_matrix_id
        CROSS JOIN LATERAL (
            SELECT
                sum(least(r.value::int, coalesce(l.level, 0))) AS covered,
                sum(r.value::int) AS required,
                count(*) FILTER (WHERE coalesce(l.level, 0) < r.value::int) AS unmet
            FROM jsonb_each_text(m.levels) AS r
            LEFT JOIN unnest(%(skills)s::text[], %(levels)s::int[]) AS l (skill, level) ON l.skill = r.key
        ) AS s
        WHERE o.status = 'open' AND m.levels ?| %(skills)s::text[]
    ) AS ranked
    ORDER BY covered::float8 / required DESC, unmet, required DESC, created_at DESC, id
    LIMIT %(page)s
""")
VOLUNTEERS = SQL("""
    SELECT id, count(*) OVER ()
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

type Levels = Mapping[str, int]
type Page = tuple[list[UUID], int]


def listing(connection: psycopg.Connection) -> bytes:
    """Return the first hundred opportunities as JSON."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return orjson.dumps(cursor.execute(LISTING).fetchall(), option=orjson.OPT_UTC_Z)


def rank_open_opportunities(connection: psycopg.Connection, learned: Levels) -> Page:
    """Return the ids of the open opportunities that overlap with what a volunteer has, best first, and the total."""
    return _page(connection, OPPORTUNITIES, learned)


def rank_volunteers(connection: psycopg.Connection, required: Levels) -> Page:
    """Return the ids of the volunteers who overlap with what an opportunity requires, best first, and the total."""
    return _page(connection, VOLUNTEERS.format(covered=_sum(COVERED, required), met=_sum(MET, required)), required)


def _sum(term: SQL, levels: Levels) -> Composed:
    return SQL(" + ").join(term.format(skill=Literal(skill), level=Literal(level)) for skill, level in levels.items())


def _page(connection: psycopg.Connection, statement: SQL | Composed, levels: Levels) -> Page:
    values = {"skills": list(levels), "levels": list(levels.values()), "page": PAGE}
    rows = connection.execute(statement, values).fetchall()
    return [pk for pk, _ in rows], rows[0][1] if rows else 0
