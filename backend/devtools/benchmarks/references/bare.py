"""The listing without a framework, ``benchmarks.references.bare:application``: one statement, dumped as JSON.

It checks nothing, counts nothing and knows no other request; it blocks the loop, which has nothing else to do.
"""

import os
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import orjson
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from devtools.benchmarks.data import connect

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

type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the first hundred opportunities, whatever is asked, or with the id of this process."""
    if scope["type"] != "http":
        raise ValueError("Only HTTP is served here.")
    await receive()
    is_asked_for_process = scope["path"] == "/benchmarks/process/"
    body = str(os.getpid()).encode() if is_asked_for_process else listing()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def listing() -> bytes:
    """Return the first hundred opportunities as JSON."""
    with _connection().cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(LISTING).fetchall()
    return orjson.dumps(rows, option=orjson.OPT_UTC_Z)


@cache
def _connection() -> psycopg.Connection:
    set_json_loads(orjson.loads)
    connection = connect(os.environ["SQL_DATABASE"])
    connection.execute("SET timezone = 'UTC'")
    return connection
