"""Limits by address, how they count, and how settings say them."""

from datetime import timedelta

from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.utils import timezone
from rest_framework.test import APITestCase

from backend.environment import Rate
from ctj_api.accounts.limits import Limit
from ctj_api.models import AttemptCount, UserProfile

from .common import PASSWORD, browser, error_of
from .test_concurrency import at_once

SIGNUP = "/api/auth/signup/"


class RateTests(SimpleTestCase):
    """What a setting may say."""

    def test_rate_is_attempts_and_a_time(self) -> None:
        """In seconds, minutes, hours or days."""
        cases = {"5/15m": (5, 900), "60/1h": (60, 3600), "1/1s": (1, 1), "9/2d": (9, 172_800), " 5/15m ": (5, 900)}
        for text, (attempts, seconds) in cases.items():
            with self.subTest(text):
                self.assertEqual(Rate.parse(text), Rate(attempts, seconds))

    def test_anything_else_is_refused(self) -> None:
        """With a word on what it should be."""
        for text in (
            "",
            "5",
            "5/m",
            "0/1m",
            "5/0m",
            "-1/1m",
            "5/15",
            "5/15 minutes",
            "9999999999/1m",
            "\uff15/1m",
            "5/15w",
        ):
            with self.subTest(text), self.assertRaisesRegex(ValueError, "no rate such as 5/15m"):
                Rate.parse(text)


class LimitTests(TestCase):
    """How attempts are counted."""

    def setUp(self) -> None:
        """Have a limit of two a minute."""
        self.limit = Limit("test", Rate(2, 60))

    def test_attempts_over_the_limit_wait_for_the_end_of_the_period(self) -> None:
        """Which began with the first one."""
        self.assertEqual([self.limit.wait_after_counting("ana") for _ in range(3)], [0, 0, 60])

    def test_others_are_counted_by_themselves(self) -> None:
        """Other people, and other things."""
        self.limit.wait_after_counting("ana")
        self.limit.wait_after_counting("ana")
        self.assertEqual(self.limit.wait_after_counting("ben"), 0)
        self.assertEqual(Limit("other", Rate(1, 60)).wait_after_counting("ana"), 0)
        self.assertEqual(self.limit.wait_after_counting("an", "a"), 0)

    def test_period_that_has_ended_begins_anew(self) -> None:
        """With its full length."""
        for _ in range(3):
            self.limit.wait_after_counting("ana")
        AttemptCount.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
        self.assertEqual([self.limit.wait_after_counting("ana") for _ in range(3)], [0, 0, 60])

    def test_attempt_that_is_taken_back_may_be_made_again(self) -> None:
        """But never more than the limit."""
        self.limit.take_back("ana")
        for _ in range(2):
            self.limit.wait_after_counting("ana")
        self.limit.take_back("ana")
        self.assertEqual([self.limit.wait_after_counting("ana") for _ in range(2)], [0, 60])

    def test_forgotten_attempts_are_counted_from_the_first(self) -> None:
        """Only those of the one who is named."""
        for name in ("ana", "ana", "ben", "ben"):
            self.limit.wait_after_counting(name)
        self.limit.forget("ana")
        self.assertEqual([self.limit.wait_after_counting(name) for name in ("ana", "ben")], [0, 60])

    def test_old_counts_are_removed_by_later_ones(self) -> None:
        """Nobody has to clean up."""
        for number in range(15):
            self.limit.wait_after_counting(str(number))
        AttemptCount.objects.update(ends_at=timezone.now() - timedelta(hours=2))
        self.limit.wait_after_counting("ana")
        self.limit.wait_after_counting("ana")
        self.assertEqual(AttemptCount.objects.count(), 1)

    def test_counting_takes_one_query(self) -> None:
        """However many counts there are."""
        with self.assertNumQueries(1):
            self.limit.wait_after_counting("ana")


class LimitAtOnceTests(TransactionTestCase):
    """Counts that are really committed."""

    serialized_rollback = True

    def test_attempts_at_once_are_counted_exactly(self) -> None:
        """Each of 30 finds another number."""
        limit = Limit("test", Rate(7, 60))
        waits = at_once(*[lambda: limit.wait_after_counting("ana")] * 30)
        self.assertEqual((waits.count(0), AttemptCount.objects.get().attempts), (7, 30))


@override_settings(SIGNUP_RATE=Rate(2, 3600))
class SignupThrottleTests(APITestCase):
    """How many accounts an address may ask for."""

    def sign_up(self, name: str, address: str = "192.0.2.1") -> int:
        """Return the status."""
        body = {"email": f"{name}@example.org", "password": PASSWORD}
        status: int = browser().post(SIGNUP, body, REMOTE_ADDR=address).status_code
        return status

    def test_address_with_too_many_signups_gets_429(self) -> None:
        """Another address does not."""
        self.assertEqual([self.sign_up(name) for name in ("ana", "ben", "cyd")], [201, 201, 429])
        self.assertEqual(self.sign_up("cyd", "192.0.2.2"), 201)
        self.assertEqual(UserProfile.objects.count(), 3)

    def test_throttled_signup_is_told_when_to_retry(self) -> None:
        """In the envelope's words and in the header."""
        self.sign_up("ana")
        self.sign_up("ben")
        response = browser().post(SIGNUP, {}, REMOTE_ADDR="192.0.2.1")
        self.assertEqual((response.status_code, error_of(response)["code"]), (429, "throttled"))
        self.assertTrue(3590 <= int(response["Retry-After"]) <= 3600, response["Retry-After"])

    def test_refused_signups_count_as_well(self) -> None:
        """Asking which addresses have accounts is limited by the same number."""
        for _ in range(2):
            browser().post(SIGNUP, {"email": "x"}, REMOTE_ADDR="192.0.2.1")
        self.assertEqual(self.sign_up("ana"), 429)
