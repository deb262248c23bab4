"""A server that is not configured does not start, and says what to set, a line for each setting."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection
from tempfile import NamedTemporaryFile
from unittest.mock import patch

from django.conf import settings
from django.test import SimpleTestCase
from marshmallow import ValidationError

from backend.environment import env, parse_rate

from .common import run

PRODUCTION = {
    "DJANGO_DEBUG": "false",
    "DJANGO_SECRET_KEY": "only-for-tests-0123456789" * 2,
    "DJANGO_ALLOWED_HOSTS": "example.org",
    "SQL_HOST": "db.example.org",
    "EMAIL_BACKEND": "smtp",
    "EMAIL_HOST": "mail.example.org",
    "DEFAULT_FROM_EMAIL": "CivicTechJobs <jobs@example.org>",
    "LOG_FORMAT": "json",
    "PASSWORD_RESET_URL": "https://jobs.example.org/reset-password",
}
NEEDED = PRODUCTION.keys() - {"DJANGO_DEBUG", "EMAIL_BACKEND", "LOG_FORMAT"}


class SettingsTests(SimpleTestCase):
    """What the environment must say."""

    def run_with(self, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Return how Python runs ``command`` in production with some settings changed."""
        return run(sys.executable, *command, cwd=settings.BASE_DIR, env=os.environ | PRODUCTION | changes)

    def assert_told(self, names: Collection[str], *words: str, **changes: str) -> None:
        """Fail unless ``manage.py check`` has a line for each of these settings, or starts where there is none."""
        done = self.run_with("manage.py", "check", **changes)
        self.assertCountEqual(re.findall(r"^- (?:set )?(\w+)", done.stderr, re.MULTILINE), names)
        self.assertEqual((done.returncode, done.stderr == ""), (1, False) if names else (0, True))
        for text in words:
            self.assertIn(text, done.stderr)
        for text in ("Traceback", "kkkk"):
            self.assertNotIn(text, done.stderr)

    def test_production_names_what_is_missing_or_unusable_all_at_once(self) -> None:
        """A line names each setting, whatever type it should have; there is no default secret anywhere."""
        unusable = {
            "REQUEST_THREADS": "0",
            "REQUEST_WAIT_SECONDS": "soon",
            "DJANGO_SSL_REDIRECT": "perhaps",
            "LOGIN_RATE": "often",
            "TRUSTED_PROXIES": "proxy.example.org",
            "EMAIL_BACKEND": "pigeon",
            "EMAIL_PORT": "x",
            "REQUEST_MAX_BYTES": "-1",
            "REQUEST_BODY_SECONDS": "0",
            "TIME_ZONE": "Mars/Olympus",
        }
        console = {"EMAIL_HOST": "", "EMAIL_BACKEND": "console", "PASSWORD_RESET_URL": "http://localhost:3000/reset"}
        cases: list[tuple[dict[str, str], Collection[str]]] = [
            ({"DJANGO_ALLOWED_HOSTS": "a.example.org, b.example.org ,"}, ()),
            (console, ()),  # to try a container out on this machine
            (dict.fromkeys(NEEDED, ""), NEEDED),
            ({"DJANGO_DEBUG": "true", "DJANGO_SECRET_KEY": ""}, ["DJANGO_SECRET_KEY"]),
            (unusable, unusable),
            ({"PEOPLEDEPOT_URL": "http://people.example.org"}, ["PEOPLEDEPOT_TOKEN", "PEOPLEDEPOT_URL"]),
        ]
        for changes, names in cases:
            with self.subTest(changes):
                self.assert_told(names, **changes)
        with patch.dict(os.environ, {"NAMES": " a.example.org, b.example.org ,"}):
            self.assertEqual(env.texts("NAMES", ""), ["a.example.org", "b.example.org"])

    def test_production_with_unsafe_values_is_refused(self) -> None:
        """Secrets that can be guessed, hosts and networks of everybody, links that others may read."""
        good = PRODUCTION["DJANGO_SECRET_KEY"]
        cases = {
            "DJANGO_SECRET_KEY": ("short", "k" * 60, f"django-insecure-{good}"),
            "DJANGO_SECRET_KEY_FALLBACKS": ("short", f"{good},kkkk"),
            "DJANGO_ALLOWED_HOSTS": ("*", "example.org, *"),
            "METRICS_TOKEN": ("kkkk",),
            "METRICS_ALLOWED_NETWORKS": ("0.0.0.0/0", "10.0.0.0/8, ::/0"),
            "TRUSTED_PROXIES": ("0.0.0.0/0",),
            "PASSWORD_RESET_URL": ("http://jobs.example.org/new", "https://", "http://localhost.example.org/new"),
            "DEFAULT_FROM_EMAIL": ("jobs@localhost",),
            "LOG_FORMAT": ("console",),
        }
        for number in range(max(map(len, cases.values()))):
            wrong = {name: values[number] for name, values in cases.items() if number < len(values)}
            with self.subTest(**wrong):
                self.assert_told(wrong, **wrong)

    def test_stage_2_is_refused_by_halves_and_starts_as_a_whole_without_a_network(self) -> None:
        """A line names each setting that is missing, or leads to anything but a server by TLS."""
        whole = {"IDENTITY_PROVIDER": "cognito", "CATALOG_SOURCE": "peopledepot"}
        needed = {"COGNITO_AWS_REGION": "us-west-2", "COGNITO_USER_POOL": "us-west-2_Abc", "COGNITO_APP_CLIENT_ID": "a"}
        needed |= {"PEOPLEDEPOT_URL": "https://depot.invalid", "PEOPLEDEPOT_TOKEN": "t"}
        bridge = {"COGNITO_DOMAIN": "https://a.invalid", "COGNITO_ADMIN_CLIENT_ID": "c"}
        secret = {"COGNITO_ADMIN_CLIENT_SECRET": "s"}
        wrong = {"COGNITO_ISSUERS": "https://a.invalid,http://a.invalid", "COGNITO_JWKS_URL": "http://127.0.0.1/keys"}
        wrong |= {"COGNITO_LEEWAY_SECONDS": "61", "COGNITO_USER_POOL": "eu_Abc", "PEOPLEDEPOT_URL": "http://a.invalid"}
        unsafe = [("PEOPLEDEPOT_URL", "https://a:b@c.invalid"), ("COGNITO_JWKS_URL", "https://a@c.invalid")]
        unsafe += [("PEOPLEDEPOT_URL", "https://c.invalid/#a"), ("COGNITO_ISSUERS", "")]
        for changes, names in (
            ({}, []),
            (bridge | secret, []),
            (bridge | secret | {"COGNITO_ADMIN_CLIENT_ID": "a"}, ["COGNITO_ADMIN_CLIENT_ID"]),
            (dict.fromkeys(needed, ""), [*needed, "COGNITO_USER_POOL"]),
            (wrong, wrong),
            *(({name: url}, [name]) for name, url in unsafe),
            (bridge, ["COGNITO_ADMIN_CLIENT_SECRET"]),
            ({"IDENTITY_PROVIDER": "okta", "CATALOG_SOURCE": "csv"}, ["IDENTITY_PROVIDER", "CATALOG_SOURCE"]),
        ):
            with self.subTest(changes):
                self.assert_told(names, **whole | needed | changes)

    def test_production_behind_an_unknown_proxy_is_refused(self) -> None:
        """All clients would have the proxy's address, and the limits on guessing would lock everybody out."""
        behind = {"DJANGO_BEHIND_PROXY": "true"}
        self.assert_told(["TRUSTED_PROXIES"], "locks everybody out", **behind, TRUSTED_PROXIES="")
        self.assert_told((), **behind, TRUSTED_PROXIES="10.0.0.0/8")

    def test_production_trusts_a_database_elsewhere_by_its_certificate_only(self) -> None:
        """Less has to be said; what encrypts only where the other side likes to is refused, but on this machine."""
        cases = (
            ("db.example.org", "", "verify-full", None),
            ("one.example.org, two.example.org", "", "verify-full", "read-write"),
            ("127.0.0.1,127.evil.example.org", "", "verify-full", "read-write"),
            ("db.example.org", "disable", "disable", None),
            ("localhost", "", "prefer", None),
            ("/run/postgresql,::1", "", "prefer", "read-write"),
        )
        code = "import json; from backend.settings import DATABASES as d; print(json.dumps(d['default']['OPTIONS']))"
        for host, given, mode, attributes in cases:
            with self.subTest(host):
                done = self.run_with("-c", code, SQL_HOST=host, **({"SQL_SSLMODE": given} if given else {}))
                options = json.loads(done.stdout)
                self.assertEqual((options["sslmode"], options["target_session_attrs"]), (mode, attributes))
        for name, value in (("SQL_SSLMODE", "prefer"), ("SQL_SSLMODE", "allow")):
            with self.subTest(value):
                self.assert_told([name], **{name: value})

    def test_secret_may_lie_in_a_file_that_can_be_read(self) -> None:
        """As container engines hand them over; one that can't be read is named."""
        with NamedTemporaryFile("w") as file:
            file.write(PRODUCTION["DJANGO_SECRET_KEY"] + "\n")
            file.flush()
            self.assert_told((), DJANGO_SECRET_KEY="", DJANGO_SECRET_KEY_FILE=file.name)
        self.assert_told(["SQL_PASSWORD", "EMAIL_PORT"], SQL_PASSWORD_FILE="/nowhere", EMAIL_PORT="x")


class RateTests(SimpleTestCase):
    """How settings say how often something may be tried."""

    def test_rate_is_attempts_and_a_time(self) -> None:
        """The time is in seconds, minutes, hours or days; anything else is told what a rate looks like."""
        cases = {"5/15m": (5, 900), "60/1h": (60, 3600), "1/1s": (1, 1), "9/2d": (9, 172_800), " 5/15m ": (5, 900)}
        for text, rate in cases.items():
            self.assertEqual(parse_rate(text), rate)
        wrong = ("", "5", "5/m", "0/1m", "5/0m", "-1/1m", "5/15", "5/15 minutes", "5/15w", "\uff15/1m")
        for text in (*wrong, "9999999999/1m"):
            with self.subTest(text), self.assertRaisesRegex(ValidationError, "no rate such as 5/15m"):
                parse_rate(text)
