"""What ``startServer.sh`` and ``manage.py`` say where they refuse something or lack a database."""

import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

from django.test import TestCase

from backend.environment import BASE_DIR
from ctj_api.tests.common import PATIENCE_SECONDS, run


def run_command(*command: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project to its end."""
    environment = os.environ | settings
    return run(*command, cwd=BASE_DIR, env=environment, stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS)


class StartServerTests(unittest.TestCase):
    """It refuses in one line, before it starts anything."""

    def setUp(self) -> None:
        """Give each test a checkout that is installed."""
        self.backend = Path(self.enterContext(TemporaryDirectory()))
        self.script = shutil.copy(BASE_DIR / "startServer.sh", self.backend)
        for name in (".venv", "backend", "ctj_api", "serving"):
            (self.backend / name).symlink_to(Path(sys.prefix) if name == ".venv" else BASE_DIR / name)
        (self.backend / "devtools").mkdir()
        (self.backend / "devtools" / "bootstrap.py").touch()

    def refusal(self, *arguments: str, **settings: str) -> str:
        """Return what it says as it fails."""
        settings = {"PORT": "8000", "WEB_CONCURRENCY": "1", "SQL_HOST": "example.org"} | settings
        done = run_command(self.script, *arguments, **settings)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr.strip()

    def test_argument_or_wrong_setting_is_refused(self) -> None:
        """All missing settings are named; a port that is none is refused before anything is installed."""
        arguments = "startServer.sh: it takes no arguments; settings come from the environment or from .env."
        processes = "startServer.sh: WEB_CONCURRENCY must be a number of processes from 1 to 99, not '100'."
        self.assertEqual(self.refusal("8001"), arguments)
        self.assertEqual(self.refusal(WEB_CONCURRENCY="100"), processes)
        missing = self.refusal(DJANGO_DEBUG="false", SQL_HOST="", DJANGO_ALLOWED_HOSTS="")
        self.assertNotIn("Traceback", missing)
        for name in ("startServer.sh: ", "SQL_HOST", "DJANGO_ALLOWED_HOSTS"):
            self.assertIn(name, missing)
        (self.backend / "devtools" / "bootstrap.py").unlink()
        for port in ("http", "80", "1023", "65536", "-1", "123456789"):
            refusal = f"PORT must be a number from 1024 to 65535, not '{port}'; a proxy can listen on a lower one."
            self.assertEqual(self.refusal(PORT=port), f"startServer.sh: {refusal}")

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"), "needs root, to mount a folder")
    def test_read_only_checkout_needs_no_place_for_settings_or_data(self) -> None:
        """It is a developer's without .env, and its database lies elsewhere; here it ends at a wrong setting."""
        mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$0/startServer.sh"'
        developer = ("env", "-i", f"PATH={os.environ['PATH']}", "HOME=/home/dev", "WEB_CONCURRENCY=0")
        done = run_command(*developer, "unshare", "--mount", "sh", "-c", mount, self.backend)
        if "mount" in done.stderr:
            self.skipTest(done.stderr)
        self.assertIn("read-only: the database is in /home/dev/.local/share/civictechjobs", done.stdout)
        self.assertIn("WEB_CONCURRENCY must be", done.stderr)
        self.assertFalse((self.backend / ".env").exists())


class ManageTests(TestCase):
    """``manage.py`` without a database."""

    def test_command_without_a_database_says_how_to_get_one(self) -> None:
        """Also ``runserver``, which asks the database in a thread."""
        advice = {"migrate": "run -- .venv/bin/python manage.py migrate\n", "runserver": "(SQL_HOST)"}
        for command, host in (("migrate", ""), ("runserver", "/nowhere")):
            settings = {"SQL_HOST": host, "DATA_DIR": "/nowhere", "DJANGO_DEBUG": "true"}
            done = run_command(sys.executable, "manage.py", command, **settings)
            self.assertEqual(done.returncode, 1)
            self.assertIn(advice[command], done.stderr)
            self.assertNotIn("Traceback", done.stderr)
