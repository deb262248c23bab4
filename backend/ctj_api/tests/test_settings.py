"""A server that is not configured does not start, and says in one line what to set."""

import os
import subprocess
import sys

from django.conf import settings
from django.test import SimpleTestCase

PRODUCTION = {
    "DJANGO_DEBUG": "false",
    "DJANGO_SECRET_KEY": "k" * 50,
    "DJANGO_ALLOWED_HOSTS": "example.org",
    "SQL_HOST": "db.example.org",
}


class SettingsTests(SimpleTestCase):
    """What the environment must say."""

    def check(self, **changes: str) -> subprocess.CompletedProcess[str]:
        """Return what ``manage.py check`` does in production with some settings changed."""
        return subprocess.run(
            [sys.executable, "manage.py", "check"],
            cwd=settings.BASE_DIR,
            env={**os.environ, **PRODUCTION, **changes},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_production_with_all_settings_starts(self) -> None:
        """Nothing else is needed."""
        self.assertEqual(self.check().returncode, 0)

    def test_production_without_a_setting_is_refused(self) -> None:
        """One line names the setting."""
        for name in ("DJANGO_SECRET_KEY", "DJANGO_ALLOWED_HOSTS", "SQL_HOST"):
            with self.subTest(name):
                done = self.check(**{name: ""})
                self.assertEqual(done.returncode, 1)
                self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
                self.assertIn(f"set {name} ", done.stderr)

    def test_production_without_any_setting_names_all_at_once(self) -> None:
        """Nobody has to try three times."""
        done = self.check(DJANGO_SECRET_KEY="", DJANGO_ALLOWED_HOSTS="", SQL_HOST="")
        for name in ("DJANGO_SECRET_KEY", "DJANGO_ALLOWED_HOSTS", "SQL_HOST"):
            self.assertIn(f"set {name} ", done.stderr)

    def test_debugging_without_secret_key_is_refused(self) -> None:
        """There is no default secret, in development either."""
        self.assertIn("set DJANGO_SECRET_KEY", self.check(DJANGO_DEBUG="true", DJANGO_SECRET_KEY="").stderr)
