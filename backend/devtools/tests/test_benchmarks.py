"""The benchmarks' own arithmetic. That they run, and that both sides give the same, ``--small`` shows."""

import time
from contextlib import redirect_stderr
from io import StringIO
from itertools import cycle
from unittest import IsolatedAsyncioTestCase
from unittest.mock import Mock, patch

from aiohttp import web
from aiohttp.test_utils import TestServer
from django.test import SimpleTestCase

from devtools.benchmarks.__main__ import BENCHMARKS, main, measure
from devtools.benchmarks.client import CUT_OFF, RETRY_LATER, Outcome, Reply, Request, keep_sending, open_session
from devtools.benchmarks.load import cells
from devtools.benchmarks.measure import Comparison, Unit, alternate_figures, percentiles


class MeasureTests(SimpleTestCase):
    """What is made of figures."""

    def test_ratio_follows_the_unit_and_the_target(self) -> None:
        """A time is compared as often as fast or as often as long, a throughput as much, memory by the difference."""
        for row, ratio, met in (
            (Comparison("", "", 2, 10, 5), "5.00 x", "yes"),
            (Comparison("", "", 2, 10, 5.1), "5.00 x", "**no**"),
            (Comparison("", "", 20, 10, 2, is_most=True), "2.00 x", "yes"),
            (Comparison("", "", 20, 10, 1.9, is_most=True), "2.00 x", "**no**"),
            (Comparison("", "", 300, 100, 2, unit=Unit.PER_SECOND), "3.00 x", "yes"),
            (Comparison("", "", 130, 80, 40, is_most=True, unit=Unit.MEGABYTES), "50.00 MB", "**no**"),
        ):
            with self.subTest(row=row):
                cells_of_row = row.cells()
                self.assertEqual((cells_of_row[4], cells_of_row[6]), (ratio, met))

    def test_figures_are_taken_in_turn_without_the_first_ones(self) -> None:
        """One turn warms up, and the medians of the others are told."""
        turns: list[str] = []
        figures = {"a": iter([100.0, 1, 3, 2]), "b": iter([100.0, 6, 4, 5])}

        def take(name: str) -> float:
            turns.append(name)
            return next(figures[name])

        self.assertEqual(alternate_figures(3, lambda: take("a"), lambda: take("b")), [2, 5])
        self.assertEqual("".join(turns), "abababab")

    def test_percentiles_are_times_that_were_taken(self) -> None:
        """The smallest that so many per cent don't exceed; none of none."""
        self.assertEqual(percentiles([float(time) for time in range(200, 0, -1)]), [100, 190, 198])
        self.assertEqual(percentiles([7.0]), [7, 7, 7])
        self.assertEqual(percentiles([]), [])


class LoadTests(IsolatedAsyncioTestCase):
    """The client of many connections, and what is told of it."""

    async def test_replies_are_counted_by_what_became_of_them(self) -> None:
        """Refusals with Retry-After are apart from those without, and cut connections count as such."""
        application, outcome = web.Application(), Outcome()
        application.router.add_get("/{status}/", answer)
        paths = ("/200/", "/503/", "/503/?retry", "/0/")
        async with TestServer(application) as server, await open_session(server.port or 0) as session:
            requests = cycle([Request(path, kind=path) for path in paths])
            while len(outcome.counts) < len(paths):
                await keep_sending(session, requests, time.monotonic() + 0.1, outcome)
        self.assertEqual(set(outcome.counts), {"200", "503", RETRY_LATER, CUT_OFF})
        self.assertEqual(list(outcome.times), ["/200/"])
        outcome.seconds = 0.5
        self.assertEqual(outcome.throughput, 2 * outcome.counts["200"])

    def test_level_tells_refusals_apart_from_failures(self) -> None:
        """Only a 503 that says when to come back is a refusal in good order."""
        outcome = Outcome(seconds=10)
        for status, count in (("200", 80), ("304", 20), ("503", 2), (CUT_OFF, 1)):
            for _ in range(count):
                outcome.note("listing", Reply(0, status), 0.25)
        outcome.note("listing", Reply(0, "503", {"Retry-After": "1"}), 0.25)
        row = cells(5, outcome)
        self.assertEqual((row[:3], row[-2:]), (["5", "10 /s", "250.00 ms"], ["1", "**2 x 503**, **1 x cut off**"]))


class CommandTests(SimpleTestCase):
    """The tables, and when there are none."""

    def test_tables_have_what_ran_and_failures_the_rest(self) -> None:
        """One benchmark that fails doesn't keep the others from being told."""
        works, fails = Mock(return_value=[Comparison("ours", "theirs", 1, 6, 5)]), Mock(side_effect=OSError("gone"))
        with patch.dict(BENCHMARKS, {"works": works, "fails": fails}), redirect_stderr(StringIO()):
            text, failures = measure(Mock(), ["fails", "works"])
        self.assertIn("| works | ours | 1.00 s | theirs | 6.00 s | 6.00 x | ≥ 5 x | yes |", text)
        self.assertEqual(failures, ["fails: OSError: gone"])

    def test_page_of_some_benchmarks_is_refused(self) -> None:
        """It would lose the others."""
        for arguments in (["--write", "search"], ["--write", "--small"]):
            with redirect_stderr(StringIO()) as told, self.assertRaises(SystemExit):
                main(arguments)
            self.assertIn("--write takes all of them at full size", told.getvalue())


async def answer(request: web.Request) -> web.Response:
    """Answer with the status of the path; with none, cut the connection."""
    status = int(request.match_info["status"])
    if not status and request.transport:
        request.transport.abort()
    return web.Response(status=status or 200, headers={"Retry-After": "1"} if request.query_string else {})
