"""Somebody who forgot their password gets a new one by a mailed link, and nobody else does."""

import re
from datetime import datetime, timedelta
from smtplib import SMTPRecipientsRefused
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.mail import EmailMessage
from django.test import TransactionTestCase, override_settings
from rest_framework.test import APIClient, APITestCase

from ctj_api.accounts.password_reset import link_tokens
from ctj_api.models import UserProfile
from serving.logs import make_formatter

from . import common as make

FORGOT, RESET, LOGIN = (f"/api/auth/{name}/" for name in ("forgot-password", "reset-password", "login"))
ME = "/api/users/me/"
ANA = "ana@example.org"
STRANGERS = ("nobody@example.org", "gone@example.org")
NEW = "another-long-passphrase"
SEND_LATER = "ctj_api.accounts.password_reset.send_later"


def ask(email: str = ANA) -> Any:
    """Ask for a link; what is mailed is in the outbox afterwards."""
    with mailing_at_once():
        return make.browser().post(FORGOT, {"email": email})


def mailing_at_once() -> Any:
    """Have mails made and sent before the answer, instead of some seconds later."""
    return patch(SEND_LATER, lambda send: send())


def mailed_link() -> dict[str, str]:
    """Return what the link of the last mail says."""
    (link,) = re.findall(r"https://\S+", str(mail.outbox[-1].body))
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


def reset(link: dict[str, str], password: str = NEW) -> Any:
    """Return the answer to using a link."""
    return make.browser().post(RESET, {**link, "password": password})


def sign_in(password: str = make.PASSWORD, client: APIClient | None = None) -> Any:
    """Return the answer to signing in as Ana."""
    return (client or make.browser()).post(LOGIN, {"email": ANA, "password": password})


@override_settings(PASSWORD_RESET_URL="https://jobs.example.org/reset-password")
class ForgotPasswordTests(APITestCase):
    """Asking for a link."""

    def setUp(self) -> None:
        """Make an account that is active, and one that is not."""
        make.make_regular_user(email=ANA, first_name="Ana")
        make.make_regular_user(email="gone@example.org", is_active=False)

    def test_owner_asking_is_mailed_a_link_to_the_front_end(self) -> None:
        """It has a line of its own and the settings' host; no mail has a name or a password."""
        self.assertEqual(ask("ANA@Example.org").status_code, 204)
        (message,) = mail.outbox
        self.assertEqual(message.to, [ANA])
        self.assertIn("within\n60 minutes", message.body)
        (link,) = re.findall(r"https://\S+", str(message.body))
        self.assertTrue(link.startswith("https://jobs.example.org/reset-password?uid="))
        self.assertIn(f"\n{link}\n", message.message().as_string())
        with mailing_at_once(), self.captureOnCommitCallbacks(execute=True):
            reset(mailed_link())
        subjects = ["Choose a new password for CivicTechJobs", "Your CivicTechJobs password has been changed"]
        self.assertEqual([message.subject for message in mail.outbox], subjects)
        for message in mail.outbox:
            self.assertNotIn("Ana", message.message().as_string())  # by which a stranger could write to the owner
            self.assertNotIn(NEW, message.body)

    def test_attacker_cannot_tell_who_has_an_account(self) -> None:
        """Accounts, strangers and inactive accounts get the same answer, and cost the same work."""
        made = patch("django.core.mail.EmailMessage.message", autospec=True, side_effect=EmailMessage.message)
        answers = []
        for email in (ANA, *STRANGERS):
            client = make.browser()
            with (
                self.subTest(email),
                patch.object(link_tokens, "make_token", return_value="token") as token,
                patch("ctj_api.accounts.password_reset.render_to_string", return_value="text") as text,
                made as message,
                patch(SEND_LATER) as later,
            ):
                with self.assertNumQueries(3):  # two limits, and who has the account
                    answers.append(client.post(FORGOT, {"email": email}))
                ((send,), _) = later.call_args
                send()
                calls = [mock.call_count for mock in (later, token, text, message)]
                self.assertEqual(calls, [1] * 4)
        self.assertEqual([message.to for message in mail.outbox], [[ANA]])
        self.assertEqual({(answer.status_code, answer.content) for answer in answers}, {(204, b"")})
        headers = [{name: value for name, value in a.headers.items() if name != "X-Request-ID"} for a in answers]
        self.assertEqual(headers, [headers[0]] * 3)

    def test_owner_gets_three_links_an_hour(self) -> None:
        """The answer stays the same; each address may ask a limited number of times."""
        self.assertEqual([ask().status_code for _ in range(5)], [204] * 5)
        self.assertEqual(len(mail.outbox), 3)
        with self.settings(PASSWORD_RESET_RATE=(7, 3600)):
            statuses = [ask(f"user{number}@example.org").status_code for number in range(3)]
        self.assertEqual(statuses, [204, 204, 429])

    def test_owner_asking_while_the_mail_server_is_away_gets_204(self) -> None:
        """The answer is given before; production's log tells of it, without the address."""
        refused = SMTPRecipientsRefused({ANA: (550, b"no")})
        with (
            patch("ctj_api.accounts.mail.DELAY_SECONDS", (0, 0)),
            patch("django.core.mail.EmailMessage.send", side_effect=refused),
            self.assertLogs("ctj_api.accounts.mail", "ERROR") as logs,
        ):
            self.assertEqual(make.browser().post(FORGOT, {"email": ANA}).status_code, 204)
            make.wait_until(lambda: bool(logs.records))
        line = make_formatter("json").format(logs.records[0])
        self.assertIn("SMTPRecipientsRefused", line)
        self.assertNotIn(ANA, line)


@override_settings(PASSWORD_RESET_URL="https://jobs.example.org/reset-password")
class ResetPasswordTests(APITestCase):
    """Using a link."""

    def setUp(self) -> None:
        """Have a link mailed."""
        make.make_regular_user(email=ANA)
        ask()
        self.link = mailed_link()

    def test_owner_changes_the_password_and_is_not_signed_in(self) -> None:
        """The new password counts from now on; the old one and the sessions, also a thief's, are worth nothing."""
        thief = make.browser()
        sign_in(client=thief)
        self.assertEqual(thief.get(ME).status_code, 200)
        ask()
        response = reset(mailed_link())
        self.assertEqual(response.status_code, 204)
        self.assertNotIn("sessionid", response.cookies)
        self.assertEqual([sign_in(word).status_code for word in (NEW, make.PASSWORD)], [200, 403])
        self.assertEqual(make.error_of(thief.get(ME))["code"], "not_authenticated")

    def test_owner_changing_or_waiting_ends_the_link_and_signing_in_does_not(self) -> None:
        """Another password or address, an inactive account, and an hour each end it."""
        changes: tuple[dict[str, Any], ...] = ({"email": "other@example.org"}, {"is_active": False}, {"password": "x"})
        for change in changes:
            with self.subTest(change):
                before = UserProfile.objects.values(*change).get()
                UserProfile.objects.update(**change)
                self.assertEqual(make.wrong_fields(reset(self.link)), ["token"])
                UserProfile.objects.update(**before)
        self.assertEqual(sign_in().status_code, 200)
        for minutes, status in ((61, 400), (59, 204)):
            later = datetime.now() + timedelta(minutes=minutes)  # noqa: DTZ005 (as Django reckons here)
            with patch.object(link_tokens, "_now", return_value=later):
                self.assertEqual(reset(self.link).status_code, status)

    @override_settings(PASSWORD_RESET_RATE=(100, 60))
    def test_attacker_with_a_wrong_link_is_refused_in_the_same_words(self) -> None:
        """Parts of another account's link, an unknown account and rubbish are all the same."""
        make.make_regular_user(email="ben@example.org")
        ask("ben@example.org")
        other = mailed_link()
        unknown = "MDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAw"
        links = [{**self.link, "uid": uid} for uid in (other["uid"], "x", "_" * 40, "\u00e9", unknown)]
        links += [{**self.link, "token": token} for token in (other["token"], "x", self.link["token"][:-1])]
        answers = [reset(link) for link in links]
        for answer in answers:
            self.assertEqual(make.wrong_fields(answer), ["token"])
        self.assertEqual(len({answer.content for answer in answers}), 1)

    def test_anonymous_with_bad_input_gets_400(self) -> None:
        """Each wrong field is named, passwords by the rules of sign-up, and the link stays good."""
        for value in ("", "ana", None, ["a@example.org"], "a\x00@example.org", f"{'a' * 300}@example.org", 5):
            with self.subTest(value):
                self.assertEqual(make.wrong_fields(make.browser().post(FORGOT, {"email": value})), ["email"])
        wrong = {"uid": "\x00", "token": 5, "password": None}
        self.assertEqual(make.wrong_fields(make.browser().post(RESET, wrong)), sorted(wrong))
        body = f'{{"uid": "{self.link["uid"]}", "token": "\\ud800", "password": "{NEW}"}}'
        self.assertEqual(make.browser().post(RESET, body, content_type="application/json").status_code, 400)
        for password in ("short", ANA, "12345678901"):
            self.assertEqual(make.wrong_fields(reset(self.link, password)), ["password"])
        self.assertEqual(reset(self.link).status_code, 204)

    @override_settings(LOGIN_RATE=(2, 900), LOGIN_ACCOUNT_RATE=(2, 900))
    def test_owner_locked_out_comes_in_by_a_link(self) -> None:
        """Whoever reads the owner's mail is no guesser."""
        self.assertEqual([sign_in("x").status_code for _ in range(3)], [403, 403, 429])
        self.assertEqual(reset(self.link).status_code, 204)
        self.assertEqual(sign_in(NEW).status_code, 200)


@override_settings(PASSWORD_RESET_URL="https://jobs.example.org/reset-password")
class ResetAtOnceTests(TransactionTestCase):
    """Transactions that are really committed."""

    def test_owner_using_a_link_many_times_at_once_succeeds_once(self) -> None:
        """Whoever comes second finds it used."""
        make.make_regular_user(email=ANA)
        ask()
        link = mailed_link()
        with patch(SEND_LATER):
            answers = make.at_once(*[lambda: reset(link)] * 6)
        self.assertEqual(sorted(answer.status_code for answer in answers), [204] + [400] * 5)


class SessionTests(APITestCase):
    """What a session cookie is worth, and for how long."""

    def test_regular_user_signing_out_ends_this_session_only_and_a_wrong_password_none(self) -> None:
        """The cookie, which no script reads, is worth nothing then; the other browser stays signed in."""
        make.make_regular_user(email=ANA)
        first, second, former = make.browser(), make.browser(), APIClient()
        for client in (first, second):
            sign_in(client=client)
            make.refresh_csrf_token(client)
        cookie = former.cookies["sessionid"] = first.cookies["sessionid"]
        self.assertTrue(first.cookies["csrftoken"]["secure"])
        flags = {name: cookie[name] for name in ("httponly", "secure", "samesite")}
        self.assertEqual(flags, {"httponly": True, "secure": True, "samesite": "Lax"})
        sign_in("x", first)
        self.assertEqual(first.cookies["sessionid"].value, cookie.value)
        self.assertEqual([client.get(ME).status_code for client in (first, second, former)], [200] * 3)
        self.assertEqual([first.post("/api/auth/logout/").status_code for _ in range(2)], [204] * 2)
        self.assertEqual([client.get(ME).status_code for client in (first, second, former)], [403, 200, 403])
        self.assertEqual(make.error_of(first.get(ME))["code"], "not_authenticated")
        self.assertEqual(Session.objects.count(), 1)


class HashingTests(APITestCase):
    """How passwords are stored, with the settings of production."""

    def setUp(self) -> None:
        """Undo what makes other tests quick."""
        production = [name for name in settings.PASSWORD_HASHERS if "MD5" not in name]
        self.enterContext(override_settings(PASSWORD_HASHERS=production))

    def test_regular_user_has_a_password_hashed_by_argon2id(self) -> None:
        """With OWASP's parameters; PBKDF2's hashes are still known, and Django replaces them at a sign-in."""
        self.assertRegex(make.make_regular_user().password, r"^argon2\$argon2id\$v=19\$m=19456,t=2,p=1\$")
        self.assertTrue(check_password(make.PASSWORD, make_password(make.PASSWORD, hasher="pbkdf2_sha256")))

    def test_attacker_cannot_tell_from_the_hashing_who_has_an_account(self) -> None:
        """Known, unknown and inactive accounts, and one without a password, cost one hash each."""
        make.make_regular_user(email=ANA)
        make.make_regular_user(email="gone@example.org", is_active=False)
        make.make_regular_user(email="new@example.org", password=None)
        for email in (ANA, *STRANGERS, "new@example.org"):
            with self.subTest(email), patch("argon2.low_level.hash_secret", return_value=b"$argon2id$x") as hashed:
                with patch("argon2.PasswordHasher.verify", return_value=False) as verified:
                    make.browser().post(LOGIN, {"email": email, "password": "wrong-passphrase"})
                self.assertEqual(hashed.call_count + verified.call_count, 1)
