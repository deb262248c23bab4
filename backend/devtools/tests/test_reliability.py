"""The trials of reliability: what they tell, and that they fail where something was lost."""

import json
import os
import subprocess
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import SkipTest, TestCase
from unittest.mock import Mock, patch

from django.test import Client, TransactionTestCase

from ctj_api.tests import common
from devtools.benchmarks.client import CUT_OFF, Reply
from devtools.benchmarks.report import BEGIN, END
from devtools.reliability import __main__ as command
from devtools.reliability.scenario import Outcome, ReliabilityError, Scenario
from devtools.reliability.scenarios import fuzz, migrations
from devtools.reliability.servers import Content
from devtools.reliability.writes import Load, levels_of, write_of

HELD = Outcome("10 times", "nothing", "1.5 s")
LOST = Outcome("10 times", "a row", "-", ("a | row is lost", "another one, too"))


class CommandTests(TestCase):
    """The exit code, and what is printed and written."""

    def setUp(self) -> None:
        """Have a page and a data folder that nobody else has."""
        folder = Path(self.enterContext(TemporaryDirectory()))
        self.page = folder / "reliability.md"
        self.page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
        self.enterContext(patch.object(command, "PAGE", self.page))
        self.enterContext(patch.dict(os.environ, {"DATA_DIR": str(folder)}))
        self.enterContext(patch("signal.signal"))
        self.output = self.enterContext(redirect_stdout(StringIO()))
        self.messages = self.enterContext(redirect_stderr(StringIO()))

    def run_with(self, *told: Outcome | Exception, arguments: tuple[str, ...] = ()) -> int:
        """Return the exit code of a run of scenarios that come to an outcome or an exception each."""
        runs = [Mock(side_effect=[each]) for each in told]
        scenarios = {str(n): Scenario(str(n), f"title {n}", "all must hold", run) for n, run in enumerate(runs)}
        with patch.object(command, "SCENARIOS", scenarios):
            return command.main(list(arguments))

    def test_all_that_holds_is_success_and_is_written(self) -> None:
        """What can't be tried here is no failure, and says so; the text around the table stays."""
        self.assertEqual(self.run_with(HELD, SkipTest("needs root"), arguments=("--write",)), 0)
        page = self.page.read_text()
        self.assertTrue(page.startswith(f"before\n{BEGIN}\n") and page.endswith(f"{END}\nafter\n"), page)
        self.assertIn("title 0 | 10 times | nothing | 1.5 s | `.venv/bin/python -m devtools.reliability 0` |", page)
        self.assertIn("skipped: needs root", page)
        self.assertNotIn("old", page)

    def test_problem_is_failure_and_nothing_is_written(self) -> None:
        """Each problem is told with the name of its scenario; the others are tried all the same."""
        self.assertEqual(self.run_with(LOST, HELD, arguments=("--write",)), 1)
        self.assertIn("FAILED: 0: another one, too", self.messages.getvalue())
        self.assertIn("title 1", self.output.getvalue())
        self.assertIn("old", self.page.read_text())

    def test_trial_that_breaks_off_is_failure(self) -> None:
        """What was not seen is not taken for held, whether it fails alone or in a group of tasks."""
        error = ReliabilityError("no answer")
        for told in (error, TimeoutError("no answer"), ExceptionGroup("tasks", [error])):
            with self.subTest(told):
                self.assertEqual(self.run_with(told), 1)
                self.assertRegex(self.messages.getvalue(), r"FAILED: 0: .*Error(: |\(')no answer")

    def test_run_takes_those_named_and_leaves_no_setting(self) -> None:
        """The databases and the settings of a run go with it."""
        before = dict(os.environ)
        self.assertEqual(self.run_with(LOST, HELD, arguments=("--small", "1")), 0)
        self.assertNotIn("title 0", self.output.getvalue())
        self.assertEqual(dict(os.environ), before)


class OracleTests(TransactionTestCase):
    """What is told of writes through the real API, whose rows are damaged afterwards."""

    def setUp(self) -> None:
        """Have a volunteer, a project manager, a catalog and a load of twenty requests that were all answered."""
        self.content = Content(
            volunteers=self.signed_in(common.make_regular_user(email="ana@example.org", first_name="")),
            managers=self.signed_in(common.make_pm_user(email="pm@example.org")),
            skills=[str(common.make_skill().pk) for _ in range(8)],
            projects=[str(common.make_project().pk)],
            roles=[str(common.make_role().pk)],
            communities=[str(common.make_cop().pk)],
        )
        self.database = self.enterContext(common.other_connection())
        self.load = Load(Mock(content=self.content, database=lambda: nullcontext(self.database)))

    def signed_in(self, user: Any) -> dict[str, str]:
        """Return the e-mail address and a session of somebody."""
        return {user.email: common.form_client(user).cookies["sessionid"].value}

    def write(self, number: int, status: str = "", is_done: bool = True) -> None:
        """Carry out a request, or don't, and have it answered with its own status or with another one."""
        write = write_of(self.content, "ana@example.org", number)
        reply = Reply(0, status)
        if is_done:
            path, method, headers, body = write.request
            response = Client().generic(method, path, json.dumps(body), "application/json", headers=headers)
            cookie = response.cookies.get("sessionid")
            session = cookie.value if cookie else ""
            reply = Reply(0, status or str(response.status_code), {}, response.content, session)
        self.load.note(write, reply)

    def test_writes_that_are_all_there_are_no_problem(self) -> None:
        """Of all kinds, and each profile as it was saved last; its matrix tells which write it is of."""
        for number in range(1, 21):
            self.write(number)
        self.assertEqual(self.load.problems(), [])
        self.assertEqual(self.load.acknowledged, 18)
        self.assertEqual(len({str(levels_of(self.content, number)) for number in range(2000)}), 2000)

    def test_damage_is_told(self) -> None:
        """What was acknowledged and is gone, was changed, is there twice, or is there by half."""
        for number in range(1, 21):
            self.write(number)
        third = "(SELECT id::text FROM ctj_api_opportunity WHERE body = 'Listing 3')"
        gone = "DELETE FROM ctj_api_userprofile WHERE email = 'new10@example.org'"
        copied = "SELECT now(), user_id, content_type_id, object_id, '', 1, '' FROM django_admin_log"
        columns = "action_time, user_id, content_type_id, object_id, object_repr, action_flag, change_message"
        for damage, told in (
            (f"INSERT INTO django_admin_log ({columns}) {copied} WHERE object_id = {third}", "without one entry"),
            (f"DELETE FROM django_admin_log WHERE object_id = {third}", "a listing without one entry"),
            ("DELETE FROM ctj_api_opportunity WHERE body = 'Listing 4'", "Listing 4 is None"),
            ("UPDATE ctj_api_opportunity SET min_hours_required = 40 WHERE body = 'Listing 3'", "Listing 3 is [40"),
            ("UPDATE ctj_api_opportunity SET created_by_id = NULL WHERE body = 'Listing 3'", "Listing 3 is [3"),
            ("UPDATE ctj_api_opportunity SET body = 'Listing 3' WHERE body = 'Listing 2'", "1 listings are there tw"),
            ("UPDATE ctj_api_userprofile SET max_available_hours = 1 WHERE email LIKE 'ana%'", "ana@example.org is ["),
            ("UPDATE ctj_api_skillmatrix SET levels = '{}'", "ana@example.org is ["),
            ("INSERT INTO ctj_api_skillmatrix VALUES (gen_random_uuid(), now(), now(), '{}')", "a matrix without"),
            ("DELETE FROM django_session", " is None, none of 1 that"),
            (f"DELETE FROM ctj_api_accountsession; {gone}", "new10@example.org is None"),
        ):
            with self.subTest(damage):
                self.database.rollback()
                self.assertEqual(self.load.problems(), [])
                self.assertGreater(self.database.execute(damage.encode()).rowcount, 0)
                self.assertIn(told, str(self.load.problems()))

    def test_write_without_acknowledgement_may_be_done_or_not(self) -> None:
        """But not by half: a listing, a profile until its next acknowledged change, and an account."""
        for is_done in (True, False):
            for number in (5, 12, 16, 20) if is_done else (25, 32, 36, 40):
                self.write(number, "" if number in {5, 25} else "503", is_done or number == 25)
            self.assertEqual(self.load.problems(), [])
        self.database.execute("UPDATE ctj_api_opportunity SET min_hours_required = 40")
        self.assertIn("Listing 12 is [40", str(self.load.problems()))
        self.load.note(write_of(self.content, "ana@example.org", 46), Reply(0, "200"))
        self.assertIn("ana@example.org is [", str(self.load.problems()))

    def test_status_that_is_not_allowed_is_told(self) -> None:
        """A 500, or a connection that was cut where nobody killed the server; a refusal with 503 is allowed."""
        for status in ("503", "500", CUT_OFF):
            self.write(11, status, is_done=False)
        told = "GET /api/opportunities/:"
        self.assertEqual(self.load.problems(), [f"{told} 500 b''", f"{told} {CUT_OFF} b''"])


class ScenarioTests(TestCase):
    """What is told of Schemathesis' reports and of the server's log, and which version is the one before."""

    def test_failures_and_trials_without_an_end_are_told(self) -> None:
        """With how often they were met, or why it ended; of those in the log, the first."""
        held = {"failures": [], "errors": [], "stop_reason": "completed", "operations": {"tested": 9, "selected": 9}}
        self.assertEqual(list(fuzz.problems_of(held)), [])
        for changes, told in (
            ({"failures": [{"title": "Server error", "count": 2}]}, "Server error (2 times)"),
            ({"stop_reason": "max_time"}, "not tried to the end: max_time, errors: []"),
            ({"errors": ["gone"]}, "not tried to the end: completed, errors: ['gone']"),
            ({"operations": {"tested": 8, "selected": 9}}, "not all operations were tried"),
            ({"operations": None}, "not all operations were tried"),
        ):
            with self.subTest(told):
                self.assertEqual(list(fuzz.problems_of(held | changes)), [told])
        self.assertEqual(list(fuzz.server_errors('{"status":200}\n{"status":404}\n')), [])
        first = '2 answers of 5xx in the log, the first: {"n":1,"status":500}'
        self.assertEqual(list(fuzz.server_errors('{"n":1,"status":500}\n{"n":2,"status":503}\n')), [first])

    def test_version_before_has_all_but_the_newest_migration(self) -> None:
        """In a clone that lacks it, that is a failure where the history is required, and skipped elsewhere."""
        folder, before = (Path(self.enterContext(TemporaryDirectory())) for _ in range(2))
        (folder / "ctj_api" / "migrations").mkdir(parents=True)
        self.enterContext(patch.object(migrations, "BASE_DIR", folder))
        git = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org")
        subprocess.run([*git, "init", "--quiet"], cwd=folder, check=True)
        for name in ("0001_initial", "0002_second"):
            (folder / "ctj_api" / "migrations" / f"{name}.py").write_text(name)  # of the same text one is a copy
            for arguments in (("add", "--all"), ("commit", "--quiet", "--no-verify", "-mA commit")):
                subprocess.run([*git, *arguments], cwd=folder, check=True)
            if name == "0001_initial":
                for required, error in (("", SkipTest), ("true", ReliabilityError)):
                    with patch.dict(os.environ, {"REQUIRE_HISTORY": required}), self.assertRaises(error):
                        migrations.extract_version_before(before)
        migrations.extract_version_before(before)
        self.assertEqual(migrations.migrations_of(before), ["0001_initial"])
