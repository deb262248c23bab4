"""A line for each request, which says what is needed to find out, and nobody's data."""

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import structlog
from django.db import IntegrityError
from django.test import SimpleTestCase, TestCase, override_settings

from backend.logs import logging_settings

from .common import PASSWORD, browser, make_admin_user, make_opportunity, make_regular_user

LOGIN = "/api/auth/login/"


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """Give the lines that the root handler of production writes meanwhile, once they are all there."""
    formatter = logging_settings("json", "DEBUG")["formatters"]["line"]
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter["()"](formatter["form"]))
    root = logging.getLogger()
    lines: list[dict[str, Any]] = []
    root.addHandler(handler)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        lines += [json.loads(line) for line in stream.getvalue().splitlines()]


class RequestLogTests(TestCase):
    """What is written of a request."""

    def test_request_has_one_line_with_what_it_took(self) -> None:
        """Path, route, status, time and queries."""
        with logged() as lines:
            self.client.get("/api/skills/?search=react", headers={"x-request-id": "abc-1"})
        (line,) = lines
        told = {name: line[name] for name in ("event", "level", "method", "path", "route", "status", "request_id")}
        self.assertEqual(
            told,
            {
                "event": "request",
                "level": "info",
                "method": "GET",
                "path": "/api/skills/",
                "route": "skill-list",
                "status": 200,
                "request_id": "abc-1",
            },
        )
        self.assertGreater(line["duration_ms"], 0)
        self.assertGreaterEqual(line["queries"], 2)
        self.assertGreater(line["query_ms"], 0)
        self.assertNotIn("user_id", line)
        self.assertIn("T", line["timestamp"])

    def test_every_kind_of_answer_has_one_line(self) -> None:
        """Refusals by middleware and failures, too."""
        self.client.raise_request_exception = False
        requests: list[tuple[int, str, dict[str, Any]]] = [
            (404, "/api/nowhere/", {}),
            (404, "/nowhere/", {}),
            (400, "/api/skills/", {"headers": {"host": "evil.example"}}),
            (403, "/api/users/me/", {}),
            (302, "/admin/", {}),
            (200, "/admin/login/", {}),
        ]
        for status, path, options in requests:
            with self.subTest(path, status=status):
                with logged() as lines:
                    self.client.get(path, **options)
                self.assertEqual([(line["status"], line["path"]) for line in lines], [(status, path)])

    def test_failure_is_told_with_its_place(self) -> None:
        """In the same line, without the values of the row."""
        self.client.raise_request_exception = False
        broken = IntegrityError("duplicate key\nDETAIL:  Key (email)=(ana@example.org) already exists.")
        with patch("ctj_api.views.SkillFilter.narrow", side_effect=broken), logged() as lines:
            self.client.get("/api/skills/")
        (line,) = lines
        self.assertEqual((line["level"], line["status"]), ("error", 500))
        self.assertEqual(line["exception"]["type"], "django.db.utils.IntegrityError")
        self.assertEqual(line["exception"]["message"], "duplicate key")
        self.assertTrue(any("views.py" in frame for frame in line["exception"]["frames"]))

    def test_signed_in_user_is_told_by_id(self) -> None:
        """Where the view asked who it is; nobody is looked up for the log."""
        user = make_regular_user()
        self.client.force_login(user)
        with logged() as lines:
            self.client.get("/api/users/me/")
            with self.assertNumQueries(3):
                self.client.get("/api/skills/")
        self.assertEqual([line.get("user_id") for line in lines], [str(user.pk), None])

    def test_nobodys_data_is_logged(self) -> None:
        """On a tour with addresses, passwords, tokens, cookies and searches."""
        client = browser()
        user = make_regular_user(email="ana@example.org", first_name="Anastasia")
        make_opportunity()
        with logged() as lines:
            ben = {"email": "ben@example.org", "password": PASSWORD, "first_name": "Benvolio"}
            client.post("/api/auth/signup/", ben)
            client = browser()
            client.post(LOGIN, {"email": "ana@example.org", "password": "wrong-passphrase"})
            client.post(LOGIN, {"email": "ana@example.org", "password": PASSWORD})
            client.get("/api/users/me/")
            client.get("/api/opportunities/?search=confidential")
            client.post("/admin/login/", {"username": make_admin_user().email, "password": "wrong-passphrase"})
        written = json.dumps(lines)
        self.assertGreaterEqual(len(lines), 6)
        secrets = [client.cookies[name].value for name in ("sessionid", "csrftoken")]
        for secret in ("ana@", "ben@", "Anastasia", "Benvolio", PASSWORD, "wrong-pass", "confidential", *secrets):
            with self.subTest(secret):
                self.assertNotIn(secret, written)
        self.assertIn(str(user.pk), written)

    def test_nobody_can_write_lines(self) -> None:
        """A path with newlines and escapes stays one line."""
        with logged() as lines:
            self.client.get("/x%0A%7B%22event%22:%22forged%22%7D%1b[31m")
        self.assertEqual([line["event"] for line in lines], ["request"])

    def test_machines_are_told_of_in_detail_only(self) -> None:
        """Their requests come every few seconds; one that fails is told."""
        with logged() as lines:
            self.client.get("/api/healthcheck/")
            self.client.post("/api/healthcheck/")
        self.assertEqual([line["status"] for line in lines], [405])
        with self.assertLogs("backend.request_log", "DEBUG"):
            self.client.get("/api/healthcheck/")

    @override_settings(SLOW_QUERY_MS=0)
    def test_slow_query_is_told_without_its_parameters(self) -> None:
        """They may be anybody's data."""
        with logged() as lines:
            self.client.get("/api/skills/?search=confidential")
        slow = [line for line in lines if line["event"] == "slow query"]
        self.assertGreaterEqual(len(slow), 2)
        self.assertTrue(all(line["level"] == "warning" and line["duration_ms"] >= 0 for line in slow))
        self.assertIn("LIKE UPPER(%s)", str(slow))
        self.assertNotIn("confidential", str(slow))
        self.assertEqual({line["request_id"] for line in lines}, {lines[0]["request_id"]})


class RequestIdTests(TestCase):
    """The id by which a request is found again."""

    def test_id_of_the_request_comes_back(self) -> None:
        """So that Next.js' log and ours have the same."""
        for given in ("a", "0b0f8f1e-5f39-4b3c-9d5e-2f6c7d8e9f00", "x" * 128, "A.b_c-1"):
            with self.subTest(given):
                response = self.client.get("/api/nowhere/", headers={"x-request-id": given})
                self.assertEqual(response["X-Request-ID"], given)

    def test_id_that_is_none_is_replaced(self) -> None:
        """Nothing is written into logs and headers but what an id may have."""
        for given in ("", "x" * 129, "a b", "a;b", 'a"b', "\u00e9"):
            with self.subTest(given):
                response = self.client.get("/api/nowhere/", headers={"x-request-id": given})
                self.assertRegex(response["X-Request-ID"], r"^[0-9a-f-]{36}$")

    def test_requests_have_ids_of_their_own(self) -> None:
        """Nothing of one is left in the thread for the next."""
        ids = {self.client.get("/api/skills/")["X-Request-ID"] for _ in range(3)}
        self.assertEqual(len(ids), 3)
        self.assertEqual(structlog.contextvars.get_contextvars(), {})


class FormatTests(SimpleTestCase):
    """The two ways to write a line."""

    def test_line_for_people_is_readable(self) -> None:
        """In development."""
        formatter = logging_settings("console", "INFO")["formatters"]["line"]
        record = logging.LogRecord("x", logging.INFO, "", 1, "request", None, None)
        record.fields = {"path": "/api/skills/"}
        text = formatter["()"](formatter["form"]).format(record)
        self.assertRegex(text, r"info +\] request +\[x\].* path=/api/skills/")

    def test_settings_are_what_logging_takes(self) -> None:
        """For Django and for Gunicorn."""
        before = logging.getLogger().handlers[:]
        try:
            logging.config.dictConfig(logging_settings("json", "INFO"))
        finally:
            logging.getLogger().handlers[:] = before
