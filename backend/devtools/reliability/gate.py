"""A gate in the database: writes wait at it with their transactions half done, so that a fault meets many of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import psycopg

from .servers import THREADS, Server, connect, until

GATE = 6_000_026  # any number that no other advisory lock has
ENOUGH = THREADS  # one process may have taken all connections
# In front of what these transactions write last.
INSTALL = f"""
    CREATE FUNCTION pass_the_gate() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END';
    CREATE TRIGGER gate BEFORE INSERT ON django_admin_log FOR EACH ROW EXECUTE FUNCTION pass_the_gate();
"""
WAITING = "FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"


def put_gate(server: Server) -> None:
    """Put the gate, open, in front of the entries of the history."""
    with server.database() as database:
        database.execute(INSTALL.encode())


@asynccontextmanager
async def gate_closed(server: Server) -> AsyncIterator[None]:
    """Have the gate closed, and enough writes waiting; those that wait at the end are cut off, and it opens.

    PostgreSQL would do what they wait for although nobody is there any more, as if they had been killed after it.
    """
    with closing(connect(server.cluster)) as connection:
        await asyncio.to_thread(connection.execute, "SELECT pg_advisory_lock(%s)", [GATE])
        await until(lambda: _waiting(connection) >= ENOUGH, f"{ENOUGH} writes did not wait at the gate")
        yield
        with suppress(psycopg.OperationalError):  # the database was killed
            connection.execute(f"SELECT pg_terminate_backend(pid, 5000) {WAITING}".encode(), [GATE])


def _waiting(connection: psycopg.Connection) -> int:
    (count,) = connection.execute(f"SELECT count(*) {WAITING}".encode(), [GATE]).fetchall()[0]
    return int(count)
