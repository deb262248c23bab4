"""The benchmarks' own arithmetic. That they run, and that both sides give the same, ``--small`` shows."""

import re
import shutil
import subprocess
from contextlib import redirect_stderr
from io import StringIO
from unittest import IsolatedAsyncioTestCase
from unittest.mock import Mock, patch

from aiohttp import web
from aiohttp.test_utils import TestServer
from django.test import SimpleTestCase

from backend.environment import BASE_DIR
from ctj_api.tests.common import run
from devtools.benchmarks.__main__ import BENCHMARKS, PAGE, main, measure
from devtools.benchmarks.client import CUT_OFF, Reply, Request, send_all
from devtools.benchmarks.measure import alternate, compare
from devtools.benchmarks.rows import level

MEASURED = ("serving", "ctj_api/http", "ctj_api/ranking")


class MeasureTests(SimpleTestCase):
    """What is made of figures, the tables, and when there are none."""

    def test_ratio_follows_the_target(self) -> None:
        """A target is how often as fast ours is at least, or how often as long it takes at most."""
        for figures, limit, is_most, ratio, met in (
            ((2, 10), 5, False, "5.00 x", "yes"),
            ((2, 10), 5.1, False, "5.00 x", "**no**"),
            ((20, 10), 2, True, "2.00 x", "yes"),
            ((20, 10), 1.9, True, "2.00 x", "**no**"),
            ((20, 10), 0, False, "0.50 x", "yes"),
        ):
            with self.subTest(figures=figures, limit=limit):
                row = compare("ours", "theirs", figures, limit, is_most)
                self.assertEqual((row["Ratio"], row["Met"]), (ratio, met))

    def test_times_are_taken_in_turn_without_the_first_ones(self) -> None:
        """One turn warms up, the medians of the others count, and of several pairs their mean."""
        turns: list[str] = []
        times = [100.0, 100, 1, 6, 3, 4, 2, 5, 100, 100, 4, 7, 4, 7, 4, 7]
        with patch("devtools.benchmarks.measure.take_time", side_effect=lambda action: [action(), times.pop(0)][1]):
            pairs = [(lambda: turns.append("a"), lambda: turns.append("b"))] * 2
            self.assertEqual(alternate(3, *pairs), (3, 6))
        self.assertEqual("".join(turns), "ab" * 8)

    def test_tables_have_what_ran_and_failures_the_rest(self) -> None:
        """One benchmark that fails doesn't keep the others from being told; the page takes all or none."""
        works, fails = Mock(return_value=[compare("ours", "theirs", (1, 6), 5)]), Mock(side_effect=OSError("gone"))
        with patch.dict(BENCHMARKS, {"works": works, "fails": fails}), redirect_stderr(StringIO()):
            text, failures = measure(Mock(), ["fails", "works"])
        self.assertIn("| works | ours | 1.00 s | theirs | 6.00 s | 6.00 x | ≥ 5 x | yes |", text)
        self.assertEqual(failures, ["fails: OSError: gone"])
        for arguments in (["--write", "writes"], ["--write", "--small"]):  # the page would lose the others
            with redirect_stderr(StringIO()) as told, self.assertRaises(SystemExit):
                main(arguments)
            self.assertIn("--write takes all of them at full size", told.getvalue())


class PageTests(SimpleTestCase):
    """The figures of the docs, which are those of the code beside them."""

    def test_page_is_of_no_commit_before_the_last_change_of_what_it_measures(self) -> None:
        """Where the history isn't there to be asked, as in a shallow clone, nobody can say."""
        [measured] = re.findall(r"^Taken on .* of the commit `(.*?)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
        if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
            self.skipTest("There is no history here to compare the page with: it takes a whole clone.")
        changed = git("log", "-1", "--format=%H", "--", *MEASURED, ":!**/tests/").stdout.strip()
        self.assertRegex(measured, r"^[0-9a-f]{40}$", "The page was written of files that no commit has.")
        is_older = git("merge-base", "--is-ancestor", changed, measured).returncode
        self.assertFalse(is_older, f"Write it anew, with `--write`: {changed} has changed what it measures.")


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask Git, if there is one."""
    return run("git" if shutil.which("git") else "false", *arguments, cwd=BASE_DIR)


class LoadTests(IsolatedAsyncioTestCase):
    """The client of many connections, and what is told of it."""

    async def test_replies_tell_what_became_of_each_request(self) -> None:
        """Each request is sent once, whatever became of the others; cut connections count as such."""
        application = web.Application()
        application.router.add_get("/{status}/", answer)
        requests = [Request(path) for path in ("/200/", "/503/", "/503/?retry", "/0/", "/200/")]
        async with TestServer(application) as server:
            replies = await send_all(server.port or 0, requests, 2)
        self.assertEqual(sorted(reply.status for reply in replies), ["200", "200", "503", "503", CUT_OFF])
        self.assertEqual(sum("Retry-After" in reply.headers for reply in replies), 1)
        self.assertTrue(all(reply.seconds for reply in replies))

    def test_level_tells_refusals_apart_from_failures(self) -> None:
        """Only a 503 that says when to come back is a refusal in good order; the times are of the successful ones."""
        replies = [Reply(0, status, seconds=99) for status in ("503", "503", CUT_OFF)]
        replies += [Reply(0, "503", {"Retry-After": "1"}, seconds=100)]
        replies += [Reply(0, ("200", "304")[number % 2], seconds=number / 1000) for number in range(1001)]
        failures = "2 x 503, 1 x cut off, 1 x 503 with Retry-After"
        row = ["10 /s", "500.00 ms", "950.00 ms", "990.00 ms", failures]
        self.assertEqual(list(level(replies).values()), row)


async def answer(request: web.Request) -> web.Response:
    """Answer with the status of the path; with none, cut the connection."""
    status = int(request.match_info["status"])
    if not status and request.transport:
        request.transport.abort()
    return web.Response(status=status or 200, headers={"Retry-After": "1"} if request.query_string else {})
