"""The read replica: what is read from it, what never is, and what happens while it is away."""

import json
import os
import re
import subprocess
import sys
import unittest
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.cookiejar import CookieJar
from typing import Any
from unittest.mock import Mock, patch
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, SimpleTestCase

from backend import environment
from ctj_api.models import Opportunity, Skill
from ctj_api.tests.common import PASSWORD, wait_until
from devtools import embedded_postgres
from devtools.embedded_postgres import Cluster, ClusterError
from serving.replica import REPLICA_ALIAS, REPLICA_RETRY_SECONDS, Replica, ReplicaMiddleware, ReplicaRouter

LISTING = "/api/opportunities/"
STOP_SECONDS = 30


class RoutingTestCase(SimpleTestCase):
    """Databases that only tell whether they are asked."""

    def setUp(self) -> None:
        """Stand in for a primary, a replica that answers, and the clock."""
        self.primary = Mock(in_atomic_block=False)
        self.standby = Mock()
        self.now = 1000.0
        databases = {DEFAULT_DB_ALIAS: self.primary, REPLICA_ALIAS: self.standby}
        self.enterContext(patch("serving.replica.connections", databases))
        self.enterContext(patch("serving.replica._replica", Replica()))
        self.enterContext(patch("serving.replica.time.monotonic", lambda: self.now))
        self.router = ReplicaRouter()

    def sources(self, request: HttpRequest, reads: int = 1) -> list[str]:
        """Return where each of the reads goes that a request makes."""
        found: list[str] = []

        def view(_: HttpRequest) -> HttpResponse:
            found.extend(self.router.db_for_read(Skill) for _ in range(reads))
            return HttpResponse()

        ReplicaMiddleware(view)(request)
        return found

    def anonymous_source(self) -> str:
        """Return where an anonymous reader's listing is read from."""
        return self.sources(RequestFactory().get(LISTING))[0]

    def take_away(self) -> None:
        """Let the replica refuse connections."""
        self.standby.ensure_connection.side_effect = OperationalError("refused")


class RoutingTests(RoutingTestCase):
    """Who is served by which database."""

    def assert_read_from(self, expected: str, request: HttpRequest) -> None:
        """Fail unless the request is read from the database."""
        self.assertEqual(self.sources(request), [expected])

    def test_anonymous_read_goes_to_replica(self) -> None:
        """GET and HEAD of the API, whichever other cookies come along."""
        request = RequestFactory()
        request.cookies["csrftoken"] = "x"
        self.assert_read_from(REPLICA_ALIAS, request.get(LISTING))
        self.assert_read_from(REPLICA_ALIAS, request.head(LISTING))

    def test_read_with_credentials_goes_to_primary(self) -> None:
        """Whoever may have written reads what they wrote."""
        signed_in = RequestFactory()
        signed_in.cookies[settings.SESSION_COOKIE_NAME] = "x"
        self.assert_read_from(DEFAULT_DB_ALIAS, signed_in.get(LISTING))
        self.assert_read_from(DEFAULT_DB_ALIAS, RequestFactory().get(LISTING, headers={"Authorization": "Bearer x"}))

    def test_anonymous_write_reads_from_primary(self) -> None:
        """Signing up looks for the address where it is written."""
        for method in ("post", "put", "patch", "delete", "options"):
            with self.subTest(method):
                self.assert_read_from(DEFAULT_DB_ALIAS, getattr(RequestFactory(), method)("/api/auth/signup/"))

    def test_page_outside_api_goes_to_primary(self) -> None:
        """The admin, and what only begins like the API."""
        for path in ("/admin/", "/admin/login/", "/apis/", "/"):
            with self.subTest(path):
                self.assert_read_from(DEFAULT_DB_ALIAS, RequestFactory().get(path))

    def test_read_outside_request_goes_to_primary(self) -> None:
        """Management commands never ask the replica."""
        self.assertEqual(self.router.db_for_read(Skill), DEFAULT_DB_ALIAS)
        self.standby.ensure_connection.assert_not_called()

    def test_read_in_transaction_goes_to_primary(self) -> None:
        """What a transaction reads, it may be about to write."""
        self.primary.in_atomic_block = True
        self.assert_read_from(DEFAULT_DB_ALIAS, RequestFactory().get(LISTING))

    def test_safe_request_writes_and_locks_on_primary(self) -> None:
        """Also what was read from the replica is written to the primary."""

        def view(_: HttpRequest) -> HttpResponse:
            self.assertEqual(self.router.db_for_write(Skill, instance=Skill()), DEFAULT_DB_ALIAS)
            with patch("django.db.router.routers", [self.router]):
                self.assertEqual(Skill.objects.all().db, REPLICA_ALIAS)
                self.assertEqual(Skill.objects.select_for_update().db, DEFAULT_DB_ALIAS)
            return HttpResponse()

        ReplicaMiddleware(view)(RequestFactory().get(LISTING))

    def test_request_after_safe_one_goes_to_primary(self) -> None:
        """The mark ends with its request, after an exception as well."""

        def fail(_: HttpRequest) -> HttpResponse:
            raise ZeroDivisionError

        self.assertEqual(self.anonymous_source(), REPLICA_ALIAS)
        self.assertEqual(self.router.db_for_read(Skill), DEFAULT_DB_ALIAS)
        with suppress(ZeroDivisionError):
            ReplicaMiddleware(fail)(RequestFactory().get(LISTING))
        self.assertEqual(self.router.db_for_read(Skill), DEFAULT_DB_ALIAS)

    def test_safe_request_without_reads_asks_nobody(self) -> None:
        """The schema and an unknown address need no connection."""
        self.assertEqual(self.sources(RequestFactory().get("/api/schema/"), reads=0), [])
        self.standby.ensure_connection.assert_not_called()

    def test_objects_of_both_databases_may_be_related(self) -> None:
        """They are the same rows."""
        skill, opportunity = Skill(), Opportunity()
        skill._state.db, opportunity._state.db = REPLICA_ALIAS, DEFAULT_DB_ALIAS
        self.assertTrue(self.router.allow_relation(skill, opportunity))

    def test_migrations_go_to_primary_only(self) -> None:
        """The replica follows by itself, and takes no writes."""
        self.assertTrue(self.router.allow_migrate(DEFAULT_DB_ALIAS, "ctj_api"))
        self.assertFalse(self.router.allow_migrate(REPLICA_ALIAS, "ctj_api"))


class AwayTests(RoutingTestCase):
    """A replica that comes and goes."""

    def test_replica_away_is_replaced_by_primary_with_one_warning(self) -> None:
        """However often it is tried again, the log tells once that it is gone and once that it is back."""
        self.take_away()
        with self.assertLogs("serving.replica", "INFO") as logs:
            for _ in range(3):
                self.assertEqual(self.anonymous_source(), DEFAULT_DB_ALIAS)
                self.now += REPLICA_RETRY_SECONDS
            self.standby.ensure_connection.side_effect = None
            self.assertEqual([self.anonymous_source() for _ in range(2)], [REPLICA_ALIAS] * 2)
        self.assertEqual([record.levelname for record in logs.records], ["WARNING", "INFO"])
        self.assertIn("refused", logs.output[0])

    def test_replica_away_is_not_tried_before_its_time(self) -> None:
        """Nobody waits for it meanwhile."""
        self.take_away()
        with self.assertLogs("serving.replica"):
            self.anonymous_source()
        self.standby.ensure_connection.side_effect = None
        self.now += REPLICA_RETRY_SECONDS - 0.1
        self.assertEqual(self.anonymous_source(), DEFAULT_DB_ALIAS)
        self.assertEqual(self.standby.ensure_connection.call_count, 1)

    def test_replica_away_is_tried_by_one_request_at_a_time(self) -> None:
        """While one waits for an answer, the others go to the primary at once."""
        self.take_away()
        with self.assertLogs("serving.replica"):
            self.anonymous_source()
            self.now += REPLICA_RETRY_SECONDS
            others: list[str] = []
            self.standby.ensure_connection.side_effect = lambda: others.append(self.anonymous_source())
            self.assertEqual(self.anonymous_source(), REPLICA_ALIAS)
        self.assertEqual(others, [DEFAULT_DB_ALIAS])

    def test_failed_try_puts_off_the_next(self) -> None:
        """The time runs from the end of a try, which may have taken seconds."""
        self.standby.ensure_connection.side_effect = self.refuse_slowly
        with self.assertLogs("serving.replica"):
            self.anonymous_source()
        self.now += REPLICA_RETRY_SECONDS - 0.1
        self.anonymous_source()
        self.assertEqual(self.standby.ensure_connection.call_count, 1)

    def refuse_slowly(self) -> None:
        """Behave as a machine that doesn't answer."""
        self.now += 2
        raise OperationalError("timeout")

    def test_connection_kept_from_before_is_checked_first(self) -> None:
        """A replica that has restarted since is connected to anew."""
        self.anonymous_source()
        self.assertEqual(
            [call[0] for call in self.standby.method_calls], ["close_if_health_check_failed", "ensure_connection"]
        )

    def test_request_reads_everything_from_one_database(self) -> None:
        """A replica that comes back in the middle doesn't mix two states in one answer."""
        self.take_away()

        def view(_: HttpRequest) -> HttpResponse:
            with self.assertLogs("serving.replica"):
                self.assertEqual(self.router.db_for_read(Skill), DEFAULT_DB_ALIAS)
            self.standby.ensure_connection.side_effect = None
            self.now += REPLICA_RETRY_SECONDS
            self.assertEqual(self.router.db_for_read(Skill), DEFAULT_DB_ALIAS)
            return HttpResponse()

        ReplicaMiddleware(view)(RequestFactory().get(LISTING))


class ReplicaSettingsTests(SimpleTestCase):
    """What the environment makes of it."""

    def read_settings(self, **environment: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """Return the databases and the routers of the settings."""
        script = "import json; from backend import settings as s; print(json.dumps([s.DATABASES, s.DATABASE_ROUTERS]))"
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=settings.BASE_DIR,
            env={**os.environ, "SQL_REPLICA_HOST": "", "SQL_REPLICA_PORT": "", "SQL_PASSWORD": "x", **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        databases, routers = json.loads(done.stdout)
        return databases, routers

    def test_replica_host_adds_a_database_like_the_primary(self) -> None:
        """Only the address is another."""
        databases, routers = self.read_settings(SQL_REPLICA_HOST="replica.example.org", SQL_REPLICA_PORT="6432")
        address = {"HOST": "replica.example.org", "PORT": "6432"}
        self.assertEqual(databases[REPLICA_ALIAS], databases[DEFAULT_DB_ALIAS] | address)
        self.assertEqual(routers, ["serving.replica.ReplicaRouter"])

    def test_no_replica_host_leaves_one_database_and_no_router(self) -> None:
        """Then nothing is decided at all."""
        databases, routers = self.read_settings()
        self.assertEqual((list(databases), routers), ([DEFAULT_DB_ALIAS], []))


class Server:
    """The server as it runs in production, on a port of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", "0", "backend.asgi:application"],
            cwd=settings.BASE_DIR,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.origin = f"http://{self._read_address()}"

    def stop(self) -> str:
        """End it, and return what it has logged since it began to listen."""
        self._process.terminate()
        return self._process.communicate(timeout=STOP_SECONDS)[1]

    def _read_address(self) -> str:
        assert self._process.stderr is not None
        log = []
        for line in self._process.stderr:
            log.append(line)
            if found := re.search(r"Listening on TCP address (\S+)", line):
                return found[1]
        raise AssertionError(f"The server did not start: {''.join(log)}{self.stop()}")


class Client:
    """A browser, with cookies of its own."""

    def __init__(self, server: Server) -> None:
        self._origin = server.origin
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))

    def ask(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, Any]:
        """Return status and JSON of a GET or, with a body, of a POST."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._origin + path, data, {"Content-Type": "application/json", **headers})
        try:
            with self._opener.open(request) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Return status and JSON of a POST with a CSRF token."""
        token = self.ask("/api/auth/csrf/")[1]["csrf_token"]
        return self.ask(path, body, **{"X-CSRFToken": token})


def query(cluster: Cluster, statement: str) -> Any:
    """Return the one value that a statement gives."""
    with psycopg.connect(
        host=str(cluster.socket),
        port=environment.EMBEDDED_PORT,
        user=environment.EMBEDDED_USER,
        dbname=environment.EMBEDDED_DATABASE,
        autocommit=True,
    ) as connection:
        row = connection.execute(statement).fetchone()
    return row and row[0]


def follow(primary: Cluster, lock: int) -> Cluster:
    """Return a running replica of ``primary``, which goes away with it."""
    replica = Cluster(primary.data_dir / "replica", temporary=True)
    account = primary.account()
    replica.home.mkdir(mode=0o700, parents=True)
    os.chown(replica.home, account.owner, -1)
    source = ("-h", str(primary.socket), "-p", str(environment.EMBEDDED_PORT), "-U", environment.EMBEDDED_USER)
    options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")
    done = account.run(embedded_postgres._binary("pg_basebackup"), *source, *options, "-D", replica.data)
    if done.returncode != 0:
        raise AssertionError(done.stdout)
    with (replica.data / "postgresql.auto.conf").open("a") as configuration:
        configuration.write("wal_retrieve_retry_interval = 100\n")
    replica.bring_up(lock)
    return replica


class ReplicationTests(unittest.TestCase):
    """A server, its primary, and a replica that follows it."""

    primary: Cluster
    lock: int
    replica: Cluster
    environment: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        """Make both databases; management commands fill the first while there is no replica yet."""
        super().setUpClass()
        try:
            embedded_postgres._binary("pg_basebackup")
        except ClusterError as error:
            raise unittest.SkipTest(f"{error} Replication was not tried.") from error
        data_dir = environment.data_directory()
        cls.primary, cls.lock = cls.enterClassContext(embedded_postgres.temporary_cluster(data_dir))
        cls.environment = {
            **os.environ,
            **embedded_postgres.temporary_environment(cls.primary),
            "DJANGO_DEBUG": "true",
            "DJANGO_SSL_REDIRECT": "false",
            "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
            "SQL_REPLICA_HOST": str(environment.socket_directory(cls.primary.data_dir / "replica")),
            "SQL_REPLICA_PORT": str(environment.EMBEDDED_PORT),
        }
        cls.manage("migrate")
        cls.manage("seed_demo", "--opportunities=3", "--volunteers=1", f"--password={PASSWORD}")
        cls.replica = follow(cls.primary, cls.lock)

    @classmethod
    def manage(cls, *arguments: str) -> None:
        """Run a management command with the settings of the server."""
        command = [sys.executable, "manage.py", *arguments]
        subprocess.run(command, cwd=settings.BASE_DIR, env=cls.environment, capture_output=True, check=True)

    def setUp(self) -> None:
        """Start a server, with an anonymous reader and a project manager who has signed in."""
        self.server = Server(self.environment)
        self.log: str | None = None
        self.addCleanup(self.stop_server)
        self.reader, self.manager = Client(self.server), Client(self.server)
        status, _ = self.manager.post("/api/auth/login/", {"email": "pm1@example.org", "password": PASSWORD})
        self.assertEqual(status, 200)

    def stop_server(self) -> str:
        """Stop the server, unless that is done, and return its log."""
        if self.log is None:
            self.log = self.server.stop()
        return self.log

    def post_listing(self) -> str:
        """Return the address of a listing that the project manager has just posted."""
        body = {
            "project": self.reader.ask("/api/projects/")[1][0]["id"],
            "role": self.reader.ask("/api/roles/")[1][0]["id"],
            "body": "Help us to build it.",
            "min_experience_required": "junior",
            "min_hours_required": 6,
            "work_environment": "remote",
            "skills_required_matrix": {},
            "status": "open",
        }
        status, listing = self.manager.post(LISTING, body)
        self.assertEqual(status, 201, listing)
        return f"{LISTING}{listing['id']}/"

    @contextmanager
    def replay_paused(self) -> Iterator[None]:
        """Hold the replica where it is."""
        query(self.replica, "SELECT pg_wal_replay_pause()")
        try:
            wait_until(lambda: query(self.replica, "SELECT pg_get_wal_replay_pause_state()") == "paused")
            yield
        finally:
            query(self.replica, "SELECT pg_wal_replay_resume()")

    def test_listing_is_seen_by_its_author_at_once_and_by_others_when_replica_has_it(self) -> None:
        """Anonymous readers are served by the replica, whoever writes by the primary."""
        with self.replay_paused():
            path = self.post_listing()
            self.assertEqual((self.manager.ask(path)[0], self.reader.ask(path)[0]), (200, 404))
        wait_until(lambda: self.reader.ask(path)[0] == 200)
        self.stop_server()
        self.assertNotIn("read-only transaction", self.replica.log.read_text())

    def test_stopped_replica_is_replaced_by_primary(self) -> None:
        """Nobody sees an error, and the log tells once."""
        self.assertEqual(self.reader.ask(LISTING)[0], 200)
        self.addCleanup(self.replica.bring_up, self.lock)
        self.replica.stop()
        path = self.post_listing()
        self.assertEqual([self.reader.ask(path)[0] for _ in range(3)], [200] * 3)
        self.assertEqual(self.stop_server().count("The read replica is away"), 1)

    def test_stopped_primary_leaves_public_pages(self) -> None:
        """The replica goes on answering anonymous readers, while the health check tells of the primary."""
        self.addCleanup(self.primary.bring_up, self.lock)
        self.primary.stop()
        paths = (LISTING, "/api/skills/", "/api/healthcheck/")
        self.assertEqual([self.reader.ask(path)[0] for path in paths], [200, 200, 503])
        self.assertEqual(self.manager.ask(LISTING)[0], 503)
