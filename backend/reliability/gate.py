"""A gate in the database: writes wait at it with their transactions half done, so that a fault meets many of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import psycopg
from psycopg.sql import SQL, Identifier

from .servers import THREADS, Server, connect, until

GATE = 6_000_026  # any number that no other advisory lock has
ENOUGH = THREADS  # one process may have taken all connections
FUNCTION = f"""
    CREATE FUNCTION pass_the_gate() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END'
"""
TRIGGER = "CREATE TRIGGER gate BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION pass_the_gate()"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"


def put_gate(server: Server, *tables: str) -> None:
    """Put an open gate in front of each row that is written to ``tables``."""
    with server.database() as database:
        database.execute(FUNCTION.encode())
        for table in tables:
            database.execute(SQL(TRIGGER).format(Identifier(table)))


@asynccontextmanager
async def gate_closed(server: Server) -> AsyncIterator[None]:
    """Have the gate closed, and enough writes waiting; it opens at the end, or when the database dies."""
    with closing(connect(server.cluster)) as connection:
        await asyncio.to_thread(connection.execute, "SELECT pg_advisory_lock(%s)", [GATE])
        await until(lambda: _waiting(connection) >= ENOUGH, f"{ENOUGH} writes did not wait at the gate")
        yield


def _waiting(connection: psycopg.Connection) -> int:
    (count,) = connection.execute(WAITING, [GATE]).fetchall()[0]
    return int(count)
