"""Signing up, in and out, with real sessions and CSRF tokens."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import Mock, patch

from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.utils import timezone
from psycopg.errors import DeadlockDetected, DiskFull
from rest_framework.test import APITestCase

from ctj_api.models import UserProfile

from .common import PASSWORD, browser, error_of, make_admin_user, make_regular_user, wrong_fields

CSRF, SIGNUP, LOGIN, LOGOUT = (f"/api/auth/{name}/" for name in ("csrf", "signup", "login", "logout"))
ME = "/api/users/me/"
ANA = {"email": "ana@example.org", "password": PASSWORD}
FORMER_KEY = "tests-only-0123456789-0123456789-0123456789-0123456789-abc"
FORMER_PASSWORD = (
    "argon2$argon2id$v=19$m=19456,t=2,p=1$OXgwSHJsa0Z3YVlmR1BwVUU1a2xVWQ$Ca1DmymwJCvR1s/mLuFjEe+lsyFlWP9AQkQ5Erz9zB0"
)
FORMER_SESSION = (
    ".eJxVjTsOwjAQBe_imkS78SeEkhrOYK2za2IgARGnQtydWEICppjqjd5TeVry4JdZHj6x2inAromOoYKVyhRti-ALqs1vFqi_yFTaPp893VM9p"
    "9Pk01Qf0piy8PHGct1_Vn_pQPOwdi5waFpgFOFodLSkOxPQmUBkmx4dxPWkZURLQTtjmZyARrKA2EWrXm8KXj0d:1xXYlB:pvOA1B1ijrmzPiC"
    "4duzhuEs4On-obVW0JHPC93ViZyc"
)


class CsrfTests(APITestCase):
    """The token that every unsafe request carries."""

    def test_anonymous_csrf_returns_token_and_cookie(self) -> None:
        """The token comes in the body, its secret in the cookie."""
        response = self.client.get(CSRF)
        self.assertEqual(list(response.json()), ["csrf_token"])
        self.assertIn("csrftoken", response.cookies)
        self.assertEqual(response["Cache-Control"], "private, no-store")

    def test_anonymous_secure_request_from_trusted_origin_returns_204(self) -> None:
        """The API's own origin and those of the settings are trusted; others, or none, get 403."""
        for origin in ("https://testserver", "https://jobs.example.org", "https://evil.example", None):
            headers = {"origin": origin} if origin else {}
            with self.subTest(origin), self.settings(CSRF_TRUSTED_ORIGINS=["https://jobs.example.org"]):
                response = browser().post(LOGOUT, secure=True, headers=headers)
                if origin in {"https://testserver", "https://jobs.example.org"}:
                    self.assertEqual(response.status_code, 204)
                else:
                    self.assertEqual((response.status_code, error_of(response)["code"]), (403, "permission_denied"))


class SignupTests(APITestCase):
    """How a volunteer becomes known."""

    def test_anonymous_signup_returns_201_and_signs_in(self) -> None:
        """One address is one account in any case, without rights, with names of any script or none."""
        rights = ("is_project_manager", "is_staff", "is_superuser")
        form = {"email": "Ana@Example.org", "password": PASSWORD, "first_name": "Ana", "last_name": "Reyes"}
        client = browser()
        response = client.post(SIGNUP, {**form, **dict.fromkeys(rights, True)})
        self.assertEqual(response.status_code, 201)
        self.assertEqual((response.json()["email"], response.json()["name"]), ("ana@example.org", "Ana Reyes"))
        self.assertEqual(client.get(ME).json(), response.json())
        user = UserProfile.objects.get(email="ANA@example.org")
        self.assertTrue(user.check_password(PASSWORD))
        self.assertEqual([getattr(user, name) for name in rights], [False] * 3)
        self.assertEqual(wrong_fields(browser().post(SIGNUP, {**ANA, "email": "ANA@example.org"})), ["email"])
        names = {"first_name": " ක්\u200dෂ\n", "last_name": "మన్\u200cహా"}
        for number, (given, name) in enumerate((({}, ""), (names, "ක්\u200dෂ మన్\u200cహా"))):
            response = browser().post(SIGNUP, {**ANA, "email": f"{number}@example.org", **given})
            self.assertEqual((response.status_code, response.json()["name"]), (201, name))

    def test_anonymous_signup_with_bad_input_returns_400(self) -> None:
        """Each wrong value is named, and no account is made."""
        names = ('"ana"', '"a b"', "a?bcc=b", "a&b", "a%0Ab", "a\n", "\u212aate", "a\x00", "a" * 300)
        domains = ("localhost", "[127.0.0.1]", "example", "example.org?cc=b", "ex\u00e4mple.org")
        addresses = [*(f"{name}@example.org" for name in names), *(f"ana@{domain}" for domain in domains)]
        cases: dict[str, list[object]] = {
            "email": ["ana", None, ["a@example.org"], 1, *addresses],
            "password": ["short", ANA["email"], "12345678901", "x" * 129, f"{PASSWORD}\x00", 7481592637481],
            "first_name": ["\x00", "x" * 151, "Ana\nhttps://evil.example", "Ana\u2028Reyes", "..."],
            "last_name": ["\u200b", "\u3164\U0001f389", "Reyes\u202egro", {"a": 1}, 1],
        }
        client = browser()
        for field, values in cases.items():
            for value in values:
                with self.subTest(field, value=value):
                    self.assertEqual(wrong_fields(client.post(SIGNUP, {**ANA, field: value})), [field])
        # Text that UTF-8 can't hold is refused in words that it can.
        body = '{"email": "ana@example.org", "password": "a-long-\\ud800-passphrase"}'
        response = client.post(SIGNUP, body, content_type="application/json")
        self.assertEqual(wrong_fields(response), ["password"])
        self.assertFalse(UserProfile.objects.exists())


class LoginTests(APITestCase):
    """How someone comes back."""

    def test_regular_user_login_returns_200_and_a_session(self) -> None:
        """The address counts in any case, and a token that was known before is worth nothing afterwards."""
        user, client = make_regular_user(email="ana@example.org"), browser()
        token = client.cookies["csrftoken"].value
        response = client.post(LOGIN, {**ANA, "email": "ANA@example.org"})
        self.assertEqual((response.status_code, response.json()["id"]), (200, str(user.pk)))
        self.assertEqual(client.get(ME).json()["id"], str(user.pk))
        self.assertNotEqual(client.cookies["csrftoken"].value, token)
        self.assertEqual(error_of(client.post(LOGOUT))["code"], "permission_denied")

    def test_anonymous_login_with_wrong_credentials_returns_the_same_403(self) -> None:
        """The reason of a failed sign-in is not told; wrong fields are named."""
        known, inactive, client = make_regular_user(), make_regular_user(is_active=False), browser()
        cases = ((known.email, "wrong"), ("nobody@example.org", PASSWORD), (inactive.email, PASSWORD))
        answers = [client.post(LOGIN, {"email": email, "password": password}) for email, password in cases]
        self.assertEqual({(answer.status_code, answer.content) for answer in answers}, {(403, answers[0].content)})
        self.assertEqual(error_of(answers[0])["code"], "authentication_failed")
        self.assertNotIn("sessionid", client.cookies)
        self.assertEqual(wrong_fields(client.post(LOGIN, {"email": "\x00"})), ["email", "password"])


class SessionStoreTests(APITestCase):
    """Sessions from before the move, and sessions that can't be saved after the view has answered."""

    def test_administrator_with_session_from_before_the_move_stays_signed_in(self) -> None:
        """In the API and in the admin: the row is what the commit before 33c0a2b, run with this key, has stored."""
        user = make_admin_user(id="0192f6d0-0000-4000-8000-000000000001")
        UserProfile.objects.filter(pk=user.pk).update(password=FORMER_PASSWORD)
        tomorrow = timezone.now() + timedelta(days=1)
        Session.objects.create(session_key="f" * 32, session_data=FORMER_SESSION, expire_date=tomorrow)
        client = browser()
        client.cookies["sessionid"] = "f" * 32
        with self.settings(SECRET_KEY=FORMER_KEY):
            self.assertEqual([client.get(url).status_code for url in (ME, "/admin/")], [200, 200])

    def log_in(self, change: Callable[..., object]) -> Any:
        """Return the answer to a sign-in, with ``change`` called just before the session is saved again."""
        save = Session.save

        def save_or_change(session: Session, *args: Any, **kwargs: Any) -> None:
            if kwargs.get("force_update"):
                change()
            save(session, *args, **kwargs)

        make_regular_user(email="ana@example.org")
        client = browser()
        client.raise_request_exception = False
        with patch.object(Session, "save", save_or_change):
            return client.post(LOGIN, ANA)

    def test_anonymous_login_whose_session_cannot_be_saved_is_told_why(self) -> None:
        """A full disk is a 503, as it may be sent again; an ended session is a 400."""
        full, deadlock = OperationalError("No space left on device"), OperationalError("deadlock detected")
        full.__cause__, deadlock.__cause__ = DiskFull(), DeadlockDetected()
        unavailable = (503, "service_unavailable")
        cases: list[tuple[Callable[..., object], tuple[int, str]]] = [
            (Mock(side_effect=full), unavailable),
            (Mock(side_effect=deadlock), unavailable),
            (Session.objects.all().delete, (400, "bad_request")),
        ]
        for change, told in cases:
            with self.subTest(change):
                UserProfile.objects.all().delete()
                response = self.log_in(change)
                self.assertEqual((response.status_code, error_of(response)["code"]), told)
                self.assertNotIn("sessionid", response.cookies)
