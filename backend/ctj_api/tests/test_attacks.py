"""Requests that would cost much: every endpoint answers them at once, in few words, and without locking a row."""

import json
import time
from itertools import product
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient, APITestCase

from ctj_api.exceptions import validation_envelope

from .common import browser, error_of, make_opportunity, make_pm_user

BYTES = 60_000
MAX_ANSWER = 64 * 1024
MAX_MESSAGES = 20
MAX_CPU_SECONDS = 2.0
KEYS = {f"{number:06}": 1 for number in range(BYTES // 11)}
UTC: dict[str, Any] = {"timezone": "UTC"}
VALUES: dict[str, Any] = {
    "control characters": "\x01" * (BYTES // 6),
    "lone surrogates": "\ud800" * (BYTES // 6),
    "objects": [{}] * (BYTES // 4),
    "nested lists": [[[[[[[[[[[]]]]]]]]]]] * (BYTES // 24),
    "floats": [0.1] * (BYTES // 5),
    "keys": KEYS,
    "a long key": {"k" * BYTES: 1},
    "long keys": {f"{number}{'é' * (BYTES // 1_600)}": 1 for number in range(250)},
    "a slot of keys": {**UTC, "slots": [KEYS]},
    "slots of keys": {**UTC, "slots": [dict(list(KEYS.items())[:40])] * 100},
    "many slots": {**UTC, "slots": [0] * (BYTES // 3)},
    "slots of nothing": {**UTC, "slots": [{"\x01" * 60: 1}] * 100},
    "an address": f"{'a.' * (BYTES // 4)}@{'a.' * (BYTES // 4)}com",
}
ME, OPPORTUNITIES = "/api/users/me/", "/api/opportunities/"
WRITES = (
    *(("post", f"/api/auth/{name}/") for name in ("signup", "login", "forgot-password", "reset-password")),
    *(("put", ME), ("patch", ME), ("post", OPPORTUNITIES), ("put", f"{OPPORTUNITIES}%s/")),
)
FIELDS = (
    *("email", "password", "first_name", "uid", "token", "project", "role", "body", "status", "min_hours_required"),
    *("skills_required_matrix", "skills_learned_matrix", "meeting_availability", "max_available_hours", "other"),
)
QUERIES: dict[str, dict[str, Any]] = {
    "unknown names": {f"{number}{'é' * 100}": 1 for number in range(900)},
    "unknown skills": {"skill": [f"{number}{'é' * 100}" for number in range(900)]},
    "a long choice": {"status": "x" * BYTES},
    "a long id": {"project": "x" * BYTES, "community_of_practice": "x" * BYTES},
    "a long search": {"search": "x" * BYTES},
}


class AttackTests(APITestCase):
    """A project manager's browser, taken over."""

    def setUp(self) -> None:
        """Sign in."""
        pm = make_pm_user()
        self.opportunity = make_opportunity(created_by=pm)
        self.browser = browser(pm)

    def assert_cheap(self, method: str, url: str, body: str | None = None) -> None:
        """Fail unless a request is refused in little time and few words, and locks nothing."""
        with CaptureQueriesContext(connection) as queries:
            began = time.thread_time()
            response = getattr(self.browser, method)(url, body, content_type="application/json")
            taken = time.thread_time() - began
        self.assertEqual((response.status_code, error_of(response)["code"]), (400, "validation_error"))
        self.assertLess(len(response.content), MAX_ANSWER)
        self.assertLessEqual(max(map(len, error_of(response)["fields"].values())), MAX_MESSAGES)
        self.assertLess(taken, MAX_CPU_SECONDS)
        locks = [sql for query in queries if "FOR UPDATE" in (sql := query["sql"].upper())]
        self.assertFalse([sql for sql in locks if "ATTEMPTCOUNT" not in sql])

    def test_attacker_sending_hostile_bodies_gets_a_short_400_at_once(self) -> None:
        """Each kind of value in all fields of each endpoint that is written to."""
        with self.settings(PASSWORD_RESET_RATE=(1_000, 60)):
            for (kind, value), (method, url) in product(VALUES.items(), WRITES):
                with self.subTest(kind, method=method, url=url):
                    path = url.replace("%s", str(self.opportunity.pk))
                    self.assert_cheap(method, path, json.dumps(dict.fromkeys(FIELDS, value)))

    def test_attacker_sending_hostile_queries_gets_a_short_400_at_once(self) -> None:
        """Many names, many values, long ones."""
        paths = (OPPORTUNITIES, f"{ME}matches/", "/api/skills/", ME)
        for (kind, query), path in product(QUERIES.items(), paths):
            with self.subTest(kind, path=path):
                self.assert_cheap("get", f"{path}?{urlencode(query, doseq=True)}")

    def test_anonymous_without_a_token_has_no_body_parsed(self) -> None:
        """The CSRF check comes first, and looks for the token in the header only."""
        with patch("ctj_api.http.parsers.StrictJSONParser.parse") as parse:
            response = APIClient(enforce_csrf_checks=True).post("/api/auth/login/", {})
        self.assertEqual((response.status_code, error_of(response)["code"]), (403, "permission_denied"))
        parse.assert_not_called()

    def test_client_is_told_as_much_as_fits(self) -> None:
        """Twenty messages of a field in their order, as many fields as there is room for, and long texts cut."""
        told = validation_envelope({"a": (f"Message {number}" for number in range(1_000))})["error"]["fields"]
        self.assertEqual(told, {"a": [f"Message {number}" for number in range(20)]})
        fields = {f"{number:03}{'n' * 200}": ["x" * 1_000] * 30 for number in range(100)}
        body = validation_envelope(fields)
        self.assertTrue(MAX_ANSWER * 0.7 < len(json.dumps(body)) < MAX_ANSWER)
        name, messages = next(iter(body["error"]["fields"].items()))
        self.assertEqual((len(name), len(messages), len(messages[0])), (100, 20, 500))
