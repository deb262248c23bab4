"""The container's entrypoint, run for real, several times at once."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase
from psycopg.conninfo import make_conninfo

from .databases import new_database

PATIENCE_SECONDS = 60


class EntrypointTests(TransactionTestCase):
    """Against an empty database of their own."""

    serialized_rollback = True

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
            "SQL_HOST": used["HOST"],
            "SQL_PORT": str(used["PORT"]),
            "SQL_USER": used["USER"],
            "SQL_PASSWORD": used["PASSWORD"],
            "SQL_DATABASE": database,
            **changes,
        }

    @contextmanager
    def started(self, database: str, *command: str, **changes: str) -> Iterator[subprocess.Popen[str]]:
        """Have a command run, the entrypoint by default."""
        process = subprocess.Popen(
            command or ("./entrypoint.sh",),
            cwd=settings.BASE_DIR,
            env=self.environment(database, **changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()

    def migrations_of(self, database: str) -> list[tuple[Any, ...]]:
        """Return the migrations that a database has, in order."""
        info = connection.connection.info
        with psycopg.connect(make_conninfo(info.dsn, dbname=database, password=info.password)) as other:
            return other.execute("SELECT app, name FROM django_migrations ORDER BY app, name").fetchall()

    def test_two_that_start_at_once_migrate_once_and_serve(self) -> None:
        """And each ends within ten seconds when it is told to."""
        with new_database("entrypoint") as database:
            ports = [free_port() for _ in range(2)]
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
                    began = time.monotonic()
                    process.terminate()
                    process.wait(PATIENCE_SECONDS)
                    self.assertLess(time.monotonic() - began, 10)
                    self.assertEqual(process.returncode, 0)

    def test_ten_that_migrate_at_once_do_it_once(self) -> None:
        """Whoever comes second finds nothing to do."""
        with new_database("migrate_once") as database:
            command = (sys.executable, "manage.py", "migrate_once")
            processes = [self.enterContext(self.started(database, *command)) for _ in range(10)]
            outputs = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in processes]
            self.assertEqual([process.returncode for process in processes], [0] * 10, outputs)
            self.assertEqual(sum("Applying ctj_api.0001_initial" in output for output in outputs), 1)
            applied = self.migrations_of(database)
            self.assertEqual(len(applied), len(set(applied)))

    def test_migration_waits_for_a_restore_and_says_so(self) -> None:
        """It is not done into a database that is being replaced."""
        from ctj_api.backups import RESTORE_LOCK  # noqa: PLC0415

        with new_database("restoring") as database:
            info = connection.connection.info
            with psycopg.connect(make_conninfo(info.dsn, dbname=database, password=info.password)) as other:
                other.execute("SELECT pg_advisory_lock(%s)", [RESTORE_LOCK])
                with self.started(database, sys.executable, "manage.py", "migrate_once", "--wait=1") as process:
                    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
            self.assertEqual(process.returncode, 1)
            self.assertIn("a backup is being restored", output)

    def test_database_that_is_away_ends_it_after_the_limit(self) -> None:
        """With a line that says why."""
        with self.started("nowhere", DATABASE_WAIT_SECONDS="1") as process:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 1)
        self.assertIn("waiting for the database: connection", output)
        self.assertIn("the database did not answer within 1 s", output)
        self.assertIn('database "nowhere" does not exist', output)
        self.assertNotIn("Traceback", output)

    def test_one_that_waits_ends_at_once_when_it_is_told_to(self) -> None:
        """Bash would wait for what runs in the foreground."""
        with self.started("nowhere", DATABASE_WAIT_SECONDS="60") as process:
            assert process.stdout
            self.assertIn("waiting for the database", process.stdout.readline())
            began = time.monotonic()
            process.terminate()
            process.wait(PATIENCE_SECONDS)
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(process.returncode, 143)

    def test_one_without_its_settings_says_all_that_is_missing(self) -> None:
        """And ends."""
        with self.started("nowhere", DJANGO_SECRET_KEY="", PASSWORD_RESET_URL="") as process:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 1)
        self.assertIn("set DJANGO_SECRET_KEY", output)
        self.assertIn("set PASSWORD_RESET_URL", output)
        self.assertNotIn("Traceback", output)


def free_port() -> int:
    """Return the number of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def wait_until_healthy(port: int, process: subprocess.Popen[str]) -> None:
    """Return once the server on ``port`` answers; fails where it ends, or takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(process.stdout.read() if process.stdout else "")
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with suppress(OSError, http.client.HTTPException):
            client.request("GET", "/api/healthcheck/")
            if client.getresponse().status == HTTPStatus.OK:
                client.close()
                return
        client.close()
        time.sleep(0.1)
    raise AssertionError(f"Nothing answers on port {port}.")
