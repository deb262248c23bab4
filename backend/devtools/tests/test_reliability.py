"""The harness of the faults: what it tells, and that it fails where something was lost."""

import asyncio
import json
import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest import TestCase
from unittest.mock import patch

import psycopg
from django.db import connections
from django.test import TransactionTestCase

from backend.environment import BASE_DIR, data_directory
from ctj_api.tests.common import (
    browser,
    make_cop,
    make_pm_user,
    make_project,
    make_regular_user,
    make_role,
    make_skill,
    other_connection,
)
from devtools.benchmarks.servers import ADDRESS
from devtools.reliability import __main__ as command
from devtools.reliability.ports import reserved_port
from devtools.reliability.report import BEGIN, END, PAGE, Report
from devtools.reliability.scenario import (
    FULL,
    SMALL,
    Outcome,
    ReliabilityError,
    Scale,
    Scenario,
    SkippedError,
    lost,
    worst,
)
from devtools.reliability.scenarios import SCENARIOS, fuzz, migrations
from devtools.reliability.scenarios.idle_connections import is_open
from devtools.reliability.scenarios.migrations import Version, version_before
from devtools.reliability.scenarios.slow_client import LIMIT_SECONDS, SlowClient, problems_of
from devtools.reliability.servers import Account, Content, Server
from devtools.reliability.writes import CUT_OFF, Attempt, Load, Profile, answers

HELD = Outcome("10 times", "nothing", "1.5 s")
LOST = Outcome("10 times", "a | row", "-", ("a row is lost", "another one, too"))
NUMBERS = 2000


def scenario(name: str, told: Outcome | Exception) -> Scenario:
    """Return a scenario that comes to ``told``."""

    def run(scale: Scale) -> Outcome:
        if isinstance(told, Exception):
            raise told
        return replace(told, tries=f"{scale.pick('few', 'many')} times")

    return Scenario(name, f"the title of {name}", "all that must hold", run)


class CommandTests(TestCase):
    """The exit code, and what is printed."""

    def setUp(self) -> None:
        """Have a page and a data folder that nobody else has."""
        self.page = Path(self.enterContext(TemporaryDirectory())) / "reliability.md"
        self.page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
        self.enterContext(patch.object(command, "PAGE", self.page))
        self.enterContext(patch.dict(os.environ, {"DATA_DIR": self.enterContext(TemporaryDirectory())}))
        self.enterContext(patch("signal.signal"))
        self.output = self.enterContext(redirect_stdout(StringIO()))
        self.messages = self.enterContext(redirect_stderr(StringIO()))

    def run_with(self, *outcomes: Outcome | Exception, arguments: tuple[str, ...] = ()) -> int:
        """Return the exit code of a run of scenarios that come to ``outcomes``."""
        scenarios = {str(number): scenario(str(number), told) for number, told in enumerate(outcomes)}
        with patch.object(command, "SCENARIOS", scenarios), patch.object(command, "PAGE", self.page):
            return command.main(arguments)

    def test_all_that_holds_is_success(self) -> None:
        """One that can't be tried here is no failure, and says so."""
        self.assertEqual(self.run_with(HELD, SkippedError("needs root")), 0)
        self.assertIn("skipped: needs root", self.output.getvalue())

    def test_problem_is_failure(self) -> None:
        """Each is told with the name of its scenario; the others are tried all the same."""
        self.assertEqual(self.run_with(LOST, HELD), 1)
        self.assertIn("FAILED: 0: another one, too", self.messages.getvalue())
        self.assertIn("the title of 1", self.output.getvalue())

    def test_trial_that_breaks_off_is_failure(self) -> None:
        """What was not seen is not taken for held."""
        for error in (ReliabilityError("no answer"), OSError("no answer"), TimeoutError("no answer")):
            with self.subTest(error):
                self.assertEqual(self.run_with(error), 1)
                self.assertIn(f"FAILED: 0: {type(error).__name__}: no answer", self.messages.getvalue())

    def test_problems_of_several_writers_are_told_as_one_failure(self) -> None:
        """What fails in a group of tasks comes as a group."""
        self.assertEqual(self.run_with(ExceptionGroup("tasks", [ReliabilityError("no answer")])), 1)
        self.assertIn("no answer", self.messages.getvalue())

    def test_run_leaves_no_folder_and_no_setting(self) -> None:
        """The databases of a run go with it."""
        before = dict(os.environ)
        self.run_with(HELD, LOST)
        self.assertEqual(dict(os.environ), before)
        self.assertEqual([path.name for path in (data_directory() / "tests").iterdir()], ["lock"])

    def test_servers_have_no_limit_from_elsewhere(self) -> None:
        """Neither from the environment of whoever runs this nor from an ``.env``."""
        source = (BASE_DIR / "backend" / "settings.py").read_text()
        limits = set(re.findall(r'env\.(?:float|rate|int)\("(\w+(?:_SECONDS|_BYTES|_MAX|_MS|_RATE))"', source))
        self.assertIn("CONNECTIONS_MAX", limits)
        self.assertEqual(limits - set(command.SETTINGS), {"DJANGO_HSTS_SECONDS", "SLOW_QUERY_MS"} & limits)

    def test_page_is_written_between_its_marks(self) -> None:
        """The text around the table stays."""
        self.assertEqual(self.run_with(HELD, arguments=("--write",)), 0)
        page = self.page.read_text()
        self.assertTrue(page.startswith(f"before\n{BEGIN}\n") and page.endswith(f"{END}\nafter\n"), page)
        self.assertIn(
            "| the title of 0 | many times | nothing | 1.5 s | `.venv/bin/python -m devtools.reliability 0` |", page
        )
        self.assertNotIn("old", page)

    def test_page_is_not_written_after_a_problem(self) -> None:
        """It tells what holds."""
        self.run_with(HELD, LOST, arguments=("--write",))
        self.assertIn("old", self.page.read_text())

    def test_page_of_some_scenarios_is_refused(self) -> None:
        """It would lose the others."""
        for arguments in (("--write", "0"), ("--write", "--small")):
            with self.assertRaises(SystemExit):
                self.run_with(HELD, arguments=arguments)
        self.assertIn("--write takes all scenarios at full size", self.messages.getvalue())

    def test_small_run_is_small(self) -> None:
        """And names are those that were asked for."""
        self.assertEqual(self.run_with(LOST, HELD, arguments=("--small", "1")), 0)
        self.assertIn("few times", self.output.getvalue())
        self.assertNotIn("the title of 0", self.output.getvalue())


class ReportTests(TestCase):
    """The table."""

    def test_page_of_documentation_takes_the_table(self) -> None:
        """It has the marks."""
        page = Report([(scenario("a", LOST), LOST)]).written_into(PAGE.read_text(encoding="utf-8"))
        self.assertIn("| the title of a | 10 times | a \\| row | - |", page)

    def test_page_without_marks_is_refused(self) -> None:
        """Nobody's text is overwritten."""
        with self.assertRaisesRegex(ValueError, "no place for the table"):
            Report([]).written_into(f"no {BEGIN}")

    def test_cells_tell_what_there_was(self) -> None:
        """The worst of several times; every loss."""
        self.assertEqual([worst([]), worst([1.26]), worst([1, 3.14, 2])], ["-", "1.3 s", "3.1 s (worst of 3)"])
        self.assertEqual([lost([]), lost(["a", "b"])], ["nothing", "a; b"])
        self.assertEqual([SMALL.pick(1, 2), FULL.pick(1, 2)], [1, 2])

    def test_scenarios_are_named_once(self) -> None:
        """By names that are told apart, each with what it expects."""
        self.assertEqual(len({it.run for it in SCENARIOS.values()}), len(SCENARIOS))
        for name, it in SCENARIOS.items():
            self.assertRegex(name, "^[a-z]+(-[a-z]+)*$")
            self.assertTrue(it.title and it.expects)


class WritesTests(TestCase):
    """What must be found of writes."""

    content = Content([Account("a", "b")], [], [f"skill{number}" for number in range(9)], [], [], ["c0", "c1", "c2"])

    def test_answers_tell_which_they_are(self) -> None:
        """No two alike, so that what is stored is known to be one of them, wholly."""
        matrices = {str(answers(self.content, number)["skills_learned_matrix"]) for number in range(NUMBERS)}
        self.assertEqual(len(matrices), NUMBERS)

    def test_profile_may_say_what_was_acknowledged_last_or_came_after_it(self) -> None:
        """What came before an acknowledged change is gone, whether or not it was ever stored."""
        profile = Profile()
        for number, status in enumerate(("503", "200", "cut off", "503"), 1):
            profile.note(number, Attempt(0, status))
        self.assertEqual(profile, Profile([2, 3, 4], acknowledged=1, unknown=3))


@dataclass
class FakeClient:
    """Sends requests to the API in this process, as ``reliability.writes.Client`` does to a server.

    To some, by their number, it gives other statuses, whether or not they are done.
    """

    statuses: dict[int, str] = field(default_factory=dict)
    are_done: bool = False
    sent: int = 0

    async def send(self, method: str, path: str, account: Account, body: Any = None) -> Attempt:
        """Send a request once and return what became of it."""
        self.sent += 1
        status = self.statuses.get(self.sent)
        if status and not self.are_done:
            return Attempt(0, status)
        attempt = await asyncio.to_thread(self._send, method, path, account, body)
        return Attempt(0, status) if status else attempt

    def _send(self, method: str, path: str, account: Account, body: Any) -> Attempt:
        try:
            client = browser()
            client.cookies["sessionid"] = account.session
            response = client.generic(method, path, json.dumps(body), content_type="application/json")
        finally:
            connections.close_all()
        cookie = response.cookies.get("sessionid")
        return Attempt(0, str(response.status_code), response.content, cookie.value if cookie else None)


@dataclass(frozen=True)
class FakeServer:
    """What the oracle asks of a server: what its database held at the start, and holds now."""

    content: Content
    connection: psycopg.Connection

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        """Have the connection."""
        yield self.connection


ENTRY_OF_LISTING_3 = """
    action_flag = 1 AND object_id = (SELECT id::text FROM ctj_api_opportunity WHERE body = 'Listing 3')
"""
NEWEST_CHANGE = "id = (SELECT max(id) FROM django_admin_log WHERE action_flag = 2)"
ANOTHER_ENTRY = """
    INSERT INTO django_admin_log
        (action_time, user_id, content_type_id, object_id, object_repr, action_flag, change_message)
    SELECT action_time, user_id, content_type_id, object_id, object_repr, action_flag, change_message
    FROM django_admin_log WHERE
"""
# A damage → what is told of it, each time exactly that.
DAMAGES = {
    "DELETE FROM ctj_api_opportunity WHERE body = 'Listing 3'": [
        "listing 3 is lost",
        "1 entries of the history without their listing",
    ],
    "UPDATE ctj_api_opportunity SET min_hours_required = 40 WHERE body = 'Listing 3'": ["listing 3 is [[40, "],
    "UPDATE ctj_api_opportunity SET created_by_id = NULL WHERE body = 'Listing 3'": ["listing 3 is [[3, "],
    """UPDATE ctj_api_skillmatrix SET levels = '{}'
        WHERE id = (SELECT skills_required_matrix_id FROM ctj_api_opportunity WHERE body = 'Listing 3')""": [
        "listing 3 is [[3, {}"
    ],
    "UPDATE ctj_api_opportunity SET body = 'Listing 3' WHERE body = 'Listing 4'": [
        "listing 3 is [[",
        "listing 4 is lost",
    ],
    f"DELETE FROM django_admin_log WHERE {ENTRY_OF_LISTING_3}": [
        "1 listings without one entry of their addition in the history"
    ],
    f"{ANOTHER_ENTRY} {ENTRY_OF_LISTING_3}": ["1 listings without one entry of their addition in the history"],
    "UPDATE ctj_api_userprofile SET max_available_hours = 40 WHERE email = 'ana@example.org'": [
        "ana@example.org has [",
    ],
    """UPDATE ctj_api_skillmatrix SET levels = '{}'
        WHERE id = (SELECT skills_learned_matrix_id FROM ctj_api_userprofile WHERE email = 'ana@example.org')""": [
        "ana@example.org has ["
    ],
    f"DELETE FROM django_admin_log WHERE {NEWEST_CHANGE}": [
        "ana@example.org has 9 entries in the history of 10 changes"
    ],
    f"{ANOTHER_ENTRY} {NEWEST_CHANGE}": ["ana@example.org has 11 entries in the history of 10 changes"],
    "INSERT INTO ctj_api_skillmatrix VALUES (gen_random_uuid(), now(), now(), '{}')": ["1 matrices without an owner"],
    "DELETE FROM ctj_api_userprofile WHERE email = 'new10@example.org'": ["the account new10@example.org is lost"],
    "UPDATE ctj_api_userprofile SET first_name = 'No' WHERE email = 'new10@example.org'": [
        "the account new10@example.org is No"
    ],
    "DELETE FROM django_session": [
        "the session of new10@example.org is lost",
        "the session of new20@example.org is lost",
    ],
}


DAMAGES_BY_HALF = {
    damage: expected
    for damage, expected in DAMAGES.items()
    if not damage.startswith(("DELETE FROM ctj_api", "DELETE FROM django_session")) and "Listing 4" not in damage
}


class OracleTests(TransactionTestCase):
    """What is told of writes through the real API, whose rows are damaged afterwards."""

    serialized_rollback = True

    def setUp(self) -> None:
        """Have a volunteer, a project manager and a catalog."""
        make_cop()
        self.content = Content(
            volunteers=[self.signed_in(make_regular_user(email="ana@example.org"))],
            managers=[self.signed_in(make_pm_user(email="pm@example.org"))],
            skills=[str(make_skill().pk) for _ in range(8)],
            projects=[str(make_project().pk)],
            roles=[str(make_role().pk)],
            communities=[str(make_cop().pk)],
        )
        self.connection = self.enterContext(other_connection())
        self.server = cast("Server", FakeServer(self.content, self.connection))

    def signed_in(self, user: Any) -> Account:
        """Return an account with a session."""
        self.client.force_login(user)
        session = Account(user.email, self.client.cookies["sessionid"].value)
        self.client.cookies.clear()
        return session

    def written(self, count: int = 20, allowed: tuple[str, ...] = (), client: FakeClient | None = None) -> Load:
        """Return a load of so many acknowledged writes: in each ten four listings, five profiles, and an account."""

        @asynccontextmanager
        async def talking(_: object) -> AsyncIterator[FakeClient]:
            yield client or FakeClient()

        async def nothing(_: Load) -> None:
            pass

        load = Load(self.server, allowed=allowed)
        with (
            patch("devtools.reliability.writes.talking", talking),
            patch("devtools.reliability.writes.PAUSE_SECONDS", 0),
        ):
            asyncio.run(load.run(count, nothing))
        self.assertEqual(load.acknowledged, count)
        return load

    def problems(self, load: Load) -> list[str]:
        """Return what is told now, of what is committed."""
        self.connection.rollback()
        return load.problems()

    def forget(self) -> None:
        """Have the database as before, but for the profile of the volunteer."""
        for query in (
            "DELETE FROM ctj_api_opportunity",
            "DELETE FROM django_admin_log",
            "DELETE FROM ctj_api_userprofile WHERE email LIKE 'new%'",
        ):
            self.connection.execute(query.encode())
        self.connection.commit()

    def assert_told(self, problems: list[str], expected: list[str]) -> None:
        """Check that problems are those that begin so, and no others."""
        self.assertEqual([problem[: len(start)] for problem, start in zip(problems, expected, strict=False)], expected)
        self.assertEqual(len(problems), len(expected), problems)

    def test_each_damage_is_told_and_nothing_else(self) -> None:
        """One thing at a time is lost, is another, or is there twice."""
        load = self.written()
        self.assertEqual(self.problems(load), [])
        for damage, expected in DAMAGES.items():
            with self.subTest(damage):
                self.connection.rollback()
                self.assertGreater(self.connection.execute(damage.encode()).rowcount, 0)
                self.assert_told(load.problems(), expected)

    def test_other_statuses_are_told(self) -> None:
        """Who gets one knows neither that it is done nor that it can be sent again."""
        for status in ("302", "400", "404", "429", "500", "502", CUT_OFF):
            with self.subTest(status):
                load = self.written(1, client=FakeClient({1: status}))
                self.assert_told(self.problems(load), [f"a write was answered with {status}: "])
                self.forget()

    def test_status_of_success_that_was_not_expected_is_told(self) -> None:
        """And taken for an acknowledgment."""
        load = self.written(1, client=FakeClient({1: "204"}))
        self.assert_told(self.problems(load), ["a write was answered with 204: ", "listing 1 is lost"])

    def test_what_was_not_acknowledged_may_be_there_or_not(self) -> None:
        """A listing, the last change of a profile and an account."""
        for are_done in (False, True):
            client = FakeClient({13: "503", 19: CUT_OFF, 20: "503"}, are_done)
            self.assertEqual(self.problems(self.written(allowed=(CUT_OFF,), client=client)), [])
            self.assertEqual(client.sent, 23)
            self.forget()

    def test_what_was_not_acknowledged_is_not_there_by_half(self) -> None:
        """Its damages are told as those of what was."""
        load = self.written(client=FakeClient({3: "503", 10: "503", 19: "503"}, are_done=True))
        self.assertEqual(self.problems(load), [])
        for damage, expected in DAMAGES_BY_HALF.items():
            with self.subTest(damage):
                self.connection.rollback()
                self.assertGreater(self.connection.execute(damage.encode()).rowcount, 0)
                self.assert_told(load.problems(), expected)


class FuzzTests(TestCase):
    """What is told of Schemathesis' reports."""

    def problems(self, **changes: Any) -> list[str]:
        """Return what is told of a report without fault, but for ``changes``."""
        report = {
            "failures": [],
            "errors": [],
            "stop_reason": "completed",
            "operations": {"tested": 9, "selected": 9},
            **changes,
        }
        return list(fuzz.problems_of(fuzz.Trial("a volunteer", None, 1), report))

    def test_failures_are_told(self) -> None:
        """With how often they were met."""
        self.assertEqual(self.problems(), [])
        failures = [{"title": "Server error", "count": 2}]
        self.assertEqual(self.problems(failures=failures), ["as a volunteer: Server error (2 times)"])

    def test_trial_without_its_end_is_told(self) -> None:
        """For whatever reason it has none."""
        for changes, told in (
            ({"stop_reason": "max_time"}, "as a volunteer: not tried to the end: max_time, 0 errors"),
            ({"errors": [{}]}, "as a volunteer: not tried to the end: completed, 1 errors"),
            ({"operations": {"tested": 8, "selected": 9}}, "as a volunteer: not all operations were tried"),
        ):
            with self.subTest(told):
                self.assertEqual(self.problems(**changes), [told])

    def test_trial_that_never_began_is_told(self) -> None:
        """As when the server did not give its schema."""
        problems = self.problems(operations=None, stop_reason="error", errors=[{"title": "Schema Loading Error"}])
        self.assertIn("as a volunteer: nothing was tried: Schema Loading Error", problems)

    def test_failures_in_the_log_are_told_with_the_first(self) -> None:
        """Whatever Schemathesis was told; other statuses are none."""
        with TemporaryDirectory() as folder:
            log = Path(folder, "log")
            log.write_text('{"status":200}\n{"status":404}\n')
            self.assertEqual(list(fuzz.server_errors(log)), [])
            log.write_text('{"status":200}\n{"n":1,"status":500}\n{"n":2,"status":503}\n')
            told = ['2 answers of 5xx in the log, the first: {"n":1,"status":500}']
            self.assertEqual(list(fuzz.server_errors(log)), told)


class AttackTests(TestCase):
    """What is told of connections."""

    def setUp(self) -> None:
        """Have both ends of a connection."""
        self.client, self.server = socket.socketpair()
        self.addCleanup(self.client.close)
        self.addCleanup(self.server.close)

    def test_connection_is_open_until_the_server_closes_it_or_answers(self) -> None:
        """One that was thrown away is not one that is kept."""
        self.assertTrue(is_open(self.client))
        self.server.send(b"H")
        self.assertFalse(is_open(self.client))
        self.assertTrue(is_open(self.client))
        self.server.close()
        self.assertFalse(is_open(self.client))

    def slow_client(self, lasted: float | None, answer: bytes = b"HTTP/1.1 408 Request Timeout\r\n") -> SlowClient:
        """Return a client that was cut off after so many seconds, with an answer."""
        return SlowClient(self.client, b"", answer=answer, lasted=lasted)

    def test_slow_client_sends_until_it_is_answered(self) -> None:
        """A byte each time."""
        self.client.setblocking(False)
        client = SlowClient(self.client, b"abc")
        client.go_on()
        client.go_on()
        self.assertEqual((self.server.recv(9), client.lasted), (b"ab", None))
        self.server.send(b"HTTP/1.1 408 ")
        client.go_on()
        self.assertEqual(client.answer, b"HTTP/1.1 408 ")
        self.assertIsNotNone(client.lasted)

    def test_slow_client_that_was_told_in_time_is_right(self) -> None:
        """All others are problems: who is still there, who had no time, who was told something else or nothing."""
        right = self.slow_client(LIMIT_SECONDS)
        self.assertEqual(list(problems_of([right, right])), [])
        for wrong, told in (
            (self.slow_client(None), "1 of 2 are still there after 15 s"),
            (self.slow_client(LIMIT_SECONDS - 1), "1 of 2 were cut off before the limit"),
            (self.slow_client(LIMIT_SECONDS, b""), "1 of 2 were not told 408"),
            (self.slow_client(LIMIT_SECONDS, b"HTTP/1.1 400 Bad Request\r\n"), "1 of 2 were not told 408"),
        ):
            with self.subTest(told):
                self.assertEqual(list(problems_of([wrong, right])), [told])


class PortTests(TestCase):
    """Ports for servers."""

    def test_reserved_port_is_free_for_who_knows_it(self) -> None:
        """Nobody listens there until a server does, and whoever asks for any port gets another one."""
        with reserved_port() as port:
            self.assertRaises(ConnectionRefusedError, socket.create_connection, (ADDRESS, port))
            with socket.create_server((ADDRESS, 0)) as other:
                self.assertNotEqual(other.getsockname()[1], port)
            with socket.create_server((ADDRESS, port)), socket.create_connection((ADDRESS, port)) as client:
                self.assertEqual(client.getpeername(), (ADDRESS, port))


class HistoryTests(TestCase):
    """The version before, which the history of Git has."""

    def setUp(self) -> None:
        """Have a repository of one commit, as a shallow clone is."""
        self.folder = Path(self.enterContext(TemporaryDirectory()))
        (self.folder / "ctj_api" / "migrations").mkdir(parents=True)
        (self.folder / "ctj_api" / "migrations" / "0001_initial.py").touch()
        self.git("init", "--quiet")
        self.commit()
        self.enterContext(patch.object(migrations, "BASE_DIR", self.folder))
        self.enterContext(patch.dict(os.environ, {"REQUIRE_HISTORY": ""}))
        self.now = Version(self.folder, {})
        self.before = Path(self.enterContext(TemporaryDirectory()))

    def git(self, *arguments: str) -> None:
        """Run Git in the repository."""
        author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        subprocess.run(["git", *author, *arguments], cwd=self.folder, check=True)

    def commit(self) -> None:
        """Commit all there is."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "--message=A commit")

    def test_version_before_has_all_but_the_newest_migration(self) -> None:
        """Whether or not that is committed."""
        (self.folder / "ctj_api" / "migrations" / "0002_second.py").touch()
        self.assertEqual(version_before(self.now, self.before).migrations(), ["0001_initial"])
        self.commit()
        self.assertEqual(version_before(self.now, self.before).migrations(), ["0001_initial"])

    def test_shallow_clone_is_a_failure_where_the_history_is_required(self) -> None:
        """Elsewhere that half is skipped."""
        with self.assertRaisesRegex(SkippedError, "git archive says"):
            version_before(self.now, self.before)
        with (
            patch.dict(os.environ, {"REQUIRE_HISTORY": "true"}),
            self.assertRaisesRegex(ReliabilityError, "git archive says.*git fetch --unshallow"),
        ):
            version_before(self.now, self.before)
