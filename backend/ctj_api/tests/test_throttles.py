"""Limits by address, and how attempts are counted."""

from datetime import timedelta
from typing import Any

from django.test import Client, TestCase, override_settings
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APITestCase

from ctj_api.accounts.limits import Limit
from ctj_api.models import AttemptCount, UserProfile

from .common import PASSWORD, browser, error_of, make_pm_user, make_regular_user, refresh_csrf_token

SIGNUP = "/api/auth/signup/"
ME = "/api/users/me/"


class LimitTests(TestCase):
    """How attempts are counted."""

    def limit(self, *whose: str) -> Limit:
        """Return a limit of two a minute."""
        return Limit("test", (2, 60), *whose)

    def count(self, *names: str) -> list[int]:
        """Return the seconds to wait after an attempt of each."""
        return [self.limit(name).count() for name in names]

    def test_client_over_the_limit_waits_for_the_end_of_the_period(self) -> None:
        """The period begins with the first attempt; other people and things are counted apart."""
        for _ in range(2):
            self.assertEqual(self.count("ana", "ana", "ben", "ana"), [0, 0, 0, 60])
            AttemptCount.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
        self.assertEqual(Limit("other", (1, 60), "ana").count(), 0)
        self.assertEqual(self.limit("an", "a").count(), 0)

    def test_client_may_repeat_an_attempt_that_is_taken_back(self) -> None:
        """What was never counted gives no attempt more; only the named one begins anew."""
        self.limit("ana").take_back()
        self.count("ana", "ana")
        self.limit("ana").take_back()
        self.assertEqual(self.count("ana", "ana", "ben", "ben"), [0, 60, 0, 0])
        self.limit("ana").reset()
        self.assertEqual(self.count("ana", "ben"), [0, 60])

    def test_operator_need_not_remove_old_counts(self) -> None:
        """Later attempts do, ten at a time, and each takes one query."""
        self.count(*map(str, range(15)))
        AttemptCount.objects.update(ends_at=timezone.now() - timedelta(hours=2))
        with self.assertNumQueries(2):
            self.count("ana", "ana")
        self.assertEqual(AttemptCount.objects.count(), 1)


@override_settings(SIGNUP_RATE=(2, 3600))
class ThrottleTests(APITestCase):
    """How many accounts an address may ask for, and how much somebody may write."""

    def sign_up(self, email: str, address: str = "192.0.2.1") -> Any:
        """Return the answer."""
        return browser().post(SIGNUP, {"email": email, "password": PASSWORD}, REMOTE_ADDR=address)

    def test_anonymous_signing_up_too_often_gets_429(self) -> None:
        """The header, and it alone, says when to retry; another address is not limited."""
        statuses = [self.sign_up(f"{name}@example.org").status_code for name in ("ana", "ben")]
        response = self.sign_up("cyd@example.org")
        self.assertEqual((*statuses, response.status_code), (201, 201, 429))
        self.assertEqual(error_of(response), {"code": "throttled", "message": "Too many attempts."})
        self.assertTrue(3590 <= int(response["Retry-After"]) <= 3600, response["Retry-After"])
        self.assertEqual(self.sign_up("cyd@example.org", "192.0.2.2").status_code, 201)
        self.assertEqual(UserProfile.objects.count(), 3)

    def test_anonymous_mistyping_may_go_on_but_not_ask_who_has_an_account(self) -> None:
        """What is not valid doesn't count; an address that is taken does."""
        make_regular_user(email="ana@example.org")
        emails = ("x", "x", "x", "ana@example.org", "x", "ana@example.org", "ben@example.org")
        statuses = [self.sign_up(email).status_code for email in emails]
        self.assertEqual(statuses, [400] * 6 + [429])

    def test_pm_user_writing_too_much_gets_429_in_the_api_and_a_page_in_the_admin(self) -> None:
        """Reading and signing out go on, and so does everybody else; a missing CSRF token doesn't count."""
        pm, other = make_pm_user(), make_pm_user()
        client, desk = browser(), Client()
        for signed_in in (client, desk):
            signed_in.force_login(pm)
        add = reverse("admin:ctj_api_opportunity_add")
        with self.settings(WRITE_RATE=(3, 60)):
            client.credentials()
            self.assertEqual([client.patch(ME, {}).status_code for _ in range(4)], [403] * 4)
            refresh_csrf_token(client)
            taken = [client.patch(ME, {}), client.patch(ME, {"max_available_hours": "x"}), desk.post(add, {})]
            self.assertEqual([response.status_code for response in taken], [200, 400, 200])
            api, page = client.patch(ME, {}), desk.post(add, {})
            self.assertEqual((api.status_code, error_of(api)["code"], page.status_code), (429, "throttled", 429))
            for response in (api, page):
                self.assertTrue(50 <= int(response["Retry-After"]) <= 60, response["Retry-After"])
                self.assertIn("no-store", response["Cache-Control"])
            self.assertContains(page, "Please try again in 1 minute.", status_code=429)
            self.assertEqual((client.get(ME).status_code, desk.get(add).status_code), (200, 200))
            self.assertEqual(client.post("/api/auth/logout/").status_code, 204)
            self.assertEqual(desk.post(reverse("admin:logout")).status_code, 200)
            client.force_login(other)
            refresh_csrf_token(client)
            self.assertEqual(client.patch(ME, {}).status_code, 200)
