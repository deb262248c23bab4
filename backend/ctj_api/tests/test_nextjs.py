"""The page docs/nextjs.md, followed to the letter: a fresh app, built, started, and driven in Chromium."""

import fcntl
import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import textwrap
import unittest
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from django.conf import settings
from django.core.management import call_command
from django.test import LiveServerTestCase, SimpleTestCase, override_settings
from django.utils import timezone
from django.utils.http import urlencode

from ctj_api.accounts.linking import UNVERIFIED
from ctj_api.models import Project, Role, Skill, UserProfile
from ctj_api.tests.browser.base import browser_path
from ctj_api.tests.cognito import moto_pool
from ctj_api.tests.common import PASSWORD, make_opportunity, make_pm_user, make_regular_user
from ctj_api.tests.test_password_reset import ask, mailed_link

HARNESS = Path(__file__).parent / "nextjs"
REPOSITORY = Path(settings.BASE_DIR).parent
FILES = REPOSITORY / "docs" / "nextjs"
PAGE = FILES.with_suffix(".md")
OLDEST_NODE = 20
TIMEOUT_SECONDS = 900
AWAY = "http://127.0.0.1:9"
FLAGS = re.compile(r"^ *(cacheComponents|partialPrefetching): true,$", re.MULTILINE)

CODE = re.compile(r"^```tsx?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMANDS = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)
API_OF_THE_PAGE = "http://127.0.0.1:8000"
COMMENT = re.compile(r"//.*|/\*.*?\*/")
ESCAPE_HATCH = re.compile(r"\bany\b|\bas (?!const\b)|[\w\])]!(?!=)|@ts-|eslint-disable")


def require_node() -> None:
    """Skip the test, or fail it where REQUIRE_NODE=true, unless Node.js and npm are there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        give_up("Node.js and npm are not installed.")
    version = run(["node", "--version"], HARNESS).strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        give_up(f"Node.js {version} is older than {OLDEST_NODE}.")


def install_packages(folder: Path) -> None:
    """Install what package-lock.json pins, unless it is there; skips the test where that can't be done."""
    require_node()
    stamp = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    complete = folder / "node_modules" / ".complete"
    with (folder / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete.exists() and complete.read_text() == stamp:
            return
        done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            give_up(f"npm could not install the packages: {textwrap.shorten(done.stderr, 300)}")
        complete.write_text(stamp)


def give_up(reason: str) -> None:
    """Skip the test, or fail it where REQUIRE_NODE=true insists, as ``.ci/run`` does."""
    if os.environ.get("REQUIRE_NODE") == "true":
        raise AssertionError(reason)
    raise unittest.SkipTest(f"{reason} What needs them was not tried.")


def run(command: list[str], folder: Path, environment: dict[str, str] | None = None, *, fails: bool = False) -> str:
    """Return what a command prints; fails with it unless the command ends as expected."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "NEXT_TELEMETRY_DISABLED": "1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if (done.returncode != 0) != fails:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def make_app(folder: Path, api: str) -> Path:
    """Give the app that a developer has made by pasting the page's commands, in ``folder``."""
    require_node()
    if subprocess.run(["npm", "ping"], capture_output=True, check=False).returncode != 0:
        give_up("npm's registry can't be reached.")
    (folder / "CivicTechJobs").symlink_to(REPOSITORY)
    commands = "".join(COMMANDS.findall(PAGE.read_text(encoding="utf-8"))).replace(API_OF_THE_PAGE, api)
    npm = {"npm_config_prefer_offline": "true", "npm_config_audit": "false", "npm_config_fund": "false"}
    run(["bash", "-euc", commands], folder, {"XDG_CONFIG_HOME": str(folder), **npm})
    [app] = [path.parent for path in folder.glob("*/next.config.ts")]
    return app


class SourceTests(SimpleTestCase):
    """The files, as a reader sees them."""

    def test_files_never_silence_the_compiler(self) -> None:
        """No any, no cast, no assertion that something is not null."""
        for path in FILES.rglob("*.ts*"):
            with self.subTest(path.name):
                self.assertNotRegex(COMMENT.sub("", path.read_text(encoding="utf-8")), ESCAPE_HATCH)

    def test_page_shows_and_names_what_is_in_the_files(self) -> None:
        """Each block of code of the page stands in a file, and the page leads to each file."""
        page = PAGE.read_text(encoding="utf-8")
        sources = {path: path.read_text(encoding="utf-8") for path in FILES.rglob("*.*")}
        blocks = CODE.findall(page)
        self.assertGreater(len(blocks), 1)
        for block in blocks:
            self.assertTrue(any(block in code for code in sources.values()), block)
        for path in sources:
            self.assertIn(f"](nextjs/{path.relative_to(FILES)})", page)

    def test_tests_without_node_are_skipped_with_a_word_or_fail(self) -> None:
        """A developer may do without it, and the checks may not."""
        for insisted, outcome in (("", unittest.SkipTest), ("true", AssertionError)):
            environment = {"PATH": "", "REQUIRE_NODE": insisted}
            with (
                self.subTest(insisted),
                mock.patch.dict(os.environ, environment),
                self.assertRaisesRegex(outcome, "not installed"),
            ):
                require_node()


@override_settings(SESSION_COOKIE_SECURE=False, CSRF_COOKIE_SECURE=False)
class JourneyTests(LiveServerTestCase):
    """One app, made by the page, against a live server."""

    host = "127.0.0.1"
    app: ClassVar[Path | None] = None

    def setUp(self) -> None:
        """Load the catalog and post what the journey finds."""
        call_command("load_catalog", stdout=StringIO())
        slots = [{"day": day, "start": "18:00", "end": "19:00"} for day in ("wed", "mon")]
        meetings = {"timezone": "America/Los_Angeles", "slots": slots}
        Project.objects.filter(name="Food Oasis").update(meeting_times=meetings)
        for _ in range(22):
            post("Data Analyst", "311 Data", {"Tableau": 2})
        post("UX Writing", "Civic Tech Jobs", {"React": 1}, status="draft")
        post("Data Scientist", "311 Data", {"React": 1}, status="closed")
        post("Full Stack Developer", "HomeUniteUs", {"React": 2}, min_hours_required=20)
        post("UX Researcher", "HomeUniteUs", {"Python": 5})
        post(
            "Front End Developer",
            "Food Oasis",
            {"React": 3, "Python": 4, "Django": 1},
            body="Map food pantries.",
            min_hours_required=6,
            work_environment="in_person",
        )

    def test_volunteer_and_project_manager_following_the_page_get_through_all_of_it(self) -> None:
        """Every page and action works, says what is wrong, loses nothing typed, and is closed after signing out."""
        skills = dict.fromkeys(Skill.objects.values_list("name", flat=True)[:12], 3)
        post("Technical Writer", "VRMS", skills, created_by=make_pm_user(email="pam@example.org"), status="draft")
        Role.objects.filter(title="Technical Writer").update(retired_at=timezone.now())
        Project.objects.filter(name="VRMS").update(retired_at=timezone.now())
        slots = [{"day": day, "start": "18:00", "end": "19:00"} for day in ("mon", "tue", "wed", "thu")]
        week = {"timezone": "America/Los_Angeles", "slots": slots}
        ask(make_regular_user(email="ben@example.org", meeting_availability=week).email)
        self.travel("journey", PASSWORD=PASSWORD, RESET_LINK=f"/reset-password?{urlencode(mailed_link())}")

    def test_volunteer_of_cognito_signs_in_stays_and_is_told_what_is_wrong(self) -> None:
        """The server holds the tokens of the hosted sign-in, passes them on and refreshes them in time."""
        with moto_pool() as environment:
            self.travel("cognito", REFUSAL=UNVERIFIED, COGNITO_CLIENT_SECRET="of-the-web", **environment)
            self.assertEqual(UserProfile.objects.get(email="ana@example.org").cognito_pool, environment["POOL"])

    def travel(self, journey: str, **environment: str) -> None:
        """Fail unless the harness goes through a journey to its end."""
        chromium = browser_path()
        app = self.built_app()
        with socket.create_server(("127.0.0.1", 0)) as free:
            site = f"http://localhost:{free.getsockname()[1]}"
        paths = {
            "APP": str(app),
            "AXE": str(files("axe_playwright_python").joinpath("axe.min.js")),
            "CHROMIUM": chromium,
            "CLOCK": str(app / "clock"),
            "PLAYWRIGHT": str(files("playwright").joinpath("driver", "package")),
        }
        with self.settings(CSRF_TRUSTED_ORIGINS=[site]):
            command = ["node", f"harness/{journey}.mjs"]
            addresses = {"API": self.live_server_url, "SITE": site}
            printed = run(command, HARNESS, paths | addresses | environment)
        self.assertIn("The journey is done.", printed)

    def built_app(self) -> Path:
        """Return the app, linted, type-checked and built; without the API, nothing is built, whatever the flags."""
        if JourneyTests.app is None:
            folder = self.enterClassContext(tempfile.TemporaryDirectory())
            app = make_app(Path(folder), self.live_server_url)
            run(["npm", "run", "lint"], app)
            config = app / "next.config.ts"
            defaults = config.read_text(encoding="utf-8")
            for text in (FLAGS.sub("", defaults), defaults):
                config.write_text(text, encoding="utf-8")
                shutil.rmtree(app / ".next", ignore_errors=True)
                self.assertIn("has no answer", run(["npm", "run", "build"], app, {"API_URL": AWAY}, fails=True))
                generate = ["npm", "run", "build", "--", "--experimental-build-mode", "generate"]
                run(generate, app, {"API_URL": self.live_server_url})
            JourneyTests.app = app
        return JourneyTests.app


def post(title: str, project: str, levels: dict[str, int], **fields: Any) -> None:
    """Post a listing in words of the catalog."""
    make_opportunity(
        {Skill.objects.get(name=name): level for name, level in levels.items()},
        role=Role.objects.get(title=title),
        project=Project.objects.get(name=project),
        **fields,
    )
