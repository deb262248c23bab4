"""The listing without a framework, as an ASGI application: nothing is checked, counted or routed."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import django
import orjson
from psycopg.rows import dict_row

from .bench import connect

LISTING = (Path(__file__).parent / "sql" / "listing.sql").read_bytes()

django.setup(set_prefix=False)  # the worker of the server wants it
connection = cache(connect)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer any request with the first hundred listings; nothing else waits for the loop."""
    if scope["type"] == "http":
        await receive()
        with connection(os.environ["SQL_DATABASE"]).cursor(row_factory=dict_row) as cursor:
            body = orjson.dumps(cursor.execute(LISTING).fetchall(), option=orjson.OPT_UTC_Z)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
