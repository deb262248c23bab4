"""Somebody who forgot their password gets a new one by a mailed link, and nobody else does."""

import re
from datetime import datetime, timedelta
from smtplib import SMTPRecipientsRefused
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlencode, urlsplit

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core import mail
from django.core.mail import EmailMessage
from django.test import TransactionTestCase, override_settings
from rest_framework.test import APIClient, APITestCase

from backend.environment import Rate
from ctj_api.models import UserProfile

from .common import PASSWORD, browser, error_of, make_regular_user, refresh_csrf_token
from .test_concurrency import at_once

FORGOT, RESET, LOGIN, ME = (
    "/api/auth/forgot-password/",
    "/api/auth/reset-password/",
    "/api/auth/login/",
    "/api/users/me/",
)
ANA = "ana@example.org"
NEW = "another-long-passphrase"
DO_LATER = "ctj_api.accounts.password_reset.do_later"


def ask(email: str = ANA) -> Any:
    """Ask for a link; what is mailed is in the outbox afterwards."""
    with mailing_at_once():
        return browser().post(FORGOT, {"email": email})


def mailing_at_once() -> Any:
    """Have mails made and sent before the answer, instead of some seconds later."""
    return patch(DO_LATER, lambda job: job())


def mailed_link() -> dict[str, str]:
    """Return what the link of the last mail says."""
    (link,) = re.findall(r"https://\S+", str(mail.outbox[-1].body))
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


def reset(link: dict[str, str], password: str = NEW, client: APIClient | None = None) -> Any:
    """Use a link."""
    return (client or browser()).post(RESET, {**link, "password": password})


@override_settings(PASSWORD_RESET_URL="https://jobs.example.org/reset-password")
class ForgotPasswordTests(APITestCase):
    """Asking for a link."""

    def setUp(self) -> None:
        """Make an account."""
        self.user = make_regular_user(email=ANA, first_name="Ana")

    def test_owner_is_mailed_a_link_to_the_front_end(self) -> None:
        """The address counts in any case, and the host is that of the settings."""
        self.assertEqual(ask("ANA@Example.org").status_code, 204)
        (message,) = mail.outbox
        self.assertEqual(message.to, [ANA])
        self.assertIn("https://jobs.example.org/reset-password?uid=", message.body)
        self.assertIn("within\n60 minutes", message.body)

    def test_link_can_be_copied_from_the_mail_as_it_is_sent(self) -> None:
        """And from the log, where mails go in development."""
        ask(ANA)
        (link,) = re.findall(r"https://\S+", str(mail.outbox[0].body))
        self.assertIn(f"\n{link}\n", mail.outbox[0].message().as_string())

    def test_answer_does_not_tell_who_has_an_account(self) -> None:
        """For accounts, strangers and inactive accounts it is the same, to the number of queries."""
        make_regular_user(email="gone@example.org", is_active=False)
        answers, counts = [], []
        for email in (ANA, "nobody@example.org", "gone@example.org"):
            client = browser()
            with self.assertNumQueries(3), patch(DO_LATER) as later:  # address, account, and who has the account
                answers.append(client.post(FORGOT, {"email": email}))
            counts.append(later.call_count)
        self.assertEqual({(answer.status_code, answer.content) for answer in answers}, {(204, b"")})
        headers = [{name: value for name, value in a.headers.items() if name != "X-Request-ID"} for a in answers]
        self.assertEqual(headers, [headers[0]] * 3)
        self.assertEqual(counts, [1, 1, 1])

    def test_unknown_address_costs_as_much_as_a_known_one(self) -> None:
        """A mail with a link is made for it as well, and thrown away."""
        make_regular_user(email="gone@example.org", is_active=False)
        for email in (ANA, "nobody@example.org", "gone@example.org"):
            with (
                self.subTest(email),
                patch.object(default_token_generator, "make_token", return_value="token") as token,
                patch("ctj_api.accounts.password_reset.render_to_string", return_value="text") as text,
                patch("django.core.mail.EmailMessage.message", autospec=True, side_effect=EmailMessage.message) as made,
            ):
                ask(email)
                self.assertEqual((token.call_count, text.call_count, made.call_count), (1, 1, 1))
        self.assertEqual([message.to for message in mail.outbox], [[ANA]])

    def test_mailbox_is_not_flooded(self) -> None:
        """Three links an hour, and the answer stays the same."""
        self.assertEqual([ask().status_code for _ in range(5)], [204] * 5)
        self.assertEqual(len(mail.outbox), 3)

    @override_settings(PASSWORD_RESET_RATE=Rate(2, 3600))
    def test_address_that_asks_too_often_gets_429(self) -> None:
        """Whatever it asks for."""
        statuses = [ask(f"user{number}@example.org").status_code for number in range(3)]
        self.assertEqual(statuses, [204, 204, 429])

    def test_mail_server_that_is_away_is_nobodys_error(self) -> None:
        """The answer is given before; the log tells of it, without the address."""
        with (
            patch("django.core.mail.EmailMessage.send", side_effect=SMTPRecipientsRefused({ANA: (550, b"no")})),
            self.assertLogs("ctj_api.accounts.password_reset", "ERROR") as logs,
        ):
            self.assertEqual(ask().status_code, 204)
        self.assertNotIn(ANA, "".join(logs.output))

    def test_bad_input_gets_400(self) -> None:
        """The field is named."""
        for value in ("", "ana", None, ["a@example.org"], "a\x00@example.org", f"{'a' * 300}@example.org", 5):
            with self.subTest(value):
                response = browser().post(FORGOT, {"email": value})
                self.assertEqual((response.status_code, list(error_of(response)["fields"])), (400, ["email"]))

    def test_name_is_in_no_mail(self) -> None:
        """Who signs up with somebody else's address would write to them by it."""
        ask()
        link = mailed_link()
        with mailing_at_once(), self.captureOnCommitCallbacks(execute=True):
            reset(link)
        self.assertEqual(len(mail.outbox), 2)
        for message in mail.outbox:
            self.assertNotIn("Ana", message.message().as_string())


@override_settings(PASSWORD_RESET_URL="https://jobs.example.org/reset-password")
class ResetPasswordTests(APITestCase):
    """Using a link."""

    def setUp(self) -> None:
        """Have a link mailed."""
        self.user = make_regular_user(email=ANA)
        ask()
        self.link = mailed_link()

    def assert_dead(self, response: Any) -> None:
        """Fail unless the link is refused, and the password is as it was."""
        self.assertEqual((response.status_code, list(error_of(response)["fields"])), (400, ["token"]))

    def test_link_changes_the_password_and_signs_nobody_in(self) -> None:
        """The new one counts from now on, the old one no more."""
        client = browser()
        self.assertEqual(reset(self.link, client=client).status_code, 204)
        self.assertNotIn("sessionid", client.cookies)
        statuses = [browser().post(LOGIN, {"email": ANA, "password": word}).status_code for word in (NEW, PASSWORD)]
        self.assertEqual(statuses, [200, 403])

    def test_owner_is_told_by_mail(self) -> None:
        """Somebody else may have done it."""
        with mailing_at_once(), self.captureOnCommitCallbacks(execute=True):
            reset(self.link)
        self.assertEqual(mail.outbox[-1].subject, "Your CivicTechJobs password has been changed")
        self.assertNotIn(NEW, mail.outbox[-1].body)

    def test_all_sessions_end(self) -> None:
        """Also that of who has stolen it."""
        thief = browser()
        thief.post(LOGIN, {"email": ANA, "password": PASSWORD})
        self.assertEqual(thief.get(ME).status_code, 200)
        ask()
        reset(mailed_link())
        self.assertEqual(error_of(thief.get(ME))["code"], "not_authenticated")

    def test_link_works_once(self) -> None:
        """Even for the same password."""
        self.assertEqual(reset(self.link).status_code, 204)
        self.assert_dead(reset(self.link))

    def test_link_ends_after_an_hour(self) -> None:
        """To the minute."""
        for minutes, status in ((61, 400), (59, 204)):
            later = datetime.now() + timedelta(minutes=minutes)  # noqa: DTZ005 (as Django reckons here)
            with patch.object(default_token_generator, "_now", return_value=later):
                self.assertEqual(reset(self.link).status_code, status)

    def test_link_ends_when_its_owner_signs_in_or_changes(self) -> None:
        """By the password, by another address, or by being switched off."""
        changes: dict[str, dict[str, Any]] = {
            "address": {"email": "other@example.org"},
            "switched off": {"is_active": False},
            "password": {"password": "x"},
        }
        for name, change in changes.items():
            with self.subTest(name):
                before = UserProfile.objects.values(*change).get()
                UserProfile.objects.update(**change)
                self.assert_dead(reset(self.link))
                UserProfile.objects.update(**before)
        browser().post(LOGIN, {"email": ANA, "password": PASSWORD})
        self.assert_dead(reset(self.link))

    def test_weak_password_does_not_use_up_the_link(self) -> None:
        """The rules are those of sign-up."""
        for password in ("short", ANA, "12345678901"):
            response = reset(self.link, password)
            self.assertEqual((response.status_code, list(error_of(response)["fields"])), (400, ["password"]))
        self.assertEqual(reset(self.link).status_code, 204)

    def test_wrong_link_of_any_kind_is_refused_in_the_same_words(self) -> None:
        """Another account's, an unknown one's, and rubbish."""
        make_regular_user(email="ben@example.org")
        ask("ben@example.org")
        other = mailed_link()
        links = [
            {**self.link, "uid": other["uid"]},
            {**self.link, "token": other["token"]},
            {**self.link, "token": "x"},
            {**self.link, "token": self.link["token"][:-1]},
            {**self.link, "uid": "x"},
            {**self.link, "uid": "_" * 40},
            {**self.link, "uid": "\u00e9"},
            {**self.link, "uid": "MDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAw"},
        ]
        with override_settings(PASSWORD_RESET_RATE=Rate(100, 60)):
            answers = [reset(link) for link in links]
        for answer in answers:
            self.assert_dead(answer)
        self.assertEqual(len({answer.content for answer in answers}), 1)

    def test_bad_input_gets_400(self) -> None:
        """Each wrong field is named."""
        response = browser().post(RESET, {"uid": "\x00", "token": 5, "password": None})
        self.assertEqual((response.status_code, set(error_of(response)["fields"])), (400, {"uid", "token", "password"}))
        body = f'{{"uid": "{self.link["uid"]}", "token": "\\ud800", "password": "{NEW}"}}'
        response = browser().post(RESET, body, content_type="application/json")
        self.assertEqual(response.status_code, 400)

    @override_settings(LOGIN_RATE=Rate(2, 900), LOGIN_ACCOUNT_RATE=Rate(2, 900))
    def test_owner_who_is_locked_out_may_come_in_by_a_link(self) -> None:
        """Who reads the mail is no guesser."""
        client = browser()
        statuses = [client.post(LOGIN, {"email": ANA, "password": "x"}).status_code for _ in range(3)]
        self.assertEqual(statuses, [403, 403, 429])
        self.assertEqual(reset(self.link).status_code, 204)
        self.assertEqual(client.post(LOGIN, {"email": ANA, "password": NEW}).status_code, 200)


@override_settings(PASSWORD_RESET_URL="https://jobs.example.org/reset-password")
class ResetAtOnceTests(TransactionTestCase):
    """Transactions that are really committed."""

    serialized_rollback = True

    def test_link_used_twice_at_once_works_once(self) -> None:
        """The one who comes second finds it used."""
        make_regular_user(email=ANA)
        ask()
        link = mailed_link()
        clients = [browser() for _ in range(6)]
        with patch(DO_LATER):
            answers = at_once(*[lambda client=client: reset(link, client=client) for client in clients])
        self.assertEqual(sorted(answer.status_code for answer in answers), [204] + [400] * 5)


class SessionTests(APITestCase):
    """What a session cookie is worth, and for how long."""

    def setUp(self) -> None:
        """Make an account, and sign in twice."""
        self.user = make_regular_user(email=ANA)
        self.first, self.second = (self.signed_in() for _ in range(2))

    def signed_in(self) -> APIClient:
        """Return a browser of the account's owner."""
        client = browser()
        client.post(LOGIN, {"email": ANA, "password": PASSWORD})
        refresh_csrf_token(client)
        return client

    def test_sign_in_gives_a_new_session(self) -> None:
        """One that was planted before is worth nothing."""
        planted = self.first.cookies["sessionid"].value
        self.first.post(LOGIN, {"email": ANA, "password": PASSWORD})
        self.assertNotEqual(self.first.cookies["sessionid"].value, planted)
        client = APIClient()
        client.cookies["sessionid"] = planted
        self.assertEqual(client.get(ME).status_code, 403)

    def test_sign_in_again_to_the_admin_gives_a_new_session(self) -> None:
        """As in the API: it is the same session that both know."""
        UserProfile.objects.update(is_project_manager=True)
        planted = self.first.cookies["sessionid"].value
        form = urlencode({"username": ANA, "password": PASSWORD})
        content_type = "application/x-www-form-urlencoded"
        page = self.first.post("/admin/login/?next=/admin/", form, content_type=content_type)
        self.assertEqual((page.status_code, page["Location"]), (302, "/admin/"))
        self.assertNotEqual(self.first.cookies["sessionid"].value, planted)
        client = APIClient()
        client.cookies["sessionid"] = planted
        self.assertEqual([client.get(ME).status_code, self.first.get(ME).status_code], [403, 200])

    def test_wrong_password_keeps_the_session(self) -> None:
        """Nobody is signed out by a guess."""
        before = self.first.cookies["sessionid"].value
        self.first.post(LOGIN, {"email": ANA, "password": "x"})
        self.assertEqual((self.first.cookies["sessionid"].value, self.first.get(ME).status_code), (before, 200))

    def test_sign_out_ends_this_session_only(self) -> None:
        """For good: its cookie is worth nothing."""
        cookie = self.first.cookies["sessionid"].value
        self.first.post("/api/auth/logout/")
        client = APIClient()
        client.cookies["sessionid"] = cookie
        self.assertEqual([client.get(ME).status_code, self.second.get(ME).status_code], [403, 200])

    def test_changed_password_ends_all_sessions(self) -> None:
        """However it was changed."""
        self.user.set_password(NEW)
        self.user.save()
        self.assertEqual([self.first.get(ME).status_code, self.second.get(ME).status_code], [403, 403])

    def test_switched_off_account_has_no_session(self) -> None:
        """From the next request on."""
        UserProfile.objects.update(is_active=False)
        self.assertEqual(self.first.get(ME).status_code, 403)

    def test_cookie_is_kept_from_scripts_and_other_sites(self) -> None:
        """And, in production, from plain HTTP."""
        cookie = self.first.cookies["sessionid"]
        self.assertTrue(cookie["httponly"] and cookie["secure"])
        self.assertEqual(cookie["samesite"], "Lax")
        self.assertTrue(self.first.cookies["csrftoken"]["secure"])


class HashingTests(APITestCase):
    """How passwords are stored, with the settings of production."""

    def setUp(self) -> None:
        """Undo what makes other tests quick."""
        production = [name for name in settings.PASSWORD_HASHERS if "MD5" not in name]
        self.enterContext(override_settings(PASSWORD_HASHERS=production))

    def test_password_is_stored_by_argon2id(self) -> None:
        """With OWASP's parameters."""
        self.assertRegex(make_regular_user().password, r"^argon2\$argon2id\$v=19\$m=19456,t=2,p=1\$")

    def test_old_password_is_stored_anew_at_sign_in(self) -> None:
        """PBKDF2 was the way before."""
        user = make_regular_user(email=ANA)
        with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"]):
            user.set_password(PASSWORD)
            user.save()
        self.assertEqual(browser().post(LOGIN, {"email": ANA, "password": PASSWORD}).status_code, 200)
        user.refresh_from_db()
        self.assertTrue(user.password.startswith("argon2$"))

    def test_sign_in_hashes_once_whoever_it_is(self) -> None:
        """A known account, an unknown one, one that is switched off, and one without a password take as long."""
        make_regular_user(email=ANA)
        make_regular_user(email="gone@example.org", is_active=False)
        make_regular_user(email="new@example.org", password=None)
        for email in (ANA, "nobody@example.org", "gone@example.org", "new@example.org"):
            with self.subTest(email), patch("argon2.low_level.hash_secret", return_value=b"$argon2id$x") as hashed:
                with patch("argon2.PasswordHasher.verify", return_value=False) as verified:
                    browser().post(LOGIN, {"email": email, "password": "wrong-passphrase"})
                self.assertEqual(hashed.call_count + verified.call_count, 1)
