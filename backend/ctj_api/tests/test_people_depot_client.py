"""The client of PeopleDepot: what it reads, what it refuses and why, and the contract that it rests on."""

import json
import logging
import os
import time
import traceback
import unittest
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock
from uuid import UUID

import httpx2
import stamina
from django.conf import settings
from django.test import SimpleTestCase, override_settings

from ctj_api.clients import peopledepot
from ctj_api.clients.peopledepot import NamedRow, PeopleDepotClient, PeopleDepotError, ProjectRow

from .common import wait_until
from .people_depot import NOT_FOUND, TOKEN, PeopleDepot
from .stand_in import Answer, drip, hang, reset, say

LONG_AGO = UUID(int=1)
ROW = {"uuid": str(LONG_AGO), "name": "Python"}
NO_LIST = "its answer is no list, or a truncated one"
BROKE_OFF = "there is no connection to it, or it broke off ("
SLOW = {
    "a hang": hang,
    "a slow drip of headers": drip(b"HTTP/1.1 200 OK\r\nX-Slow: "),
    "a slow drip of rows": drip(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n["),
}
FAILURES: dict[str, tuple[Answer, str, int]] = {
    "another's token": (say(401), "it refuses the token (401)", 1),
    "a token without rights": (say(403), "it refuses the token (403)", 1),
    "no such list": (say(404, NOT_FOUND.encode(), "text/html"), "it has no such list (404)", 1),
    "a server error": (say(500), "it answers with no list (500)", 1),
    "no content": (say(204), NO_LIST, 1),
    "a page": (say(200, NOT_FOUND.encode(), "text/html"), "its answer is a page", 1),
    "truncated JSON": (say(200, b'[{"uuid": "0000'), NO_LIST, 1),
    "an object": (say(200, b'{"results": []}'), NO_LIST, 1),
    "deep JSON": (say(200, b"[" * 100_000), NO_LIST, 1),
    "a redirect": (say(302, Location="/api/v1/projects/"), "it redirects elsewhere, which isn't followed (302)", 1),
    "11 MB": (say(200, b"[" + b" " * 11_000_000 + b"]"), "its answer has more than 10,485,760 bytes", 1),
    "too many requests, for an hour": (say(429, Retry_After="3600"), "it can't answer now (429)", 1),
    "too many requests": (say(429), "it can't answer now (429)", 4),
    "away": (say(503), "it can't answer now (503)", 4),
    "a reset": (reset, BROKE_OFF, 4),
    "a body that ends early": (say(200, b"[", Content_Length="99"), BROKE_OFF, 4),
}
WRONG_ROWS: dict[str, tuple[str, list[Any], str]] = {
    "a text": ("skills", ["Python"], "row 1 (no uuid): non_field_errors: Invalid data"),
    "no uuid": ("skills", [{"name": "Python"}], "row 1 (no uuid): uuid: This field is required"),
    "a number for a uuid": ("skills", [{**ROW, "uuid": 1}], "row 1 (no uuid): uuid: Must be a valid UUID"),
    "a uuid without hyphens": ("skills", [{**ROW, "uuid": "0" * 32}], "row 1 (no uuid): uuid: Must be a valid UUID"),
    "no name": ("skills", [{"uuid": ROW["uuid"]}], f"row 1 ({LONG_AGO}): name: This field is required"),
    "a number for a name": ("skills", [{**ROW, "name": 5}], "name: Not a valid string"),
    "null for a name": ("practice-areas", [{**ROW, "name": None}], "name: This field may not be null"),
    "an empty title": ("modern-job-titles", [{**ROW, "title": ""}], "title: This field may not be blank"),
    "an unseen name": ("skills", [{**ROW, "name": "\u200b"}], "name: Ensure this field has at least 1 characters"),
    "a NUL in a name": ("skills", [{**ROW, "name": "a\0b"}], "name: Null characters are not allowed"),
    "256 characters": ("skills", [{**ROW, "name": "é" * 256}], "name: Ensure this field has no more than 255 "),
    "a text for hide": ("projects", [{**ROW, "hide": "yess", "completed_on": None}], "hide: Must be a valid boolean"),
    "no date": ("projects", [{**ROW, "hide": True, "completed_on": "soon"}], "completed_on: Date has wrong format"),
}
BAD_TOKEN = {"Authorization": "Bearer bad"}
# The fields that the document names and the client keeps, with the types of their values in JSON.
DOCUMENTED: dict[str, dict[str, type | tuple[type, ...]]] = {
    "skills": {"uuid": str, "name": str},
    "practice-areas": {"uuid": str, "name": str, "created_at": str},
    "modern-job-titles": {"uuid": str, "title": str, "soc_detailed": str},
    "projects": {"uuid": str, "name": str, "hide": bool, "completed_on": (str, type(None)), "project_leads": list},
    "users": {"uuid": str, "username": str, "email": str, "is_active": bool},
}


class PeopleDepotClientTests(SimpleTestCase):
    """What the client makes of PeopleDepot's rows, and does where one, or PeopleDepot, isn't as it should be."""

    def setUp(self) -> None:
        """Start a PeopleDepot."""
        self.depot = self.enterContext(PeopleDepot())
        self.enterContext(self.depot.settings())
        self.enterContext(stamina.set_testing(True, attempts=10, cap=True))

    def test_client_is_answered_wrongly_and_says_why(self) -> None:
        """Each failure is tried as often as it makes sense, and told in words without the token."""
        for name, (answer, reason, tries) in FAILURES.items():
            with self.subTest(name):
                self._assert_failure(answer, reason, tries)

    @mock.patch.multiple(peopledepot, TIMEOUT=httpx2.Timeout(0.3), ANSWER_SECONDS=0.6)
    def test_client_is_answered_slowly_and_gives_up(self) -> None:
        """No answer, and one that comes byte by byte, takes no more than the limits allow."""
        for name, answer in SLOW.items():
            with self.subTest(name):
                self._assert_failure(answer, "it takes too long to answer", 4)

    def test_client_reads_a_wrong_row_and_names_it(self) -> None:
        """One row of a wrong type or length fails its list; the message has the list, the row, the field and why."""
        for name, (list_name, rows, reason) in WRONG_ROWS.items():
            with self.subTest(name):
                self.depot.fail(list_name, say(200, json.dumps(rows).encode()))
                self._assert_refused(list_name, reason)

    @mock.patch.object(peopledepot, "TIMEOUT", httpx2.Timeout(0.5))
    def test_client_finds_nobody_listening_and_says_so(self) -> None:
        """A server that isn't there, has another protocol or an impossible name is told in words, too."""
        with PeopleDepot() as gone:
            closed = gone.url
        for url in (closed, self.depot.url.replace("http", "https"), "https://a b"):
            with self.subTest(url), override_settings(PEOPLEDEPOT_URL=url):
                self._assert_refused("skills", f"PeopleDepot's skills: {BROKE_OFF}")

    def test_client_has_no_token_and_asks_nothing(self) -> None:
        """A token that a header can't hold, or a file that can't be read, is refused before any request."""
        for token, file in (("", ""), (f"{TOKEN}\nX: y", ""), (f"{TOKEN}é", ""), (TOKEN, "/no/such/file")):
            with self.subTest(token=token, file=file):
                with override_settings(PEOPLEDEPOT_TOKEN=token, PEOPLEDEPOT_TOKEN_FILE=file):
                    self._assert_refused("skills", "PEOPLEDEPOT_TOKEN_FILE, holds no token")
                self.assertEqual(self.depot.requests, [])

    def test_client_reads_rows_in_their_normal_form(self) -> None:
        """Names are normalised before they are measured; ids may be of no version, and unknown fields are ignored."""
        self.depot.add("skills", uuid=LONG_AGO, name=f"  Rea\u200bct\t{'e\u0301' * 249}\n")
        self.depot.add("projects", uuid=LONG_AGO, name="Done", completed_on="2026-02-28")
        title = self.depot.add("modern-job-titles", title="Writer")
        client = PeopleDepotClient()
        self.assertEqual(client.skills(), [NamedRow(LONG_AGO, f"React {'é' * 249}")])
        self.assertEqual(client.projects(), [ProjectRow(LONG_AGO, "Done", True, date(2026, 2, 28))])
        self.assertEqual(client.modern_job_titles(), [NamedRow(title, "Writer")])
        self.assertNotIn(TOKEN, f"{client!r} {vars(client)!r}")

    def test_client_asks_for_a_user_and_takes_no_other(self) -> None:
        """A PeopleDepot that doesn't know the parameter answers with all users, and none of them is meant."""
        users = [{"uuid": str(UUID(int=number)), "username": f"user {number}"} for number in (1, 2)]
        self.depot.fail("users", say(200, json.dumps(users).encode()))
        self.assertEqual(PeopleDepotClient().users_by_username("user 1"), [NamedRow(LONG_AGO, "user 1")])
        self.assertEqual(PeopleDepotClient().users_by_username("user"), [])
        self.assertFalse(logging.getLogger("httpx2").isEnabledFor(logging.INFO))  # the address has the username

    def test_client_tries_three_times_more_and_waits_as_long_as_it_is_asked(self) -> None:
        """The fourth try is read, nothing is printed of others, and none is before ``Retry-After``."""
        self.assertEqual(stamina.instrumentation.get_on_retry_hooks(), ())
        self.depot.fail("skills", say(502), times=3)
        self.assertEqual(PeopleDepotClient().skills(), [])
        self.enterContext(stamina.set_testing(False))
        self.depot.fail("skills", say(429, Retry_After="1"), times=1)
        started = time.monotonic()
        self.assertEqual(PeopleDepotClient().skills(), [])
        self.assertGreaterEqual(time.monotonic() - started, 1)

    def test_client_reads_the_token_from_its_file_at_each_run(self) -> None:
        """The file counts, with or without a newline at its end, and a new token in it is the next run's."""
        file = Path(self.enterContext(TemporaryDirectory())) / "token"
        with override_settings(PEOPLEDEPOT_TOKEN="the-one-at-start", PEOPLEDEPOT_TOKEN_FILE=str(file)):
            file.write_text(f"{TOKEN}\n")
            self.assertEqual(PeopleDepotClient().skills(), [])
            file.write_text("another")
            with self.assertRaisesMessage(PeopleDepotError, "it refuses the token"):
                PeopleDepotClient().skills()

    def _assert_failure(self, answer: Answer, reason: str, tries: int) -> None:
        self.depot.fail("skills", answer)
        self.depot.requests.clear()
        self._assert_refused("skills", f"PeopleDepot's skills: {reason}")
        wait_until(lambda: len(self.depot.requests) >= tries)  # the last one may be read after its time is over
        self.assertEqual(self.depot.requests, ["/api/v1/skills/"] * tries)

    def _assert_refused(self, list_name: str, reason: str) -> None:
        with self.assertLogs(level=logging.DEBUG) as logs, self.assertRaises(PeopleDepotError) as raised:
            logging.getLogger().debug("Logs are read")
            read(list_name)
        self.assertIn(reason, str(raised.exception))
        told = traceback.TracebackException.from_exception(raised.exception, capture_locals=True).format()
        self.assertNotIn(TOKEN, "".join([*told, *map(str, map(vars, logs.records))]))


class PeopleDepotContractTests(SimpleTestCase):
    """What the client rests on, asked of the stand-in by GET alone."""

    def setUp(self) -> None:
        """Start a PeopleDepot with two rows in each list."""
        depot = self.enterContext(PeopleDepot())
        self.enterContext(depot.settings())
        for list_name in DOCUMENTED:
            depot.add(list_name, name="One", title="One", username="one")
            depot.add(list_name, name="Two", title="Two", username="two")

    def test_client_reads_every_list_as_typed_rows(self) -> None:
        """Each list is a bare array of rows with the documented fields; a user is found by the whole name alone."""
        for list_name, fields in DOCUMENTED.items():
            with self.subTest(list_name):
                rows = get(f"{list_name}/").json()
                self.assertIsInstance(rows, list)
                for row in rows:
                    self.assertEqual([name for name in fields if not isinstance(row[name], fields[name])], [])
                if list_name != "users":
                    self.assertEqual({str(row.uuid) for row in read(list_name)}, {row["uuid"] for row in rows})
        for row in get("users/").json()[:1]:
            users = PeopleDepotClient().users_by_username(row["username"])
            self.assertEqual(users, [NamedRow(UUID(row["uuid"]), row["username"])])
        self.assertEqual(PeopleDepotClient().users_by_username("nobody & none"), [])

    def test_client_asking_otherwise_is_answered_as_documented(self) -> None:
        """Only public lists need no token, a bad one opens none; there are no pages, and no other addresses."""
        for path, headers, status, content_type in (
            ("practice-areas/", {}, 200, "application/json"),
            ("practice-areas/", BAD_TOKEN, 401, "application/json"),
            ("skills/", {}, 401, "application/json"),
            ("skills/", BAD_TOKEN, 401, "application/json"),
            ("nothing/", None, 404, "text/html"),
            ("skills", None, 301, "text/html"),
        ):
            with self.subTest(path, headers=headers):
                answer = get(path, headers)
                self.assertEqual(answer.status_code, status)
                self.assertIn(content_type, answer.headers["Content-Type"])
        rows = get("practice-areas/?limit=1&page=2&bogus=1").json()
        self.assertCountEqual(rows, get("practice-areas/").json())


@unittest.skipUnless("PEOPLEDEPOT_TEST_URL" in os.environ, "PEOPLEDEPOT_TEST_URL and _TOKEN name no real PeopleDepot")
class RealPeopleDepotContractTests(PeopleDepotContractTests):
    """The same, asked of a real PeopleDepot."""

    def setUp(self) -> None:
        """Take the one that the environment names."""
        url, token = os.environ["PEOPLEDEPOT_TEST_URL"], os.environ["PEOPLEDEPOT_TEST_TOKEN"]
        self.enterContext(override_settings(PEOPLEDEPOT_URL=url, PEOPLEDEPOT_TOKEN=token, PEOPLEDEPOT_TOKEN_FILE=""))


def read(list_name: str) -> list[Any]:
    """Return what the client makes of a list."""
    rows: list[Any] = getattr(PeopleDepotClient(), list_name.replace("-", "_"))()
    return rows


def get(path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    """Return PeopleDepot's answer to a request with its token, or with other ``headers``."""
    if headers is None:
        headers = {"Authorization": f"Bearer {settings.PEOPLEDEPOT_TOKEN}"}
    return httpx2.get(f"{settings.PEOPLEDEPOT_URL.rstrip('/')}/api/v1/{path}", headers=headers)
