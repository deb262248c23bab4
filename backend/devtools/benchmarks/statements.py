"""What the backend is compared with in SQL (``sql/``): the listing, and the first page of both rankings."""

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Literal

PAGE = 20
FOLDER = Path(__file__).parent / "sql"
LISTING = (FOLDER / "listing.sql").read_bytes()
OPPORTUNITIES = (FOLDER / "rank_open_opportunities.sql").read_bytes()
VOLUNTEERS = (FOLDER / "rank_volunteers.sql").read_text()
COVERED = "least(coalesce((m.levels ->> {skill})::int, 0), {level})"
MET = "(coalesce((m.levels ->> {skill})::int, 0) >= {level})::int"

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
    statement = SQL(VOLUNTEERS).format(covered=_sum(SQL(COVERED), required), met=_sum(SQL(MET), required))
    return _page(connection, statement, required)


def _sum(term: SQL, levels: Levels) -> Composed:
    return SQL(" + ").join(term.format(skill=Literal(skill), level=Literal(level)) for skill, level in levels.items())


def _page(connection: psycopg.Connection, statement: bytes | Composed, levels: Levels) -> Page:
    values = {"skills": list(levels), "levels": list(levels.values()), "page": PAGE}
    rows = connection.execute(statement, values).fetchall()
    return [pk for pk, _ in rows], rows[0][1] if rows else 0
