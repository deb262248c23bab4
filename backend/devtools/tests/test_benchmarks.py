"""The benchmarks' own arithmetic. That they run, and that both sides give the same, ``--small`` shows."""

from contextlib import redirect_stderr
from io import StringIO
from typing import Any
from unittest import IsolatedAsyncioTestCase
from unittest.mock import patch

from aiohttp import web
from aiohttp.test_utils import TestServer
from django.test import SimpleTestCase

from devtools.benchmarks.__main__ import main
from devtools.benchmarks.client import Outcome
from devtools.benchmarks.load import read_level
from devtools.benchmarks.measure import BenchmarkError, Comparison, Target, Unit, alternate_figures, check
from devtools.benchmarks.plan import SMALL
from devtools.benchmarks.report import Report
from devtools.benchmarks.throughput import Driver, percentiles


def comparison(ours: float, theirs: float, unit: Unit, target: Target) -> Comparison:
    """Return a row of the table."""
    return Comparison("ours", "theirs", ours, theirs, unit, target)


class ComparisonTests(SimpleTestCase):
    """Which way round a ratio is."""

    def test_time_with_least_target_tells_how_many_times_as_fast(self) -> None:
        """The reference's time by ours."""
        row = comparison(2, 10, Unit.SECONDS, Target(5))
        self.assertEqual(row.ratio, 5)
        self.assertTrue(row.target.is_met(row.ratio))
        self.assertFalse(Target(5.1).is_met(row.ratio))

    def test_time_with_most_target_tells_how_many_times_as_long(self) -> None:
        """Our time by the reference's."""
        row = comparison(20, 10, Unit.SECONDS, Target(2, is_most=True))
        self.assertEqual(row.ratio, 2)
        self.assertTrue(row.target.is_met(row.ratio))
        self.assertFalse(Target(1.9, is_most=True).is_met(row.ratio))

    def test_throughput_tells_how_many_times_as_much(self) -> None:
        """Ours by the reference's."""
        self.assertEqual(comparison(300, 100, Unit.PER_SECOND, Target(2)).ratio, 3)

    def test_memory_tells_how_much_more(self) -> None:
        """A difference."""
        self.assertEqual(comparison(130, 80, Unit.MEGABYTES, Target(120, is_most=True)).ratio, 50)


class MeasureTests(SimpleTestCase):
    """Taking turns."""

    def test_figures_are_taken_in_turn_without_first_ones(self) -> None:
        """One turn warms up, and the medians of the others are told."""
        turns: list[str] = []
        figures = {"a": iter([100.0, 1, 3, 2]), "b": iter([100.0, 6, 4, 5])}

        def take(name: str) -> float:
            turns.append(name)
            return next(figures[name])

        self.assertEqual(alternate_figures(3, lambda: take("a"), lambda: take("b")), [2, 5])
        self.assertEqual("".join(turns), "abababab")

    def test_check_of_what_is_not_so_raises(self) -> None:
        """And is silent where it is so."""
        check(True, "never told")
        with self.assertRaisesMessage(BenchmarkError, "told"):
            check(False, "told")


class DriverTests(IsolatedAsyncioTestCase):
    """The client of many connections."""

    async def test_answers_are_counted_by_status(self) -> None:
        """Refusals with Retry-After apart from those without, lost connections by their exception."""
        application = web.Application()
        application.router.add_get("/{status}/", _answer)
        async with TestServer(application) as server:
            requests: list[dict[str, Any]] = [
                {"method": "GET", "path": path, "headers": {}, "body": None, "kind": path}
                for path in ("/200/", "/503/", "/503/?retry", "/0/")
            ]
            plan = {"base": str(server.make_url("/")), "requests": requests, "connections": 2, "seconds": 0.2}
            outcome = Outcome(**await Driver(plan).run())
        self.assertEqual(
            set(outcome.counts), {"200", "503", "503 with Retry-After", "ServerDisconnectedError"}, outcome.counts
        )
        self.assertEqual(set(outcome.latencies), {"p50", "p95", "p99"})
        self.assertEqual(set(outcome.medians), {"/200/"})
        self.assertAlmostEqual(outcome.throughput, outcome.counts["200"] / outcome.seconds)

    def test_percentiles_are_times_that_were_taken(self) -> None:
        """The least that so many per cent don't exceed; none of none."""
        self.assertEqual(percentiles([float(time) for time in range(200, 0, -1)]), {"p50": 100, "p95": 190, "p99": 198})
        self.assertEqual(percentiles([7.0]), {"p50": 7, "p95": 7, "p99": 7})
        self.assertEqual(percentiles([]), {})


class LoadTests(SimpleTestCase):
    """What is told of a level."""

    def test_refusals_in_good_order_are_apart_from_failures(self) -> None:
        """Only 503 with Retry-After is one."""
        counts = {"200": 80, "304": 20, "503 with Retry-After": 3, "503": 2, "TimeoutError": 1}
        level = read_level(5, Outcome(10, counts, {"p50": 0.1}, {}))
        self.assertEqual((level.throughput, level.refused), (10, 3))
        self.assertEqual(level.failures, {"503": 2, "TimeoutError": 1})


class ReportTests(SimpleTestCase):
    """The page and the command."""

    def test_page_has_each_row_with_its_note(self) -> None:
        """Beside the command and the sizes; a target that is missed stands out."""
        met = Comparison("ours", "theirs", 0.002, 0.012, Unit.SECONDS, Target(5), "a note")
        missed = comparison(3, 1, Unit.SECONDS, Target(2, is_most=True))
        rows = [("first", met), ("second", missed)]
        page = Report("the command", SMALL, False, "PostgreSQL", rows, [("third", "no reason")], None).markdown()
        self.assertIn("| first | ours | 2.00 ms | theirs | 12.00 ms | 6.00 x | ≥ 5 x | yes |", page)
        self.assertIn("| second | ours | 3.00 s | theirs | 1.00 s | 3.00 x | ≤ 2 x | **no** |", page)
        for text in ("- `first`: a note.", "- `third` was skipped, for no reason.", "`the command`", "400 / 400"):
            self.assertIn(text, page)

    def test_page_of_some_benchmarks_is_refused(self) -> None:
        """It would lose the others."""
        for arguments in (["--write", "search"], ["--write", "--small"]):
            with (
                patch("devtools.benchmarks.__main__._database", side_effect=AssertionError),
                redirect_stderr(StringIO()) as told,
                self.assertRaises(SystemExit),
            ):
                main(arguments)
            self.assertIn("--write takes all benchmarks at full size", told.getvalue())


async def _answer(request: web.Request) -> web.Response:
    status = int(request.match_info["status"])
    if not status and request.transport:
        request.transport.abort()
    return web.Response(status=status or 200, headers={"Retry-After": "1"} if request.query_string else {})
