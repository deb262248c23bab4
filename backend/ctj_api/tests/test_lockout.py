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

from backend.environment import Rate
from ctj_api.accounts.limits import TooManyAttempts
from ctj_api.accounts.sign_in import Attempt
from ctj_api.models import AttemptCount

from .common import PASSWORD, browser, error_of, in_another_thread, make_pm_user, make_regular_user
from .test_concurrency import at_once

LOGIN = "/api/auth/login/"
ANA = "ana@example.org"
CHECK_PASSWORD = "ctj_api.models.UserProfile.check_password"


def let_time_pass() -> None:
    """Have every count's period ended a second ago."""
    AttemptCount.objects.update(ends_at=timezone.now() - timedelta(seconds=1))


@override_settings(LOGIN_RATE=Rate(3, 900), LOGIN_ACCOUNT_RATE=Rate(6, 900), LOGIN_ADDRESS_RATE=Rate(8, 900))
class LockoutTests(APITestCase):
    """The API's sign-in."""

    def setUp(self) -> None:
        """Make an account, and open a browser."""
        self.user = make_regular_user(email=ANA)
        self.browser = browser()

    def sign_in(self, password: str = "wrong", email: str = ANA, address: str = "192.0.2.1") -> Any:
        """Return what the attempt is answered."""
        return self.browser.post(LOGIN, {"email": email, "password": password}, REMOTE_ADDR=address)

    def guess(self, times: int, **where: str) -> list[int]:
        """Return the statuses of so many wrong guesses."""
        return [self.sign_in(**where).status_code for _ in range(times)]

    def test_guesser_is_locked_out_and_told_when_to_come_again(self) -> None:
        """Not even the right password is taken then."""
        self.assertEqual(self.guess(4), [403, 403, 403, 429])
        response = self.sign_in(PASSWORD)
        self.assertEqual((response.status_code, error_of(response)["code"]), (429, "throttled"))
        self.assertTrue(890 <= int(response["Retry-After"]) <= 900, response["Retry-After"])
        self.assertEqual(response["Cache-Control"], "private, no-store")
        self.assertNotIn("sessionid", self.browser.cookies)

    def test_locked_out_guess_is_not_looked_at(self) -> None:
        """It costs no hashing, which would be an attack by itself."""
        self.guess(3)
        with patch(CHECK_PASSWORD) as check, patch("ctj_api.models.UserProfile.set_password") as hashed:
            self.assertEqual(self.guess(3), [429] * 3)
        self.assertFalse(check.called or hashed.called)

    def test_owner_may_come_in_below_the_limit_and_begins_anew(self) -> None:
        """Mistypes before are forgotten."""
        for _ in range(2):
            self.guess(2)
            self.assertEqual(self.sign_in(PASSWORD).status_code, 200)
            self.browser = browser()

    def test_owner_may_come_in_after_the_time(self) -> None:
        """Attempts during the lockout don't make it longer."""
        self.guess(5)
        before = AttemptCount.objects.values_list("key", "ends_at")
        self.assertEqual(self.guess(1), [429])
        self.assertEqual(set(AttemptCount.objects.values_list("key", "ends_at")), set(before))
        let_time_pass()
        self.assertEqual(self.sign_in(PASSWORD).status_code, 200)

    def test_owner_elsewhere_is_not_locked_out_by_one_guesser(self) -> None:
        """What one address guesses after its lockout doesn't use up what the account has for others."""
        self.guess(20)
        self.assertEqual(self.sign_in(PASSWORD, address="192.0.2.2").status_code, 200)

    def test_account_under_attack_from_many_addresses_is_locked(self) -> None:
        """Each address has three guesses, all together six."""
        statuses = [self.sign_in(address=f"192.0.2.{number}").status_code for number in range(8)]
        self.assertEqual(statuses, [403] * 6 + [429] * 2)
        self.assertEqual(self.sign_in(PASSWORD, address="192.0.2.99").status_code, 429)

    def test_address_that_tries_many_accounts_is_locked(self) -> None:
        """One guess each at many accounts is limited, too; another address isn't."""
        statuses = [self.sign_in(email=f"user{number}@example.com").status_code for number in range(10)]
        self.assertEqual(statuses, [403] * 8 + [429] * 2)
        self.assertEqual(self.sign_in(PASSWORD).status_code, 429)
        self.assertEqual(self.sign_in(PASSWORD, address="192.0.2.2").status_code, 200)

    def test_attacker_with_an_account_cannot_begin_anew(self) -> None:
        """Signing in to one's own account gives no guess more at other people's."""
        own = make_regular_user()
        statuses = []
        for _ in range(5):
            statuses.append(self.sign_in().status_code)
            self.browser = browser()
            self.assertEqual(self.sign_in(PASSWORD, email=own.email).status_code, 200)
            self.browser = browser()
        self.assertEqual(statuses, [403, 403, 403, 429, 429])

    def test_attacker_with_an_account_is_limited_over_many_accounts(self) -> None:
        """Signing in to one's own in between takes back that one attempt, not the guesses of this address."""
        own = make_regular_user()
        statuses = []
        for number in range(10):
            statuses.append(self.sign_in(email=f"user{number}@example.com").status_code)
            if statuses[-1] == 403:
                self.browser = browser()
                self.sign_in(PASSWORD, email=own.email)
                self.browser = browser()
        self.assertEqual(statuses, [403] * 8 + [429] * 2)

    def test_account_is_limited_though_its_owner_signs_in_in_between(self) -> None:
        """That takes back the owner's attempt, not those of many addresses."""
        statuses = []
        for number in range(8):
            statuses.append(self.sign_in(address=f"192.0.2.{number}").status_code)
            if statuses[-1] == 403:
                self.browser = browser()
                self.sign_in(PASSWORD, address="198.51.100.1")
                self.browser = browser()
        self.assertEqual(statuses, [403] * 6 + [429] * 2)

    def test_spelling_of_the_address_makes_no_other_account(self) -> None:
        """Case and blanks are nothing to count anew by."""
        statuses = [
            self.sign_in(email=email).status_code for email in (ANA, "ANA@EXAMPLE.ORG", " ana@example.org ", ANA)
        ]
        self.assertEqual(statuses, [403, 403, 403, 429])

    def test_forwarded_address_of_a_stranger_counts_nothing(self) -> None:
        """Nobody escapes by writing a header."""
        statuses = [
            self.browser.post(
                LOGIN, {"email": ANA, "password": "x"}, headers={"x-forwarded-for": f"198.51.100.{number}"}
            ).status_code
            for number in range(4)
        ]
        self.assertEqual(statuses[-1], 429)

    @override_settings(TRUSTED_PROXIES=(ip_network("127.0.0.1"),))
    def test_clients_behind_a_trusted_proxy_are_told_apart(self) -> None:
        """One is locked out, the other isn't."""
        for number, expected in ((1, [403, 403, 403, 429]), (2, [403])):
            headers = {"x-forwarded-for": f"198.51.100.{number}"}
            answers = [self.browser.post(LOGIN, {"email": ANA, "password": "x"}, headers=headers) for _ in expected]
            self.assertEqual([answer.status_code for answer in answers], expected)

    def test_unknown_address_is_locked_out_in_the_same_words(self) -> None:
        """The lockout doesn't tell who has an account."""
        answers = []
        for email in (ANA, "nobody@example.org"):
            self.guess(3, email=email)
            answers.append(self.sign_in(email=email))
        known, unknown = answers
        self.assertEqual({known.status_code, unknown.status_code}, {429})
        self.assertEqual(error_of(known)["code"], error_of(unknown)["code"])
        self.assertEqual(set(known.headers), set(unknown.headers))

    def test_counts_tell_nobodys_address(self) -> None:
        """What is stored is a digest."""
        self.guess(1)
        stored = str(list(AttemptCount.objects.values()))
        self.assertNotIn("ana", stored)
        self.assertNotIn("192.0.2.1", stored)

    def test_lockout_is_logged_without_saying_whose(self) -> None:
        """Neither address is in the log."""
        self.guess(3)
        with self.assertLogs("ctj_api.accounts.sign_in", "WARNING") as logs:
            self.guess(1)
        self.assertNotIn("ana", logs.output[0])
        self.assertNotIn("192.0.2.1", logs.output[0])

    def test_owner_who_proved_it_otherwise_begins_anew(self) -> None:
        """As with a mailed link; the address stays counted."""
        self.guess(4)
        for number in range(2, 8):
            self.sign_in(address=f"192.0.2.{number}")
        self.assertEqual(self.sign_in(PASSWORD).status_code, 429)
        Attempt(ANA, "192.0.2.1").forgive()
        self.assertEqual(self.sign_in(PASSWORD).status_code, 200)

    def test_sign_in_takes_six_queries_for_its_limits(self) -> None:
        """Three counts, and what is taken back; ten are for the account, the session and the answer."""
        with self.assertNumQueries(10 + 6):
            self.assertEqual(self.sign_in(PASSWORD).status_code, 200)


@override_settings(LOGIN_RATE=Rate(3, 900))
class AdminLockoutTests(TestCase):
    """The admin's sign-in."""

    def setUp(self) -> None:
        """Make a project manager."""
        self.pm = make_pm_user(email=ANA)
        self.url = reverse("admin:login")

    def sign_in(self, password: str = "wrong") -> Any:
        """Return the page that the attempt leads to."""
        return Client().post(self.url, {"username": ANA, "password": password, "next": "/admin/"})

    def test_guesser_gets_a_page_that_says_when_to_come_again(self) -> None:
        """With the status and the header of the API."""
        self.assertEqual([self.sign_in().status_code for _ in range(3)], [200] * 3)
        response = self.sign_in(PASSWORD)
        self.assertEqual(response.status_code, 429)
        self.assertTrue(890 <= int(response["Retry-After"]) <= 900, response["Retry-After"])
        self.assertContains(response, "Please try again in 15 minutes.", status_code=429)
        self.assertIn("no-store", response["Cache-Control"])

    def test_pm_may_come_in_below_the_limit(self) -> None:
        """Mistyping twice is human."""
        self.sign_in()
        self.sign_in()
        self.assertRedirects(self.sign_in(PASSWORD), "/admin/", fetch_redirect_response=False)

    def test_guesses_in_the_api_and_in_the_admin_count_together(self) -> None:
        """There are no two limits to use up."""
        self.sign_in()
        self.sign_in()
        client = browser()
        statuses = [client.post(LOGIN, {"email": ANA, "password": "x"}).status_code for _ in range(2)]
        self.assertEqual(statuses, [403, 429])


@override_settings(LOGIN_RATE=Rate(5, 900))
class LockoutAtOnceTests(TransactionTestCase):
    """Counts that are really committed."""

    serialized_rollback = True

    def test_guesses_at_once_are_no_more_than_the_limit(self) -> None:
        """Exactly five of 40 reach the password, however close together they come."""
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

    def test_lockout_holds_for_other_processes(self) -> None:
        """Whoever has another connection, or starts anew, finds the same counts."""
        make_regular_user(email=ANA)
        for _ in range(5):
            authenticate(None, email=ANA, password="wrong")

        def try_again() -> None:
            authenticate(None, email=ANA, password=PASSWORD)

        with self.assertRaises(TooManyAttempts):
            in_another_thread(try_again)
