"""Migrating, once for all servers that start together."""

import time
from argparse import ArgumentParser
from contextlib import closing
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

# Any number will do, but for those of other locks.
MIGRATE_LOCK = 6_000_028
SESSION = Path(__file__).with_name("migrate_session.sql").read_text(encoding="utf-8")
PROCESS = "SELECT pg_backend_pid()"
IN_THE_WAY = Path(__file__).with_name("migrate_waits_for.sql").read_text(encoding="utf-8")
POOLED = (
    "A connection pooler gives each transaction another session, as PgBouncer does in the modes transaction and "
    "statement: time limits would not hold, and a lock of migrations would stay. Set pool_mode = session, or connect "
    "to PostgreSQL itself: a process holds few connections."
)


class Command(BaseCommand):
    """Migrates under a lock: the first one does the work, the others wait and find nothing to do."""

    help = "Migrate the database, once even if many servers start together."
    _told = ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the limit of the waits."""
        parser.add_argument("--wait", type=float, default=300, metavar="SECONDS", help="how long to wait (300)")

    def handle(self, *_: Any, wait: float, **options: Any) -> None:
        """Migrate; raises ``CommandError`` where another one is not done, or a table not free, in time."""
        until = time.monotonic() + wait
        _check_session()
        # The lock ends with this process. A query that waits for it would keep a migration's from ending.
        while not _ask("SELECT pg_try_advisory_lock(%s)", MIGRATE_LOCK):
            self._wait(until, "Another server migrates the database")
        with connection.cursor() as cursor:
            cursor.execute(SESSION)
        while True:
            try:
                call_command("migrate", interactive=False, verbosity=options["verbosity"])
                break
            except OperationalError as error:
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
                self._wait(until, "A table is in use")

    def _wait(self, until: float, situation: str) -> None:
        """Tell once what is waited for and who is in the way; raises ``CommandError`` when it is late."""
        told = f"{situation}. {_ask(IN_THE_WAY, MIGRATE_LOCK) or ''}"
        if time.monotonic() > until:
            raise CommandError(f"The wait was too long. {told}")
        if told != self._told:
            self.stderr.write(f"Waiting ... {told}")
            self._told = told
        time.sleep(0.2)


def _check_session() -> None:
    """Raise ``CommandError`` unless each of two connections, the second used twice as often, keeps its own process."""
    with closing(connection.copy()) as other:
        rounds = [[_ask(PROCESS, using=each) for each in (connection, other, other)] for _ in range(3)]
    first, second, _ = rounds[0]
    if first == second or any(asked != [first, second, second] for asked in rounds):
        raise CommandError(POOLED)


def _ask(query: str, *parameters: int | str, using: Any = connection) -> Any:
    with using.cursor() as cursor:
        cursor.execute(query, parameters)
        row = cursor.fetchone()
    return row and row[0]
