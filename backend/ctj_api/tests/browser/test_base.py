"""What every browser test checks is really checked."""

import os
import unittest
from pathlib import Path
from unittest import mock

from django.http import HttpRequest, HttpResponse
from django.test import SimpleTestCase, override_settings
from django.urls import path
from playwright.sync_api import Page

from .base import NARROW, WIDE, BrowserTestCase, browser_path

HTML = '<!doctype html><html lang="en"><head><title>Tried</title><link rel="icon" href="data:,"></head><body>{}</body>'
SOUND = "<main><h1>Tried</h1><p>Nothing is wrong.</p></main>"


def show(request: HttpRequest) -> HttpResponse:
    """Return the page that the query gives the body of."""
    return HttpResponse(HTML.format(request.GET.get("body", SOUND)))


def fail(_request: HttpRequest) -> HttpResponse:
    """Return what an error of the server does."""
    return HttpResponse("Failed", status=500)


urlpatterns = [path("show/", show), path("fail/", fail)]


class BrowserPathTests(SimpleTestCase):
    """Which browser is taken."""

    def test_tests_without_browser_are_skipped_with_a_word_or_fail(self) -> None:
        """A developer may do without it, and the checks may not; a wrong name is not replaced in silence."""
        for named, insisted, outcome in (
            ("", "", unittest.SkipTest),
            ("", "true", AssertionError),
            ("no-such-browser", "true", AssertionError),
        ):
            environment = {"CHROMIUM": named, "REQUIRE_BROWSER": insisted} | ({} if named else {"PATH": ""})
            with (
                self.subTest(environment),
                mock.patch.dict(os.environ, environment),
                self.assertRaisesRegex(outcome, "Chromium is not installed"),
            ):
                browser_path()
        with mock.patch.dict(os.environ, {"CHROMIUM": "sh"}):
            self.assertEqual(Path(browser_path()).name, "sh")


@override_settings(ROOT_URLCONF=__name__)
@override_settings(SECURE_CSP={})  # pages that misbehave need leave to do so
class WatchTests(BrowserTestCase):
    """Each thing that a page must not do is found."""

    def show(self, body: str = SOUND, **options: int) -> Page:
        """Open a page with ``body``."""
        page = self.open_page(**options)  # type: ignore[arg-type]
        page.goto("/show/")
        page.evaluate("(html) => { document.body.innerHTML = html }", body)
        return page

    def test_misbehaving_page_is_named_with_what_it_did(self) -> None:
        """In the console, in a script, on the server, and on other hosts, which it does not reach."""
        cases = {
            "error on the console: oh no": "console.error('oh no')",
            "error of a script: .*oh no": "setTimeout(() => { throw new Error('oh no') })",
            "status 500: GET .*/fail/": "fetch('/fail/')",
            "status 404: GET .*/nowhere/": "fetch('/nowhere/')",
            "request to another host: http://example.org/x": "fetch('http://example.org/x').catch(() => 0)",
            "request to another host: ws://example.org/": "new WebSocket('ws://example.org/')",
            "request to another host: .*7/x": "document.body.innerHTML = '<img src=//127.0.0.7/x>'",
        }
        for problem, script in cases.items():
            page = self.show()
            with self.subTest(problem), self.assertRaisesRegex(AssertionError, problem):
                page.evaluate(f"() => {{ {script} }}")
                page.wait_for_timeout(100)
                self.assert_no_problems()

    def misbehave(self) -> None:
        """Do, as a test of its own, what no page may, and ask nothing."""
        self.show().evaluate("console.error('oh no')")

    def test_problem_that_nobody_asks_about_fails_the_test(self) -> None:
        """At its end, with a picture of the page."""
        result = unittest.TestResult()
        type(self)("misbehave").run(result)
        [(_, told)] = result.failures
        self.assertIn("error on the console: oh no", told)
        picture = Path(told.rpartition("looked like ")[2].strip())
        self.assertTrue(picture.read_bytes().startswith(b"\x89PNG"))

    def test_inaccessible_page_is_named_with_rule_and_element(self) -> None:
        """One rule of WCAG, one of its AA, one of best practice; other pages and rules pass."""
        for rule, body in (
            ("image-alt", '<main><h1>Tried</h1><img src="data:," class="bad"></main>'),
            ("color-contrast", '<main><h1>Tried</h1><p class="bad" style="color: #ccc">Pale.</p></main>'),
            ("region", '<main><h1>Tried</h1></main><p class="bad">Outside.</p>'),
        ):
            page = self.show(body)
            for rules in ((), (rule,)):
                with self.subTest(rule), self.assertRaisesRegex(AssertionError, f'{rule}: (?s:.*)class="bad"'):
                    self.assert_accessible(page, rules=rules)
            self.assert_accessible(page, rules=("label",))
        page = self.show(width=NARROW)
        self.assert_accessible(page)
        self.assert_no_horizontal_scrolling(page)
        self.assert_no_problems()

    def test_page_that_is_too_wide_is_named_with_the_element(self) -> None:
        """What scrolls in its own container is not."""
        wide = '<p class="bad" style="width: 600px">Wide.</p>'
        with self.assertRaisesRegex(AssertionError, '210 px wider than the window(?s:.*)class="bad"'):
            self.assert_no_horizontal_scrolling(self.show(f"<style>body {{margin: 0}}</style>{wide}", width=NARROW))
        self.assert_no_horizontal_scrolling(self.show(f'<div style="overflow-x: auto">{wide}</div>', width=NARROW))
        self.assert_no_horizontal_scrolling(self.show(wide, width=WIDE))
