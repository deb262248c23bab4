"""``startServer.sh``: what it refuses, in one line that says why."""

import os
import subprocess
import unittest

from backend.environment import BASE_DIR

PATIENCE_SECONDS = 300  # it installs what is not up to date


class RefusalTests(unittest.TestCase):
    """It ends before it starts anything."""

    def refusal(self, *arguments: str, **settings: str) -> str:
        """Return what it says as it fails."""
        settings = {"PORT": "8000", "WEB_CONCURRENCY": "1", "SQL_HOST": "example.org"} | settings
        done = subprocess.run(
            [BASE_DIR / "startServer.sh", *arguments],
            check=False,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr.strip()

    def test_argument_is_refused(self) -> None:
        """Settings come from the environment; nobody is left to believe otherwise."""
        self.assertEqual(
            self.refusal("8001"),
            "startServer.sh: it takes no arguments; settings come from the environment or from .env.",
        )

    def test_port_that_is_none_is_refused(self) -> None:
        """Before anything listens."""
        for port in ("http", "65536", "-1", "123456789"):
            with self.subTest(port):
                self.assertEqual(
                    self.refusal(PORT=port),
                    f"startServer.sh: PORT must be a number, at most 65535, not '{port}'.",
                )

    def test_number_of_processes_that_is_none_is_refused(self) -> None:
        """Gunicorn takes zero, and serves nobody."""
        for number in ("0", "100", "two", "-1", "01"):
            with self.subTest(number):
                self.assertEqual(
                    self.refusal(WEB_CONCURRENCY=number),
                    f"startServer.sh: WEB_CONCURRENCY must be a number of processes from 1 to 99, not '{number}'.",
                )

    def test_missing_settings_are_named(self) -> None:
        """All of them, and no traceback."""
        refusal = self.refusal(DJANGO_DEBUG="false", SQL_HOST="", DJANGO_ALLOWED_HOSTS="")
        self.assertNotIn("Traceback", refusal)
        for name in ("startServer.sh: ", "SQL_HOST", "DJANGO_ALLOWED_HOSTS"):
            self.assertIn(name, refusal)
