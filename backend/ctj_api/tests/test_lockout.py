"""Passwords can't be guessed: too many attempts lock out, in the API and in the admin alike."""

from datetime import timedelta
from ipaddress import ip_network
from typing import Any
from unittest.mock import patch

from django.contrib.auth import authenticate
from django.test import Client, TestCase, TransactionTestCase, override_settings
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APITestCase

from ctj_api.accounts.limits import TooManyAttempts
from ctj_api.accounts.sign_in import Attempt
from ctj_api.models import AttemptCount

from .common import PASSWORD, at_once, browser, error_of, in_another_thread, make_pm_user, make_regular_user

LOGIN = "/api/auth/login/"
ANA = "ana@example.org"
CHECK_PASSWORD = "ctj_api.models.UserProfile.check_password"


@override_settings(LOGIN_RATE=(3, 900), LOGIN_ACCOUNT_RATE=(6, 900), LOGIN_ADDRESS_RATE=(8, 900))
class LockoutTests(APITestCase):
    """The API's sign-in."""

    def setUp(self) -> None:
        """Make an account."""
        self.user = make_regular_user(email=ANA)

    def sign_in(self, password: str = "wrong", email: str = ANA, address: str = "192.0.2.1", **headers: str) -> Any:
        """Return what the attempt of a new browser is answered."""
        body = {"email": email, "password": password}
        return browser().post(LOGIN, body, REMOTE_ADDR=address, headers=headers)

    def guess(self, times: int, **where: str) -> list[int]:
        """Return the statuses of so many wrong guesses."""
        return [self.sign_in(**where).status_code for _ in range(times)]

    @override_settings(TRUSTED_PROXIES=(ip_network("192.0.2.200"),))
    def test_attackers_are_counted_by_account_by_address_and_together(self) -> None:
        """Each address has three guesses at an account, all have six at it, and each has eight at many."""
        addresses = [{"address": f"192.0.2.{number}"} for number in range(8)]
        accounts = [{"email": f"user{number}@example.com"} for number in range(10)]
        names = enumerate((ANA, "ANA@EXAMPLE.ORG", " ana@example.org ", ANA))
        disguises = [{"email": email, "x-forwarded-for": f"198.51.100.{number}"} for number, email in names]
        elsewhere, owner = {"address": "192.0.2.99"}, {"address": "192.0.2.98", "password": PASSWORD}
        own = {"email": make_regular_user().email, "password": PASSWORD}  # signing in to it gives no guess more
        one, other = ({"address": "192.0.2.200", "x-forwarded-for": f"198.51.100.{number}"} for number in (1, 2))
        with_owner = [each for address in addresses for each in (address, owner)]
        with_own = [each for account in accounts for each in (account, own)]
        cases: list[tuple[list[dict[str, str]], list[int], dict[str, str], int]] = [
            (addresses, [403] * 6 + [429] * 2, elsewhere, 429),
            (with_owner, [403, 200] * 5 + [403] + [429] * 5, elsewhere, 429),
            (accounts, [403] * 8 + [429] * 2, elsewhere, 200),
            ([{}, own] * 5, [403, 200] * 3 + [429, 200] * 2, elsewhere, 200),
            (with_own, [403, 200] * 7 + [403] + [429] * 5, elsewhere, 200),
            (disguises, [403] * 3 + [429], elsewhere, 200),
            ([one] * 4, [403] * 3 + [429], other, 200),
        ]
        for attempts, statuses, where, status in cases:
            with self.subTest(attempts):
                AttemptCount.objects.all().delete()
                self.assertEqual([self.sign_in(**attempt).status_code for attempt in attempts], statuses)
                self.assertEqual(self.sign_in(PASSWORD).status_code, 200 if one in attempts else 429)
                self.assertEqual(self.sign_in(PASSWORD, **where).status_code, status)

    def test_attacker_is_locked_out_and_told_when_to_come_again(self) -> None:
        """The right password isn't even hashed then, and nobody learns who has an account."""
        self.assertEqual(self.guess(3), [403] * 3)
        with patch(CHECK_PASSWORD) as check, patch("ctj_api.models.UserProfile.set_password") as hashed:
            self.assertEqual(self.guess(3), [429] * 3)
        self.assertFalse(check.called or hashed.called)
        response = self.sign_in(PASSWORD)
        self.assertEqual((response.status_code, error_of(response)["code"]), (429, "throttled"))
        self.assertTrue(890 <= int(response["Retry-After"]) <= 900, response["Retry-After"])
        self.assertEqual(response["Cache-Control"], "private, no-store")
        self.assertNotIn("sessionid", response.cookies)
        self.guess(3, email="nobody@example.org")
        with self.assertLogs("ctj_api.accounts.sign_in", "WARNING") as logs:
            unknown = self.sign_in(email="nobody@example.org")
        self.assertEqual((unknown.status_code, error_of(unknown)["code"]), (429, "throttled"))
        self.assertEqual(set(unknown.headers), set(response.headers))
        told = f"{list(AttemptCount.objects.values())} {logs.output}"
        for address in ("ana", "nobody", "192.0.2.1"):
            self.assertNotIn(address, told)

    def test_owner_signs_in_below_the_limit_and_after_the_time(self) -> None:
        """Mistypes before are forgotten, and attempts during the lockout don't make it longer."""
        for _ in range(2):
            self.guess(2)
            self.assertEqual(self.sign_in(PASSWORD).status_code, 200)
        self.guess(5)
        before = set(AttemptCount.objects.values_list("key", "ends_at"))
        self.assertEqual(self.guess(1), [429])
        self.assertEqual(set(AttemptCount.objects.values_list("key", "ends_at")), before)
        AttemptCount.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
        self.assertEqual(self.sign_in(PASSWORD).status_code, 200)

    def test_attacker_locked_out_leaves_no_count_for_each_account(self) -> None:
        """Guesses at a locked one use up no others, nor what it has for its owner elsewhere."""
        self.guess(20)
        self.assertEqual(self.sign_in(PASSWORD, address="192.0.2.2").status_code, 200)
        self.assertEqual(self.guess(5, email="ben@example.org"), [403] * 3 + [429] * 2)
        self.guess(2, email="cyd@example.org")
        before = AttemptCount.objects.count()
        answers = [self.sign_in(email=f"user{number}@example.com") for number in range(5)]
        self.assertEqual([answer.status_code for answer in answers], [429] * 5)
        self.assertEqual(AttemptCount.objects.count(), before)

    def test_owner_forgiven_begins_anew(self) -> None:
        """Who has proved it otherwise, as by a mailed link, may try again; the address stays counted."""
        self.guess(4)
        for number in range(2, 8):
            self.sign_in(address=f"192.0.2.{number}")
        self.assertEqual(self.sign_in(PASSWORD).status_code, 429)
        Attempt(ANA, "192.0.2.1").forgive()
        self.assertEqual(self.sign_in(PASSWORD).status_code, 200)

    def test_owner_signing_in_takes_six_queries_for_the_limits(self) -> None:
        """Three counts, and what is taken back; sixteen are for the account, the session, its owner and the answer."""
        client = browser()
        with self.assertNumQueries(16 + 6):
            self.assertEqual(client.post(LOGIN, {"email": ANA, "password": PASSWORD}).status_code, 200)


@override_settings(LOGIN_RATE=(3, 900))
class AdminLockoutTests(TestCase):
    """The admin's sign-in."""

    def sign_in(self, password: str = "wrong") -> Any:
        """Return the page that the attempt leads to."""
        form = {"username": ANA, "password": password, "next": "/admin/"}
        return Client().post(reverse("admin:login"), form)

    def test_attacker_is_counted_in_the_api_and_in_the_admin_together(self) -> None:
        """A mistyping owner still signs in; the page has the API's status and header."""
        make_pm_user(email=ANA)
        for _ in range(2):
            self.sign_in()
        self.assertRedirects(self.sign_in(PASSWORD), "/admin/", fetch_redirect_response=False)
        self.assertEqual([self.sign_in().status_code for _ in range(2)], [200] * 2)
        client = browser()
        statuses = [client.post(LOGIN, {"email": ANA, "password": "x"}).status_code for _ in range(2)]
        self.assertEqual(statuses, [403, 429])
        response = self.sign_in(PASSWORD)
        self.assertTrue(890 <= int(response["Retry-After"]) <= 900, response["Retry-After"])
        self.assertContains(response, "Please try again in 15 minutes.", status_code=429)
        self.assertIn("no-store", response["Cache-Control"])


@override_settings(LOGIN_RATE=(5, 900))
class LockoutAtOnceTests(TransactionTestCase):
    """Counts that are really committed."""

    def test_attackers_at_once_get_no_more_guesses_than_the_limit(self) -> None:
        """Exactly five of 40 reach the password, and another connection finds the same counts."""
        make_regular_user(email=ANA)

        def guess() -> bool:
            try:
                authenticate(None, email=ANA, password="wrong")
            except TooManyAttempts:
                return False
            return True

        with patch(CHECK_PASSWORD, return_value=False) as check:
            looked_at = at_once(*[guess] * 40)
        self.assertEqual((sum(looked_at), check.call_count), (5, 5))
        self.assertIn(40, AttemptCount.objects.values_list("attempts", flat=True))
        with self.assertRaises(TooManyAttempts):
            in_another_thread(lambda: authenticate(None, email=ANA, password=PASSWORD))
