"""The files of docs/nextjs/: type-checked against the API's schema, and run from sign-up to the ranked list."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import textwrap
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

from django.conf import settings
from django.core.management import call_command
from django.test import LiveServerTestCase, SimpleTestCase, override_settings
from django.utils.http import urlencode

from ctj_api.accounts.linking import UNVERIFIED
from ctj_api.models import Project, Role, Skill, UserProfile
from ctj_api.tests.cognito import moto_pool
from ctj_api.tests.common import make_opportunity, make_regular_user
from ctj_api.tests.test_password_reset import ask, mailed_link

HERE = Path(__file__).parent / "nextjs"
FILES = Path(settings.BASE_DIR).parent / "docs" / "nextjs"
PAGE = FILES.with_suffix(".md")
SCHEMA = Path(settings.BASE_DIR) / "openapi-schema.yml"
NODE_MODULES = HERE / "node_modules"
OLDEST_NODE = 18
FRONT_END = {
    "IDENTITY_PROVIDER": "cognito",
    "SITE_URL": "http://localhost:3000",
    "COGNITO_DOMAIN": "https://volunteers.example.org",
    "COGNITO_CLIENT_SECRET": "of-the-web-client",
}

CODE = re.compile(r"^```tsx?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TYPES_COMMAND = re.compile(r"^npx (openapi-typescript) (\S+) (.+)$", re.MULTILINE)
COMMENT = re.compile(r"//.*|/\*.*?\*/")
ESCAPE_HATCH = re.compile(r"\bany\b|\bas (?!const\b)|[\w\])]!(?!=)|@ts-|eslint-disable")


@contextmanager
def copied_project() -> Iterator[Path]:
    """Give a project that a developer has made by following the page, with the harness in it."""
    install_packages()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "node_modules").symlink_to(NODE_MODULES)
        shutil.copy(HERE / "tsconfig.json", project)
        shutil.copytree(HERE / "harness", project / "harness")
        shutil.copytree(FILES, project, dirs_exist_ok=True)
        [(tool, _, options)] = TYPES_COMMAND.findall(PAGE.read_text(encoding="utf-8"))
        run([f"node_modules/.bin/{tool}", str(SCHEMA), *options.split()], project)
        yield project


def sources() -> dict[str, str]:
    """Return name → code of the files."""
    return {str(path.relative_to(FILES)): path.read_text(encoding="utf-8") for path in FILES.rglob("*.ts*")}


def install_packages(folder: Path = HERE) -> None:
    """Install what package-lock.json pins, unless it is there; skips the test where that can't be done."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        give_up("Node.js and npm are not installed.")
    version = run(["node", "--version"], HERE).strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        give_up(f"Node.js {version} is older than {OLDEST_NODE}.")
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


def run(command: list[str], folder: Path, **environment: str) -> str:
    """Return what a command prints; fails with it where the command does."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


class SourceTests(SimpleTestCase):
    """The files, as the compiler and a reader see them."""

    def test_files_in_strict_mode_have_no_type_error(self) -> None:
        """Each path, field and value that they use is in the schema."""
        with copied_project() as project:
            run(["node_modules/.bin/tsc", "--project", "."], project)

    def test_files_never_silence_the_compiler(self) -> None:
        """No any, no cast, no assertion that something is not null."""
        for name, code in sources().items():
            with self.subTest(name):
                self.assertNotRegex(COMMENT.sub("", code), ESCAPE_HATCH)

    def test_page_shows_and_names_what_is_in_the_files(self) -> None:
        """Each block of code of the page stands in a file, and the page leads to each file."""
        page = PAGE.read_text(encoding="utf-8")
        blocks = CODE.findall(page)
        self.assertGreater(len(blocks), 1)
        for block in blocks:
            self.assertTrue(any(block in code for code in sources().values()), block)
        for name in sources():
            self.assertIn(f"](nextjs/{name})", page)

    def test_tests_without_node_are_skipped_with_a_word_or_fail(self) -> None:
        """A developer may do without it, and the checks may not."""
        for insisted, outcome in (("", unittest.SkipTest), ("true", AssertionError)):
            environment = {"PATH": "", "REQUIRE_NODE": insisted}
            with (
                self.subTest(insisted),
                mock.patch.dict(os.environ, environment),
                self.assertRaisesRegex(outcome, "not installed"),
            ):
                install_packages()


@override_settings(
    SESSION_COOKIE_SECURE=False, CSRF_COOKIE_SECURE=False, CSRF_TRUSTED_ORIGINS=["http://localhost:3000"]
)
class JourneyTests(LiveServerTestCase):
    """The files, against a live server."""

    host = "127.0.0.1"

    def setUp(self) -> None:
        """Load the catalog and post what the journey finds."""
        call_command("load_catalog", stdout=StringIO())
        slots = [{"day": day, "start": "18:00", "end": "19:00"} for day in ("wed", "mon")]
        meetings = {"timezone": "America/Los_Angeles", "slots": slots}
        Project.objects.filter(name="Food Oasis").update(meeting_times=meetings)
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
        for _ in range(22):
            post("Data Analyst", "311 Data", {"Tableau": 2})

    def test_volunteer_following_the_page_gets_from_sign_up_to_the_ranked_list(self) -> None:
        """Every page and action works, says what is wrong, and is closed after signing out."""
        ask(make_regular_user(email="ben@example.org").email)
        self.travel("journey", RESET_LINK=f"/reset-password?{urlencode(mailed_link())}")

    def test_volunteer_of_cognito_signs_in_stays_and_is_told_what_is_wrong(self) -> None:
        """The server holds the tokens of the hosted sign-in, passes them on and refreshes them in time."""
        with moto_pool() as environment:
            self.travel("cognito", REFUSAL=UNVERIFIED, **FRONT_END, **environment)
            self.assertEqual(UserProfile.objects.get(email="ana@example.org").cognito_pool, environment["POOL"])

    def travel(self, journey: str, **environment: str) -> None:
        """Fail unless the harness goes through a journey to its end."""
        command = ["node", "--require", "./harness/register.cjs", "--enable-source-maps", f"harness/{journey}.tsx"]
        with copied_project() as project:
            printed = run(command, project, API_URL=self.live_server_url, **environment)
        self.assertIn("The journey is done.", printed)


def post(title: str, project: str, levels: dict[str, int], **fields: Any) -> None:
    """Post a listing in words of the catalog."""
    make_opportunity(
        {Skill.objects.get(name=name): level for name, level in levels.items()},
        role=Role.objects.get(title=title),
        project=Project.objects.get(name=project),
        **fields,
    )
