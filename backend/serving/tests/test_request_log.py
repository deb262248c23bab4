"""A line for each request, which says what is needed to find out, and nobody's data."""

import asyncio
import io
import json
import logging
import logging.config
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from smtplib import SMTPRecipientsRefused
from typing import Any
from unittest.mock import patch

import structlog
from django.db import DataError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import SimpleTestCase, TestCase, override_settings
from django.urls import path as route

from ctj_api.tests import common
from serving.handlers import ThreadPoolHandler
from serving.logs import make_formatter
from serving.metrics import OVERLOADED

from .test_handlers import Visitor, close

LOGIN = "/api/auth/login/"
PROXIES = (ip_network("127.0.0.1"),)

logger = logging.getLogger(__name__)


def tell(_: HttpRequest, name: str) -> HttpResponse:
    """Write a line of one's own."""
    logger.info("told by %s", name)
    return HttpResponse()


urlpatterns = [route("tell/<name>/", tell)]


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """Give the lines that the root handler of production writes meanwhile, once they are all there."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(make_formatter("json"))
    root = logging.getLogger()
    level = root.level
    lines: list[dict[str, Any]] = []
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        lines += [json.loads(line) for line in stream.getvalue().splitlines()]


@override_settings(TRUSTED_PROXIES=PROXIES)
class RequestLogTests(TestCase):
    """What is written of a request, and the id by which it is found again."""

    def test_request_has_one_line_with_what_it_took(self) -> None:
        """The line has path, route, status, time, queries and the size of the body, if there is one."""
        with logged() as lines:
            size = len(self.client.get("/api/skills/?search=react", headers={"x-request-id": "abc-1"}).content)
            self.client.head("/api/skills/")
        line, head = lines
        expected = {"event": "request", "level": "info", "method": "GET", "route": "skill-list", "status": 200}
        expected |= {"path": "/api/skills/", "request_id": "abc-1", "bytes": size}
        self.assertEqual(line, line | expected)
        self.assertNotIn("bytes", head)
        self.assertGreater(line["duration_ms"], 0)
        self.assertGreaterEqual(line["queries"], 2)
        self.assertGreater(line["query_ms"], 0)
        self.assertNotIn("user_id", line)
        self.assertIn("T", line["timestamp"])

    def test_every_kind_of_response_has_one_line(self) -> None:
        """Refusals and errors have one line as well; no path makes two lines of one."""
        self.client.raise_request_exception = False
        requests: list[tuple[int, str, dict[str, Any]]] = [
            (404, "/api/nowhere/", {}),
            (404, "/nowhere/", {}),
            (400, "/api/skills/", {"headers": {"host": "evil.example"}}),
            (403, "/api/users/me/", {}),
            (302, "/admin/", {}),
            (200, "/admin/login/", {}),
            (404, "/x%0A%7B%22event%22:%22forged%22%7D%1B%5B31m%C2%85%E2%80%A8%00", {}),
        ]
        for status, path, options in requests:
            with self.subTest(path, status=status):
                with logged() as lines:
                    self.client.get(path, **options)
                told = [(line["status"], line["path"]) for line in lines if line["event"] == "request"]
                self.assertEqual(told, [(status, path)])

    def test_failure_is_logged_with_its_place(self) -> None:
        """The line has type, message, frames, SQLSTATE and constraint, but not the row's values."""
        self.client.raise_request_exception = False
        broken = partial(common.make_regular_user, email=common.make_regular_user(email="ana@example.org").email)
        with patch("ctj_api.views.SkillFilter.read", lambda *_: broken()), logged() as lines:
            self.client.get("/api/skills/")
        (line,) = lines
        exception = line["exception"]
        self.assertEqual((line["level"], line["status"]), ("error", 500))
        self.assertEqual(exception["type"], "django.db.utils.IntegrityError")
        self.assertRegex(exception["message"], r'^duplicate key value violates unique constraint "\w+"$')
        self.assertTrue(any("views.py" in frame for frame in exception["frames"]))
        self.assertEqual(exception["cause"]["sqlstate"], "23505")
        self.assertIn("email", exception["cause"]["constraint"])
        self.assertNotIn("ana@", str(lines))

    def test_signed_in_user_is_logged_by_id(self) -> None:
        """The line has the user's id if the view asked for it or signed them in, without a query."""
        user, client = common.make_regular_user(), common.browser()
        with logged() as lines:
            client.post(LOGIN, {"email": user.email, "password": common.PASSWORD})
            common.refresh_csrf_token(client)
            client.get("/api/users/me/")
            with self.assertNumQueries(2):
                client.get("/api/skills/")
            client.post("/api/auth/logout/")
        told = {line["route"]: line.get("user_id") for line in lines}
        expected = {"auth-login": str(user.pk), "user-me": str(user.pk), "skill-list": None, "auth-logout": None}
        self.assertEqual(told, told | expected)

    def test_personal_data_is_not_logged(self) -> None:
        """No address, password, token, cookie, name or search appears in the log."""
        client = common.browser()
        user = common.make_regular_user(email="ana@example.org", first_name="Anastasia")
        common.make_opportunity()
        with logged() as lines:
            ben = {"email": "ben@example.org", "password": common.PASSWORD, "first_name": "Benvolio"}
            client.post("/api/auth/signup/", ben)
            client = common.browser()
            client.post(LOGIN, {"email": "ana@example.org", "password": "wrong-passphrase"})
            client.post(LOGIN, {"email": "ana@example.org", "password": common.PASSWORD})
            client.get("/api/users/me/")
            client.get("/api/users/me/matches/?search=confidential")
            client.get("/api/opportunities/?search=confidential")
            client.get("/api/users/ana@example.org/")
            client.post("/admin/login/", {"username": common.make_admin_user().email, "password": "wrong-passphrase"})
            client.post("/admin/login/", {"username": common.make_admin_user().email, "password": common.PASSWORD})
            client.raise_request_exception = False
            with patch("ctj_api.views.SkillFilter.read", side_effect=ValueError("confidential of ana@example.org")):
                client.get("/api/skills/")
        written = json.dumps(lines)
        self.assertGreaterEqual(len(lines), 6)
        secrets = [client.cookies[name].value for name in ("sessionid", "csrftoken")]
        for secret in (
            "ana@",
            "ben@",
            "Anastasia",
            "Benvolio",
            common.PASSWORD,
            "wrong-pass",
            "confidential",
            *secrets,
        ):
            with self.subTest(secret):
                self.assertNotIn(secret, written)
        self.assertIn(str(user.pk), written)

    def test_health_checks_are_logged_at_debug_level(self) -> None:
        """A health check is not logged at INFO unless it fails."""
        with logged() as lines:
            self.client.get("/api/healthcheck/")
            self.client.post("/api/healthcheck/")
        self.assertEqual([line["status"] for line in lines], [405])
        with self.assertLogs("serving.request_log", "DEBUG"):
            self.client.get("/api/healthcheck/")

    @override_settings(SLOW_QUERY_MS=0)
    def test_slow_query_is_logged_without_its_parameters(self) -> None:
        """The line has the query's text and time, but not the values."""
        with logged() as lines:
            self.client.get("/api/skills/?search=confidential")
        slow = [line for line in lines if line["event"] == "slow query"]
        self.assertGreaterEqual(len(slow), 2)
        self.assertTrue(all(line["level"] == "warning" and line["duration_ms"] >= 0 for line in slow))
        self.assertIn("ctj_search_query(%s)", str(slow))
        self.assertNotIn("confidential", str(slow))
        self.assertEqual({line["request_id"] for line in lines}, {lines[0]["request_id"]})

    def test_valid_request_id_of_a_trusted_proxy_is_kept(self) -> None:
        """One that is empty, too long, has other characters or comes from elsewhere is replaced by a new one."""
        kept = [(given, "127.0.0.1") for given in ("a", "0b0f8f1e-5f39-4b3c-9d5e-2f6c7d8e9f00", "x" * 128, "A.b_c-1")]
        replaced = [(given, "127.0.0.1") for given in ("", "x" * 129, "a b", "a;b", 'a"b', "\u00e9")]
        replaced += [("a", "192.0.2.1")]
        for given, address in kept + replaced:
            with self.subTest(given, address=address):
                response = self.client.get("/api/nowhere/", headers={"x-request-id": given}, REMOTE_ADDR=address)
                expected = f"^{given}$" if (given, address) in kept else r"^[0-9a-f-]{36}$"
                self.assertRegex(response["X-Request-ID"], expected)

    def test_requests_have_ids_of_their_own(self) -> None:
        """Each request gets another id, leaves none in the thread, and tells nothing that was left there."""
        with structlog.contextvars.bound_contextvars(left="over"), logged() as lines:
            ids = {self.client.get("/api/nowhere/")["X-Request-ID"] for _ in range(3)}
        self.assertEqual({line["request_id"] for line in lines}, ids)
        self.assertEqual(len(ids), 3)
        self.assertNotIn("left", str(lines))
        self.assertEqual(structlog.contextvars.get_contextvars(), {})


@override_settings(TRUSTED_PROXIES=PROXIES)
class HandlerTests(SimpleTestCase):
    """The lines of requests that come through the handler."""

    @override_settings(ROOT_URLCONF=__name__, SECURE_SSL_REDIRECT=False, REQUEST_THREADS=2)
    async def test_lines_of_requests_at_once_have_their_own_ids(self) -> None:
        """Lines of concurrent requests carry the id of their own request."""
        ids = [f"request-{number}" for number in range(12)]
        handler = ThreadPoolHandler()
        handler.load_middleware()
        with logged() as lines:
            await asyncio.gather(*(Visitor(handler, f"/tell/{id_}/", {"x-request-id": id_}).visit() for id_ in ids))
            anonymous = await Visitor(handler, "/tell/none/").visit()
        close(handler)
        told = {line["event"].removeprefix("told by "): line["request_id"] for line in lines if "by" in line["event"]}
        self.assertEqual(told.pop("none"), dict(anonymous.headers)["x-request-id"])
        self.assertEqual(told, {id_: id_ for id_ in ids})
        self.assertEqual(len([line for line in lines if line["event"] == "request"]), len(ids) + 1)

    @override_settings(REQUEST_THREADS=1, REQUEST_WAIT_SECONDS=0.05, SECURE_SSL_REDIRECT=False)
    async def test_refusal_of_an_overloaded_server_is_logged_and_counted(self) -> None:
        """The line has the time that the request waited, and its id."""
        handler = ThreadPoolHandler()
        handler.load_middleware()
        before = OVERLOADED._value.get()
        busy = threading.Event()
        handler.pool.submit(busy.wait)
        with logged() as lines:
            visitor = await Visitor(handler, "/api/skills/", {"x-request-id": "abc-1"}).visit()
        busy.set()
        close(handler)
        (line,) = lines
        self.assertEqual((line["status"], line["request_id"]), (503, "abc-1"))
        self.assertGreaterEqual(line["waited_ms"], 50)
        self.assertGreaterEqual(line["duration_ms"], line["waited_ms"])
        self.assertEqual(dict(visitor.headers)["x-request-id"], "abc-1")
        self.assertEqual(OVERLOADED._value.get(), before + 1)


class ExceptionTests(TestCase):
    """What is told of exceptions: all but what they quote."""

    def told(self, error: Exception, cause: Exception | None = None) -> dict[str, Any]:
        """Return what the log says of an exception; fails where the line has it in another place, too."""
        error.__cause__ = cause

        def fail() -> None:
            raise error

        with logged() as lines:
            try:
                fail()
            except Exception:
                logger.exception("Failed: %s", error)
        (line,) = lines
        exception: dict[str, Any] = line["exception"]
        self.assertEqual(line["event"], f"Failed: {exception.get('message') or exception['type']}")
        return exception

    def test_message_that_may_quote_data_is_not_logged(self) -> None:
        """Only type and place are logged, also of its cause; messages about the system are told."""
        refused, bad = SMTPRecipientsRefused({"hunter2": (550, b"")}), DataError('invalid input syntax: "hunter2"')
        for error in (ValueError("hunter2"), KeyError("hunter2"), bad, refused):
            with self.subTest(type(error)):
                exception = self.told(error, cause=ValueError("hunter2"))
                self.assertNotIn("hunter2", str(exception))
                self.assertEqual(exception["cause"]["type"], "builtins.ValueError")
                self.assertIn(__file__, exception["frames"][-1])
        for failure in (OSError(28, "No space left on device"), OperationalError("no such server"), NameError("x")):
            with self.subTest(type(failure)):
                self.assertEqual(self.told(failure)["message"], str(failure))

    def test_endless_causes_are_cut_off(self) -> None:
        """A chain of causes is logged up to MAX_CAUSES."""
        error = ValueError()
        error.__context__ = KeyError()
        error.__context__.__context__ = error
        self.assertLess(str(self.told(error)).count("KeyError"), 5)


class FormatTests(SimpleTestCase):
    """The two ways to write a line."""

    def line(self, form: str, event: str, **fields: Any) -> str:
        """Return the line of an event."""
        record = logging.LogRecord("x", logging.INFO, "", 1, event, None, None)
        record.fields = fields
        return make_formatter(form).format(record)

    def test_lines_hold_any_text(self) -> None:
        """Control characters are escaped in production, and what JSON lacks has another form."""
        for character in "\n\r\0\x1b\x85\x9b\u2028\u2029":
            with self.subTest(ascii(character)):
                line = self.line("json", f"one{character}two", path=f"one{character}two")
                self.assertNotIn(character, line)
        told = json.loads(self.line("json", "request", path="\ud800", number=2**70, thing=Path("x")))
        self.assertEqual((told["path"], told["number"], told["thing"]), ("\ud800", 2**70, "x"))

    def test_console_line_is_readable(self) -> None:
        """The development format has level, event, logger and fields."""
        self.assertRegex(self.line("console", "request", path="/x/"), r"info +\] request +\[x\].* path=/x/")
