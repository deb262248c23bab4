"""A gate in the database: writes wait at it with their transactions half done, so that a fault meets many of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg

from .servers import THREADS, Server, until

GATE = 6_000_026  # any number that no other advisory lock has
ENOUGH = THREADS  # one process may have taken all connections
# In front of what the transactions that save a listing and a profile write last.
INSTALL = """
    CREATE FUNCTION pass_the_gate() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(6000026); RETURN NEW; END';
    CREATE TRIGGER gate BEFORE INSERT ON django_admin_log FOR EACH ROW EXECUTE FUNCTION pass_the_gate();
    CREATE TRIGGER gate BEFORE UPDATE ON ctj_api_userprofile FOR EACH ROW EXECUTE FUNCTION pass_the_gate();
"""
WAITING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 6000026 AND NOT granted"


@asynccontextmanager
async def gate_closed(server: Server) -> AsyncIterator[None]:
    """Have the gate closed, and enough writes waiting; those that wait at the end are cut off, and it opens.

    PostgreSQL would do what they wait for although nobody is there any more, as if they had been killed after it.
    """
    with server.database() as connection:
        connection.execute("SELECT pg_advisory_lock(6000026)")
        await until(lambda: len(connection.execute(WAITING).fetchall()) >= ENOUGH, "No writes waited at the gate")
        yield
        with suppress(psycopg.OperationalError):  # the database was killed
            connection.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM ({WAITING}) AS waiting".encode())
