"""What all browser tests share: a Chromium, a live server, and what no page may do."""

import os
import re
import shutil
import tempfile
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import Client, override_settings
from django.urls import reverse
from playwright.sync_api import (
    Browser,
    BrowserContext,
    BrowserType,
    ConsoleMessage,
    Page,
    Request,
    Response,
    WebSocket,
    sync_playwright,
)

from ctj_api.models import UserProfile
from ctj_api.tests.common import PASSWORD

from .axe import AXE_OPTIONS, violations

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MS = 10_000
SETTLING_SECONDS = 5
HEADED_SLOW_MOTION_MS = 250

WIDE = 1280
NARROW = 390  # a telephone, held upright

AXE_SCRIPT = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")

# The page's width, that of its window, and which elements stand out, but for those in a container that scrolls.
WIDE_ELEMENTS = """() => {
  const page = document.scrollingElement;
  const right = (element) => Math.round(element.getBoundingClientRect().right);
  const scrolls = (element) => element && element !== page && element !== document.body
    && (getComputedStyle(element).overflowX !== "visible" || scrolls(element.parentElement));
  const wide = [...document.body.querySelectorAll("*")]
    .filter((element) => right(element) > page.clientWidth + 1 && !scrolls(element.parentElement))
    .map((element) => `  up to ${right(element)} px: ${element.cloneNode(false).outerHTML.slice(0, 200)}`);
  return [page.scrollWidth, page.clientWidth, wide.slice(0, 10)];
}"""


def browser_path() -> str:
    """Return the path of the browser; skips the test, or fails it where REQUIRE_BROWSER=true, if there is none."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else EXECUTABLES
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    reason = "Chromium is not installed. The admin was not tried in a browser."
    if os.environ.get("REQUIRE_BROWSER") == "true":
        raise AssertionError(reason)
    raise unittest.SkipTest(reason)


def launch(chromium: BrowserType) -> Browser:
    """Return a running browser; HEADED=true shows it, and slows it down by SLOW_MOTION milliseconds a step."""
    is_headed = os.environ.get("HEADED") == "true"
    return chromium.launch(
        executable_path=browser_path(),
        headless=not is_headed,
        slow_mo=float(os.environ.get("SLOW_MOTION") or HEADED_SLOW_MOTION_MS) if is_headed else 0,
        chromium_sandbox=os.geteuid() != 0,  # it has none for root
        args=["--disable-dev-shm-usage"],  # containers give little shared memory
    )


@override_settings(SESSION_COOKIE_SECURE=False, CSRF_COOKIE_SECURE=False)
class BrowserTestCase(StaticLiveServerTestCase):
    """Opens pages of a live server, and fails where one logs an error, breaks, or asks another host for anything."""

    browser: ClassVar[Browser]

    problems: list[str]
    contexts: list[BrowserContext]
    unanswered: set[Request]

    @classmethod
    def setUpClass(cls) -> None:
        """Start the browser before the server: without one, there is nothing to serve."""
        browser_path()
        # Playwright's loop runs in this thread: Django would take every query for one of a coroutine, and
        # open another connection for it, which doesn't know the rows that the migrations have made.
        cls.enterClassContext(mock.patch.dict(os.environ, {"DJANGO_ALLOW_ASYNC_UNSAFE": "true"}))
        connection = connections[DEFAULT_DB_ALIAS]
        cls.browser = cls.enterClassContext(launch(cls.enterClassContext(sync_playwright()).chromium))
        connections[DEFAULT_DB_ALIAS] = connection
        super().setUpClass()

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Run the test, and look for problems at its end."""
        self.problems, self.contexts, self.unanswered = [], [], set()
        test = getattr(self, self._testMethodName)

        def test_and_look() -> None:
            with self._pictured():
                test()
                self.assert_no_problems()

        with mock.patch.object(self, self._testMethodName, test_and_look):
            return super().run(result)

    def open_page(
        self,
        *,
        user: UserProfile | None = None,
        width: int = WIDE,
        height: int = 800,
        javascript: bool = True,
    ) -> Page:
        """Return an empty page of a browser profile of its own, in which ``user`` is signed in."""
        context = self.browser.new_context(
            base_url=self.live_server_url,
            viewport={"width": width, "height": height},
            java_script_enabled=javascript,
            locale="en-US",
            timezone_id="UTC",
            service_workers="block",
        )
        self.addCleanup(context.close)
        self.contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        self._watch(context)
        page = context.new_page()
        if user is not None:
            self.sign_in(page, user)
        return page

    def sign_in(self, page: Page, user: UserProfile) -> None:
        """Sign ``user`` in at once, by a cookie."""
        client = Client()
        client.force_login(user)
        name = settings.SESSION_COOKIE_NAME
        page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": self.live_server_url}])

    def sign_in_by_form(self, page: Page, user: UserProfile, password: str = PASSWORD) -> None:
        """Sign ``user`` in as people do."""
        page.goto(reverse("admin:login"))
        page.get_by_label("E-mail address").fill(user.email)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()

    def count_clicks(self, page: Page) -> list[str]:
        """Return a list that gets a text for each press of the mouse from now on; ``select_option`` presses nothing."""
        clicks: list[str] = []

        def tell_click(pressed: str) -> None:
            clicks.append(pressed)

        page.expose_function("tellClick", tell_click)
        listen = "addEventListener('pointerdown', ({ target }) => tellClick(target.outerHTML.slice(0, 99)), true)"
        page.add_init_script(listen)
        page.evaluate(listen)
        return clicks

    def assert_no_problems(self) -> None:
        """Fail with what the pages have done wrong so far, after waiting for the answers that are under way."""
        self._settle()
        problems, self.problems = list(dict.fromkeys(self.problems)), []
        if problems:
            self.fail("\n".join(["The page has done what none may:", *problems]))

    def assert_accessible(self, page: Page, rules: tuple[str, ...] = ()) -> None:
        """Fail with what axe-core finds by WCAG 2.1 A and AA and best practice, or by ``rules``; needs JavaScript."""
        page.wait_for_load_state()
        page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
        if not page.evaluate("Boolean(window.axe)"):
            page.evaluate(AXE_SCRIPT)
        options = {**AXE_OPTIONS, "runOnly": {"type": "rule", "values": rules}} if rules else AXE_OPTIONS
        found = violations(page.evaluate("(options) => axe.run(document, options)", options))
        if found:
            self.fail("\n".join([f"{page.url} is not accessible:", *found]))

    def assert_no_horizontal_scrolling(self, page: Page) -> None:
        """Fail with the elements that stand out of a page that is wider than its window."""
        page.wait_for_load_state()
        width, room, wide = page.evaluate(WIDE_ELEMENTS)
        if width > room + 1:
            self.fail("\n".join([f"{page.url} is {width - room} px wider than the window:", *wide]))

    @contextmanager
    def subTest(self, msg: Any = None, **parameters: Any) -> Iterator[None]:  # noqa: N802 (unittest's name)
        """Look for problems, and keep a picture of the pages, where the subtest is."""
        with super().subTest(msg, **parameters), self._pictured():
            yield
            self.assert_no_problems()

    @contextmanager
    def _pictured(self) -> Iterator[None]:
        """Add to an exception where pictures of the pages are, and what problems there were besides."""
        try:
            yield
        except unittest.SkipTest:
            raise
        except Exception as error:
            if not getattr(error, "__notes__", None):
                for note in [*dict.fromkeys(self.problems), *self._take_pictures()]:
                    error.add_note(note)
            self.problems.clear()
            raise

    def _take_pictures(self) -> Iterator[str]:
        pages = [page for context in self.contexts for page in context.pages]
        folder = Path(tempfile.mkdtemp(prefix=f"{self._testMethodName}-")) if pages else Path()
        for number, page in enumerate(pages, 1):
            path = folder / f"page{number}.png"
            page.screenshot(path=path, full_page=True)
            yield f"{page.url} looked like {path}"

    def _watch(self, context: BrowserContext) -> None:
        context.route(re.compile(f"^(?!{re.escape(self.live_server_url)}/)"), lambda route: route.abort())
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.problems.append(f"error of a script: {error.error}"))
        context.on("request", self._on_request)
        context.on("response", self._on_response)
        for event in ("requestfinished", "requestfailed"):
            context.on(event, self._on_end)
        context.on("page", lambda page: page.on("websocket", self._on_request))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            where = message.location
            self.problems.append(f"error on the console: {message.text} ({where['url']}:{where['lineNumber'] + 1})")

    def _on_request(self, request: Request | WebSocket) -> None:
        if urlsplit(request.url).scheme not in {"http", "https", "ws", "wss"}:
            return
        if isinstance(request, Request):
            self.unanswered.add(request)
        if not request.url.startswith(f"{self.live_server_url}/"):
            self.problems.append(f"request to another host: {request.url}")

    def _on_end(self, request: Request) -> None:
        self.unanswered.discard(request)

    def _on_response(self, response: Response) -> None:
        if response.status >= HTTPStatus.BAD_REQUEST:
            self.problems.append(f"status {response.status}: {response.request.method} {response.url}")

    def _settle(self) -> None:
        pages = [page for context in self.contexts for page in context.pages]
        deadline = time.monotonic() + SETTLING_SECONDS
        while pages:
            pages[0].wait_for_timeout(1)  # lets Playwright tell what has happened
            if not self.unanswered or time.monotonic() > deadline:
                return
