"""No request waits for the database for ever."""

import os
import subprocess
import sys
from contextlib import suppress
from typing import Any
from unittest.mock import patch
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL
from django.test import TransactionTestCase

from ctj_api.matching import OpportunityIndex
from ctj_api.models import Opportunity, UserProfile
from ctj_api.ranking.live_index import LiveIndex

from .common import (
    browser,
    error_of,
    execute,
    in_another_thread,
    make_opportunity,
    make_regular_user,
    make_skill,
    other_connection,
)


class TimeoutTests(TransactionTestCase):
    """Transactions that are really committed."""

    def test_connections_have_their_limits(self) -> None:
        """Queries, locks and idle transactions are limited; a connection without limits is given up."""
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        self.assertEqual([execute(f"SHOW {name}") for name in names], [("30s",), ("5s",), ("1min",)])

        def limit_after_a_failure() -> Any:
            with self.settings(SQL_SESSION="SELECT 1 / 0"), suppress(DatabaseError):
                connection.ensure_connection()
            return execute("SHOW statement_timeout")

        self.assertEqual(in_another_thread(limit_after_a_failure), ("30s",))

    def test_query_that_takes_too_long_is_a_503(self) -> None:
        """The request's line in the log says that it took long."""

        def sleep(*_: object) -> None:
            with transaction.atomic():
                execute("SET LOCAL statement_timeout = '50ms'")
                execute("SELECT pg_sleep(10)")

        with patch("ctj_api.views.SkillFilter.read", sleep), self.assertLogs("serving", "ERROR") as logs:
            response = self.client.get("/api/skills/")
        self.assertEqual((response.status_code, error_of(response)["code"]), (503, "service_unavailable"))
        self.assertIn("Retry-After", response)
        self.assertIn("canceling statement due to statement timeout", logs.output[0])

    def test_write_that_waits_too_long_or_can_only_read_is_a_503(self) -> None:
        """The log says why, and the next request has another connection."""
        user, hours = make_regular_user(), {"max_available_hours": 5}
        client = browser()
        client.force_authenticate(user)
        cases = {
            "canceling statement due to lock timeout": "SET lock_timeout = '50ms'",
            "read-only transaction": "SET default_transaction_read_only = on",
        }
        self.addCleanup(connection.close)
        for told, setting in cases.items():
            with self.subTest(told), other_connection() as other, self.assertLogs("serving", "ERROR") as logs:
                other.execute("SELECT 1 FROM ctj_api_userprofile WHERE id = %s FOR UPDATE", [user.pk])
                connection.close()
                execute(setting)
                refused = client.patch("/api/users/me/", hours)
                self.assertEqual((refused.status_code, error_of(refused)["code"]), (503, "service_unavailable"))
                self.assertEqual("only read" in error_of(refused)["message"], "read-only" in told)
            self.assertIn(told, logs.output[0])
        self.assertIsNone(UserProfile.objects.get().max_available_hours)
        self.assertEqual(client.patch("/api/users/me/", hours).status_code, 200)

    def test_all_rows_are_read_for_matching_however_long_that_takes(self) -> None:
        """A million of them take longer than a query may."""
        skill = make_skill()
        for _ in range(8):
            make_opportunity({skill: 3})
        slowly = RawSQL("pg_sleep(0.1) IS NOT NULL", [], BooleanField())  # nosec B611
        index = LiveIndex(
            "opportunity",
            "skills_required_matrix",
            OpportunityIndex[UUID],
            lambda: Opportunity.objects.filter(slowly),
        )
        execute("SET statement_timeout = '500ms'")
        self.addCleanup(connection.close)
        with patch("ctj_api.ranking.live_index.ROWS_AT_ONCE", 1):
            self.assertEqual(index.read(len), 8)

    def test_commands_may_take_their_time(self) -> None:
        """A backup or a migration of a large database isn't cut off."""
        code = "from django.conf import settings; print(settings.SQL_SESSION)"
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_TIMEOUT_MS")}
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "--verbosity=0", "--command", code],
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(done.stdout.count("timeout = 0;"), 3)
