"""The container's entrypoint, run for real, several times at once."""

import json
import os
import shutil
import subprocess
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase
from psycopg.conninfo import make_conninfo

from backend.environment import data_directory
from ctj_api.tests.common import PATIENCE_SECONDS, wait_until
from ctj_api.tests.databases import new_database
from devtools.embedded_postgres import Account, Cluster
from serving.tests.ports import ADDRESS, reserved_port, running

# As Django makes it before the first migration.
RECORDED_MIGRATIONS = "CREATE TABLE django_migrations (id serial PRIMARY KEY, app text, name text, applied timestamptz)"
NO_DATABASE = ["waiting for the database: connect", "did not answer within 1 s", '"nowhere" does not exist']
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
CONFIGURATION = """
[databases]
* = host={HOST} port={PORT} user={USER} password='{password}'
[pgbouncer]
listen_addr = {address}
listen_port = {port}
unix_socket_dir =
auth_type = any
"""
ADVISORY_LOCKS = """
    SELECT pid FROM pg_locks JOIN pg_database ON database = pg_database.oid
    WHERE locktype = 'advisory' AND datname = current_database()
"""


class EntrypointTests(TransactionTestCase):
    """Against an empty database of their own."""

    def environment(self, database: str, **changes: str) -> dict[str, str]:
        """Return the environment of a container."""
        used = connection.settings_dict
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DJANGO_DEBUG": "false",
            "DJANGO_SECRET_KEY": "only-for-tests-0123456789" * 3,
            "DJANGO_ALLOWED_HOSTS": "localhost",
            "EMAIL_BACKEND": "console",
            "PASSWORD_RESET_URL": "https://jobs.example.org/reset-password",
            **{f"SQL_{name}": str(used[name]) for name in ("HOST", "PORT", "USER", "PASSWORD")},
            "SQL_DATABASE": database,
            **changes,
        }

    def started(self, database: str, *command: str, **changes: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Have a command run, the entrypoint by default."""
        environment = self.environment(database, **changes)
        return running(command or ["./entrypoint.sh"], cwd=settings.BASE_DIR, env=environment)

    def connected(self, database: str, *, autocommit: bool = True) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection to a database, which the test's end closes."""
        info = connection.connection.info
        dsn = make_conninfo(info.dsn, dbname=database, password=info.password)
        return self.enterContext(closing(psycopg.connect(dsn, autocommit=autocommit)))

    def migrations_of(self, database: str) -> list[tuple[Any, ...]]:
        """Return the migrations that a database has, in order."""
        query = "SELECT app, name FROM django_migrations ORDER BY app, name"
        return self.connected(database).execute(query).fetchall()

    def make_migration_hang(self, database: str) -> Callable[[], bool]:
        """Have the first migration of a database hang, and return what tells whether it does."""
        other = self.connected(database)
        other.execute(RECORDED_MIGRATIONS)
        other.execute("CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); END'")
        other.execute("CREATE TRIGGER hanging BEFORE INSERT ON django_migrations EXECUTE FUNCTION hang()")
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        return lambda: other.execute(query).fetchone() == (1,)

    def test_two_containers_migrate_once_and_serve(self) -> None:
        """Both become healthy, end with 0 on SIGTERM, and have written nothing but objects of JSON."""
        with new_database("entrypoint") as database:
            ports = [self.enterContext(reserved_port()) for _ in range(2)]
            with (
                self.started(database, PORT=str(ports[0])) as first,
                self.started(database, PORT=str(ports[1])) as second,
            ):
                for port, process in zip(ports, (first, second), strict=True):
                    wait_until_healthy(port, process)
                applied = self.migrations_of(database)
                self.assertEqual(len(applied), len(set(applied)))
                self.assertIn(("ctj_api", "0001_initial"), applied)
                for process in (first, second):
                    process.terminate()
                    self.assertEqual(process.wait(PATIENCE_SECONDS), 0)
                events = [event for process in (first, second) for event in events_of(process)]
        self.assertEqual(sum("Applying ctj_api.0001_initial" in event for event in events), 1)
        for event in ("Another server migrates", "No directory at", "Shutting down"):
            self.assertTrue(any(event in each for each in events), event)

    def test_killed_migration_does_not_block_the_next_one(self) -> None:
        """The second says that it waits, and migrates once the first is dead."""
        with new_database("killed") as database:
            is_hanging = self.make_migration_hang(database)
            command = (sys.executable, "manage.py", "migrate_once", "--verbosity=0")
            with self.started(database, *command) as first:
                wait_until(is_hanging)
                with self.started(database, *command) as second:
                    assert second.stdout
                    other = self.connected(database)
                    ((holder,),) = other.execute(ADVISORY_LOCKS).fetchall()
                    self.assertRegex(second.stdout.readline(), told_of(holder, "Another server migrates the database"))
                    other.execute(f"SET lock_timeout = '{PATIENCE_SECONDS}s'")
                    first.kill()
                    other.execute("DROP TRIGGER hanging ON django_migrations")
                    self.assertEqual(second.wait(PATIENCE_SECONDS), 0)
            self.assertIn(("ctj_api", "0001_initial"), self.migrations_of(database))

    @unittest.skipUnless(PGBOUNCER or os.environ.get("REQUIRE_POOLER"), "PgBouncer is not installed")
    def test_pooler_that_gives_each_transaction_another_session_is_refused(self) -> None:
        """Whichever session that is; one for each connection is fine, and has the limits of a request."""
        cases = {"session": "", "transaction": "", "statement": "server_round_robin = 1\nmin_pool_size = 2"}
        for mode, more in cases.items():
            with self.subTest(mode), new_database("pooled") as database, pooler(f"pool_mode = {mode}\n{more}") as port:
                command = (sys.executable, "manage.py", "migrate_once", "--verbosity=0")
                with self.started(database, *command, SQL_HOST=ADDRESS, SQL_PORT=str(port)) as process:
                    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
                self.assertEqual(process.returncode, mode != "session", output)
                self.assertEqual("Set pool_mode = session" in output, mode != "session", output)
                tables = self.connected(database).execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
                self.assertEqual(bool(tables.fetchall()), mode == "session")
                with closing(connection.copy()) as pooled:
                    pooled.settings_dict |= {"HOST": ADDRESS, "PORT": port}
                    with pooled.cursor() as cursor:
                        cursor.execute("SHOW statement_timeout")
                        self.assertEqual(cursor.fetchone(), ("30s",))

    def test_container_ends_on_sigterm_while_it_waits_or_migrates(self) -> None:
        """It ends with 143 although the database is away, and before the migration does."""
        with self.started("nowhere", DATABASE_WAIT_SECONDS="600") as process:
            assert process.stdout
            self.assertIn("waiting for the database", process.stdout.readline())
            process.terminate()
            self.assertEqual(process.wait(PATIENCE_SECONDS), 143)
        with new_database("told") as database:
            is_hanging = self.make_migration_hang(database)
            with self.started(database) as process:
                wait_until(is_hanging)
                process.terminate()
                self.assertEqual(process.wait(PATIENCE_SECONDS), 143)

    def test_locked_table_ends_the_migration_after_the_limit(self) -> None:
        """It ends with 1 and a line that names the reason."""
        with new_database("in_use") as database:
            other = self.connected(database, autocommit=False)
            other.execute(RECORDED_MIGRATIONS)
            other.commit()
            other.execute("LOCK TABLE django_migrations IN SHARE MODE")
            with self.started(database, sys.executable, "manage.py", "migrate_once", "--wait=1") as process:
                output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(output, told_of(other.info.backend_pid, "too long. A table is in use"))
        self.assertNotIn("Traceback", output)

    def test_missing_or_unusable_setting_or_database_is_named(self) -> None:
        """It ends with 1 and a line for each setting that is missing or wrong, without a traceback."""
        processes = "WEB_CONCURRENCY must be a number from 1 to 99, not '{}'."
        numbers = ("0", "-1", "two", "1.5", "100", "1 2")
        cases: list[tuple[dict[str, str], list[str]]] = [
            ({"DJANGO_SECRET_KEY": "", "PASSWORD_RESET_URL": ""}, ["set DJANGO_SECRET_KEY", "set PASSWORD_RESET_URL"]),
            ({"DATABASE_WAIT_SECONDS": "soon"}, ["DATABASE_WAIT_SECONDS must be a "]),
            ({"DATABASE_WAIT_SECONDS": "1"}, NO_DATABASE),
            ({"PORT": "70000"}, ["PORT must be a "]),
            ({"DJANGO_SECRET_KEY_FILE": "/nowhere"}, ["DJANGO_SECRET_KEY_FILE must be a "]),
            *(({"WEB_CONCURRENCY": number}, [processes.format(number)]) for number in numbers),
        ]
        for changes, told in cases:
            with self.subTest(changes), self.started("nowhere", **changes) as process:
                output = "\n".join(events_of(process))
                self.assertEqual(process.wait(PATIENCE_SECONDS), 1)
                for text in told:
                    self.assertIn(text, output)
                self.assertNotIn("Traceback", output)


def told_of(process: int, what: str) -> str:
    """Return what matches a line that names a process of PostgreSQL which is in the way, and how to end it."""
    return rf"{what}.* Process {process} .* since 20\d\d-.* SELECT pg_terminate_backend\({process}\)"


def events_of(process: subprocess.Popen[str]) -> list[str]:
    """Return what the lines of a process say, each of which is an object of JSON."""
    return [json.loads(line)["event"] for line in process.stdout or ()]


def wait_until_healthy(port: int, process: subprocess.Popen[str]) -> None:
    """Return once the server on ``port`` answers; fails where it ends, or takes too long."""

    def is_healthy() -> bool:
        assert process.poll() is None, process.stdout and process.stdout.read()
        with suppress(OSError, HTTPException), closing(HTTPConnection(ADDRESS, port, timeout=5)) as client:
            client.request("GET", "/api/healthcheck/")
            return client.getresponse().status == HTTPStatus.OK
        return False

    wait_until(is_healthy)


@contextmanager
def pooler(more: str) -> Iterator[int]:
    """Run PgBouncer as the user who may enter the folder of the database's socket, and give its port."""
    used = connection.settings_dict
    is_embedded = used["HOST"].startswith("/")
    account = Cluster(data_directory()).account() if is_embedded else Account(os.geteuid())
    with TemporaryDirectory() as folder, reserved_port() as port:
        Path(folder).chmod(0o755)
        file = Path(folder) / "pgbouncer.ini"
        address = {"address": ADDRESS, "port": port, "password": used["PASSWORD"] or "none is asked for"}
        file.write_text(CONFIGURATION.format_map(used | address) + more)
        command = [*account.prefix, str(PGBOUNCER), "--quiet", str(file)]
        with running(command, user=account.user, group=account.user):
            wait_until(lambda: _answers(port))
            yield port


def _answers(port: int) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(host=ADDRESS, port=port, dbname="postgres").close()
        return True
    return False
