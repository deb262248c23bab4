"""Migrating, once for all servers that start together."""

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

# Any number will do, but for those of other locks.
MIGRATE_LOCK = 6_000_028
STEP_SECONDS = 0.2
SESSION = {
    # A migration that waited longer for a table would have all readers wait behind it.
    "lock_timeout": "2s",
    "statement_timeout": "0",
    # The locks of one that was killed, or whose machine is gone, are free soon: PostgreSQL looks whether it is there.
    "client_connection_check_interval": "2s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class Command(BaseCommand):
    """Migrates under a lock: the first one does the work, the others wait and find nothing to do."""

    help = "Migrate the database, once even if many servers start together, and never during a restore."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the limit of the waits."""
        parser.add_argument("--wait", type=float, default=300, metavar="SECONDS", help="how long to wait (300)")

    def handle(self, *_: Any, wait: float, **options: Any) -> None:
        """Migrate; raises ``CommandError`` where another one is not done, or a table not free, in time."""
        until = time.monotonic() + wait
        with self._locked(MIGRATE_LOCK, until), connection.cursor() as cursor:
            for name, value in SESSION.items():
                cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
            self._migrate(until, options["verbosity"])

    def _migrate(self, until: float, verbosity: int) -> None:
        while True:
            try:
                call_command("migrate", interactive=False, verbosity=verbosity)
            except OperationalError as error:
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
                if time.monotonic() > until:
                    raise CommandError(f"A table was in use for too long: {error}") from error
                self.stderr.write("A table is in use; migrating again ...")
                time.sleep(STEP_SECONDS)
            else:
                return

    @contextmanager
    def _locked(self, number: int, until: float) -> Iterator[None]:
        """Hold an advisory lock of this connection; raises ``CommandError`` where it is not free until then.

        It asks again and again: a query that waited would be cut off by a limit, or keep a migration's from ending.
        """
        is_told = False
        while not _ask("SELECT pg_try_advisory_lock(%s)", number):
            if time.monotonic() > until:
                raise CommandError("Another server migrates the database, or a backup is being restored, for too long.")
            if not is_told:
                self.stderr.write("Another server migrates the database, or a backup is being restored; waiting ...")
                is_told = True
            time.sleep(STEP_SECONDS)
        try:
            yield
        finally:
            if connection.connection is not None and not connection.connection.broken:
                _ask("SELECT pg_advisory_unlock(%s)", number)


def _ask(query: str, number: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(query, [number])
        return bool(cursor.fetchone()[0])
