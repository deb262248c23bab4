"""The harness of the faults: what it tells, and that it fails where something was lost."""

import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase
from unittest.mock import patch

from backend.embedded_postgres import data_directory
from reliability import __main__ as command
from reliability.report import BEGIN, END, PAGE, Report
from reliability.scenario import FULL, SMALL, Outcome, ReliabilityError, Scale, Scenario, SkippedError, lost, worst
from reliability.scenarios import SCENARIOS
from reliability.servers import Account, Content
from reliability.writes import Attempt, Profile, answers

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

    def test_page_is_written_between_its_marks(self) -> None:
        """The text around the table stays."""
        self.assertEqual(self.run_with(HELD, arguments=("--write",)), 0)
        page = self.page.read_text()
        self.assertTrue(page.startswith(f"before\n{BEGIN}\n") and page.endswith(f"{END}\nafter\n"), page)
        self.assertIn("| the title of 0 | many times | nothing | 1.5 s | `.venv/bin/python -m reliability 0` |", page)
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
