"""The error envelope: by code for every failure, wherever it arises."""

import json
from functools import partial
from io import BytesIO
from itertools import product
from typing import Any
from unittest.mock import patch

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db import DataError, IntegrityError, InterfaceError, InternalError, OperationalError, connection
from django.http.response import HttpResponseBase
from psycopg import errors as pg
from rest_framework import exceptions
from rest_framework.test import APIClient, APIRequestFactory, APITestCase

from ctj_api.exceptions import CODE_OF_STATUS, civic_exception_handler, flatten, validation_envelope
from ctj_api.models import Opportunity

from . import common

OPPORTUNITIES = "/api/opportunities/"
JSON = "application/json"
BEFORE_THE_VIEW = (SessionMiddleware, "process_request")


class ErrorTests(APITestCase):
    """One shape for all failures, and never a page of HTML."""

    def setUp(self) -> None:
        """Sign a project manager in; failures that nobody foresaw answer as they do in production."""
        self.pm = common.make_pm_user()
        self.client = APIClient(raise_request_exception=False)
        self.client.force_authenticate(self.pm)

    def assert_error(self, response: Any, status: int, code: str) -> dict[str, Any]:
        """Fail unless the response is the envelope with this code, kept out of caches."""
        self.assertEqual((response.status_code, response["Content-Type"]), (status, JSON))
        self.assertEqual(response["Cache-Control"], "private, no-store")
        error = common.error_of(response)
        self.assertEqual(error["code"], code)
        return error

    def test_anyone_on_unknown_route_gets_404(self) -> None:
        """With and without a slash, by any method, with any query."""
        for path in ("/api", "/api/", "/api/nope", "/api/nope/", "/api/skills", "/api/skills/1/", "/api/é/?x=1"):
            for method in ("get", "post", "put", "patch", "delete", "options"):
                with self.subTest(path=path, method=method):
                    self.assert_error(getattr(self.client, method)(path), 404, "not_found")
        # The envelope is the API's own.
        response = self.client.get("/apiary/")
        self.assertEqual((response.status_code, response["Content-Type"].split(";")[0]), (404, "text/html"))

    def test_anyone_with_foreign_host_gets_400(self) -> None:
        """The host check answers in the envelope, with debugging on and off."""
        for debug in (True, False):
            with self.settings(DEBUG=debug, ALLOWED_HOSTS=["api.example.org"]):
                with self.assertLogs("ctj_api.http.middleware", "WARNING") as logs:
                    response = self.client.get("/api/skills/", HTTP_HOST="evil.example")
                self.assert_error(response, 400, "bad_request")
                advice = "The host 'evil.example' is not in DJANGO_ALLOWED_HOSTS."
                self.assertIn(advice, logs.output[0])
                self.assertEqual(response.json()["error"]["message"] == advice, debug)
                self.assert_error(self.client.get("/api/skills/", HTTP_HOST="a b"), 400, "bad_request")

    def test_anyone_with_unknown_or_unusable_query_parameter_gets_400(self) -> None:
        """It is named, also by what is no list (test_schema.py asks these); of two values, none wins."""
        detail = f"{OPPORTUNITIES}{common.make_opportunity().pk}/"
        for path in ("/api/schema/", "/api/docs/", "/api/healthcheck/", "/api/users/me/", detail):
            with self.subTest(path):
                error = self.assert_error(self.client.get(path, {"nonsense": 1}), 400, "validation_error")
                self.assertEqual(list(error["fields"]), ["nonsense"])
        self.assert_error(self.client.post(f"{OPPORTUNITIES}?limit=1", {}), 400, "validation_error")
        unreadable = [f"/api/skills/?search={text}" for text in ("%FF", "%ED%A0%80", "react%F0%9F")]
        for path in (*unreadable, f"{OPPORTUNITIES}?limit=1&limit=2"):
            error = self.assert_error(self.client.get(path), 400, "validation_error")
            self.assertEqual(list(error["fields"]), ["search" if path in unreadable else "limit"])

    def test_pm_user_with_other_content_type_gets_415_or_406(self) -> None:
        """JSON in UTF-8 both ways, and nothing else, also where the CSRF check looks into a form."""
        forms = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data")
        charsets = tuple(f"{JSON}; charset={charset}" for charset in ("utf-16", "zlib", "nonsense"))
        for content_type in ("text/plain", "application/xml", "x", *forms, *charsets):
            with self.subTest(content_type):
                for client, path in ((self.client, OPPORTUNITIES), (common.browser(), "/api/auth/logout/")):
                    client.credentials()
                    response = client.post(path, b"a=b", content_type=content_type)
                    self.assert_error(response, 415, "unsupported_media_type")
                read = common.browser().generic("GET", OPPORTUNITIES, "a=b", content_type)
                self.assertEqual(read.status_code, 415 if content_type in charsets else 200)
        accepted = {"/api/skills/": ("text/html", "application/xml", "image/*"), "/api/docs/": (JSON,)}
        for path, accepts in (accepted | dict.fromkeys(("/api/schema/", "/api/healthcheck/"), ("text/html",))).items():
            for accept in accepts:
                self.assert_error(self.client.get(path, HTTP_ACCEPT=accept), 406, "not_acceptable")

    def test_anyone_meeting_a_bug_or_a_suspicion_of_django_gets_no_details(self) -> None:
        """The log has what went wrong, with debugging on and off; too long a query is a 400."""
        query = "&".join(f"a{number}=1" for number in range(1001))
        for debug in (True, False):
            with self.settings(DEBUG=debug), patch("ctj_api.views.Role.objects.all") as broken:
                broken.side_effect = SuspiciousOperation("secret")
                suspicious = self.client.get("/api/roles/")
                broken.side_effect = RuntimeError("secret")
                with self.assertLogs("django.request", "ERROR"):
                    bug = self.client.get("/api/roles/")
                self.assert_error(suspicious, 400, "bad_request")
                self.assert_error(bug, 500, "server_error")
                self.assertNotIn(b"secret", suspicious.content + bug.content)
                for path in ("/api/skills/", "/api/healthcheck/", OPPORTUNITIES):
                    self.assert_error(self.client.get(f"{path}?{query}"), 400, "bad_request")

    def test_pm_user_with_unreadable_body_gets_parse_error(self) -> None:
        """Broken JSON, nested too deep, out of range or not UTF-8, and JSON that is no object."""
        broken = (b"{", b"'", b"\xff", b'{"a": NaN}', b"{} {}", b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 1}}')
        too_long = (b'{"a": ' + b"9" * 5000 + b"}", b"1" * 5_000)
        lists = tuple(b"[" * depth + b"]" * depth for depth in (5_000, 200_000))
        objects = (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b'{"status": ' + lists[0] + b"}")
        for body in (*broken, *too_long, *lists, *objects):
            with self.subTest(body[:20]):
                response = self.client.post(OPPORTUNITIES, body, content_type=JSON)
                self.assert_error(response, 400, "parse_error")
        for depth, code in ((16, "validation_error"), (17, "parse_error")):
            body = b"[" * depth + b"]" * depth
            self.assert_error(self.client.post(OPPORTUNITIES, body, content_type=JSON), 400, code)
        for no_object in ([], [1], "x", 1, True, None):
            response = self.client.post(OPPORTUNITIES, json.dumps(no_object), content_type=JSON)
            error = self.assert_error(response, 400, "validation_error")
            self.assertEqual(list(error["fields"]), ["non_field_errors"])

    def test_pm_user_with_lone_surrogates_gets_400(self) -> None:
        """Whatever the field, the answer is text that UTF-8 can hold."""
        for field, value in (
            ("body", '"\\ud800"'),
            ("status", '"\\ud800"'),
            ("project", '"\\udfff"'),
            ("skills_required_matrix", '{"\\ud800": 1}'),
            ("skills_required_matrix", f'{{"{common.make_skill().pk}": "\\ud800"}}'),
        ):
            payload = json.dumps(common.opportunity_payload(**{field: "HERE"})).replace('"HERE"', value)
            with self.subTest(field=field, value=value):
                response = self.client.post(OPPORTUNITIES, payload, content_type=JSON)
                self.assertEqual(list(self.assert_error(response, 400, "validation_error")["fields"]), [field])
        self.assertFalse(Opportunity.objects.exists())

    def test_anyone_with_unserved_method_gets_405(self) -> None:
        """The answer says which methods there are; what a query means is not the question then, nor for OPTIONS."""
        for path in ("/api/skills/", "/api/healthcheck/", OPPORTUNITIES):
            response = self.client.delete(path)
            self.assert_error(response, 405, "method_not_allowed")
            self.assertIn("GET", response["Allow"])
        self.assertEqual(self.client.post("/api/healthcheck/")["Allow"], "GET, HEAD")
        for method in ("post", "put", "patch", "delete"):
            for path in ("/api/skills/?search=x", "/api/skills/?nonsense=1", "/api/users/me/matches/?fits=true"):
                self.assert_error(getattr(self.client, method)(path), 405, "method_not_allowed")
        self.assert_error(self.client.put(f"{OPPORTUNITIES}?status=open"), 405, "method_not_allowed")
        self.assertEqual(self.client.options("/api/skills/?search=x").status_code, 200)
        for path in ("/api/docs/", "/api/schema/"):
            self.assert_error(self.client.options(path), 405, "method_not_allowed")

    def test_anyone_while_database_is_away_or_busy_gets_503(self) -> None:
        """In a view and before it, with debugging on and off; the request's line has the reason."""
        cases: list[tuple[Exception, Exception | None]] = [
            (OperationalError("deadlock detected"), pg.DeadlockDetected()),
            (OperationalError("could not extend file: No space left on device"), pg.DiskFull()),
            (OperationalError("FATAL: sorry, too many clients already"), pg.TooManyConnections()),
            (OperationalError("server closed the connection"), None),
            (InterfaceError("closed"), None),
            (InternalError("the transaction was idle for too long"), pg.IdleInTransactionSessionTimeout()),
        ]
        view, middleware = partial(patch, "ctj_api.views.Role.objects.all"), partial(patch.object, *BEFORE_THE_VIEW)
        for (failure, cause), broken, debug in product(cases, (view, middleware), (True, False)):
            failure.__cause__ = cause
            kept, logged = patch.object(connection, "close"), self.assertLogs(level="WARNING")
            with (
                self.subTest(str(failure), debug=debug),
                self.settings(DEBUG=debug),
                broken(side_effect=failure),
                kept,
                logged as logs,
            ):
                response = self.client.get("/api/roles/")
                self.assert_error(response, 503, "service_unavailable")
                self.assertGreater(int(response["Retry-After"]), 0)
                is_readable = broken is view and isinstance(cause, pg.DiskFull)
                self.assertEqual("only read" in response.json()["error"]["message"], is_readable)
            self.assertEqual([record.name for record in logs.records], ["serving.request_log"])
            self.assertIn(str(failure), logs.output[0])

    def test_administrator_while_database_is_away_or_meeting_a_bug_gets_a_page(self) -> None:
        """In words, and with the headers of every page; a defect is not theirs, and its details stay in the log."""
        self.client.force_login(common.make_admin_user())
        with patch("django.contrib.admin.sites.AdminSite.each_context") as broken:
            broken.side_effect = OperationalError("gone")
            away = self.client.get("/admin/")
            broken.side_effect = RuntimeError("secret")
            with self.assertLogs("django.request", "ERROR"):
                defect = self.client.get("/admin/")
        self.assertContains(away, "Not available at the moment", status_code=503)
        self.assertGreater(int(away["Retry-After"]), 0)
        self.assertIn("Content-Security-Policy", away)
        self.assertContains(defect, "It is our fault", status_code=500)
        self.assertNotContains(defect, "secret", status_code=500)
        # A new sign-in in another tab has changed the token.
        page = APIClient(enforce_csrf_checks=True).post("/admin/login/", {"username": "pm@example.org"})
        self.assertContains(page, "This page is out of date", status_code=403)

    def test_pm_user_meeting_a_defect_gets_500_and_a_conflict_400(self) -> None:
        """A defect of ours is logged with its traceback, a conflict in the database as no error."""
        for sql in ("SELECT 1/0", "SELECT 'x'::int", "INSERT INTO ctj_api_skill (id) VALUES (gen_random_uuid())"):
            defect = patch("ctj_api.views.log_addition", lambda *_, sql=sql: common.execute(sql))
            with self.subTest(sql), defect, self.assertLogs("django.request", "ERROR") as logs:
                self.assert_error(self.client.post(OPPORTUNITIES, common.opportunity_payload()), 500, "server_error")
            self.assertIsNotNone(logs.records[0].exc_info)
        payload = common.opportunity_payload(skills_required_matrix={common.UNKNOWN_ID: 3})
        names = patch("ctj_api.querysets.SkillQuerySet.names", return_value={common.UNKNOWN_ID: "Deleted meanwhile"})
        with names, self.assertLogs("ctj_api", "WARNING") as logs:
            error = self.assert_error(self.client.post(OPPORTUNITIES, payload), 400, "validation_error")
        self.assertEqual(list(error["fields"]), ["non_field_errors"])
        self.assertEqual([record.levelname for record in logs.records], ["WARNING"])
        self.assertIn("skill_matrix_rated_skills_exist", logs.output[0])
        self.assertFalse(Opportunity.objects.exists())


class ExceptionHandlerTests(APITestCase):
    """The mapping of exceptions to codes, and bodies in chunks, as Node.js may send them."""

    def test_client_gets_the_code_of_the_specification_for_each_exception(self) -> None:
        """Its table, word by word; the header that says when to retry survives the envelope."""
        table: list[tuple[exceptions.APIException, str]] = [
            (exceptions.ValidationError("x"), "validation_error"),
            (exceptions.AuthenticationFailed(), "authentication_failed"),
            (exceptions.NotAuthenticated(), "not_authenticated"),
            (exceptions.PermissionDenied(), "permission_denied"),
            (exceptions.NotFound(), "not_found"),
            (exceptions.MethodNotAllowed("PATCH"), "method_not_allowed"),
            (exceptions.NotAcceptable(), "not_acceptable"),
            (exceptions.UnsupportedMediaType("text/plain"), "unsupported_media_type"),
            (exceptions.ParseError(), "parse_error"),
            (exceptions.Throttled(wait=7), "throttled"),
            (exceptions.APIException(), "error"),
        ]
        for exc, code in table:
            response = civic_exception_handler(exc, {})
            assert response is not None
            self.assertEqual((response.status_code, response.data["error"]["code"]), (exc.status_code, code))
            self.assertEqual(response.get("Retry-After"), "7" if code == "throttled" else None)
        for cls in exceptions.APIException.__subclasses__():  # as the middleware tells a status without exception
            if cls.status_code in CODE_OF_STATUS and cls.status_code not in {400, 403}:
                self.assertEqual(CODE_OF_STATUS[cls.status_code][0], cls.default_code)

    def test_client_is_told_of_a_conflict_after_a_write_only(self) -> None:
        """A read that breaks a rule of the database is a defect, and so is a write that breaks no rule for clients."""
        conflict, defect = IntegrityError(), IntegrityError()
        conflict.__cause__, defect.__cause__ = pg.UniqueViolation(), pg.NotNullViolation()
        factory = APIRequestFactory()
        response = civic_exception_handler(conflict, {"request": factory.post("/")})
        assert response is not None
        self.assertEqual(response.data["error"]["code"], "validation_error")
        self.assertIsNone(civic_exception_handler(conflict, {"request": factory.get("/")}))
        for exc in (defect, DataError()):
            self.assertIsNone(civic_exception_handler(exc, {"request": factory.post("/")}))

    def test_client_gets_nested_errors_flattened(self) -> None:
        """Deeper keys are named in the message."""
        self.assertEqual(flatten({"a": {"b": ["x", {"c": ["y"]}]}, "d": "z"}), {"a": ["b: x", "b: c: y"], "d": ["z"]})
        told = validation_envelope(flatten(["x", "\ud800"]))
        self.assertEqual(told["error"]["fields"], {"non_field_errors": ["x", "?"]})

    def answer_to(self, body: bytes) -> HttpResponseBase:
        """Return what Daphne gets for a sign-in in chunks."""
        token = "t" * 32
        headers = {"host": "testserver", "transfer-encoding": "chunked", "content-type": JSON}
        headers |= {"cookie": f"csrftoken={token}", "x-csrftoken": token}
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"method": "POST", "path": "/api/auth/login/", "query_string": b"", "headers": sent}
        handler = BaseHandler()
        handler.load_middleware()
        return handler.get_response(ASGIRequest(scope, BytesIO(body)))

    def test_anyone_with_a_chunked_body_is_understood(self) -> None:
        """The body is read to its end; chunks are no way around the limit."""
        too_much = b" " * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        sign_in = b'{"email": "nobody@example.org", "password": "wrong"}'
        for body, code in ((sign_in, "authentication_failed"), (too_much, "bad_request")):
            self.assertEqual(json.loads(b"".join(self.answer_to(body)))["error"]["code"], code)
