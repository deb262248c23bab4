"""What people do with their own accounts: change the password, delete it, stay signed in."""

import time
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client, TransactionTestCase, override_settings
from django.utils import timezone
from psycopg.errors import DiskFull
from rest_framework.test import APIClient, APITestCase

from ctj_api.desk.departure import FORMER_USER
from ctj_api.models import AccountSession, Opportunity, SkillMatrix, UserProfile

from . import common as make

CHANGE_PASSWORD, LOGIN, ME = "/api/auth/change-password/", "/api/auth/login/", "/api/users/me/"
NEW = "another-long-passphrase"
WRONG = ["This is not your password."]


def signed_in(user: UserProfile) -> APIClient:
    """Return a browser that ``user`` has signed in by."""
    client = make.browser()
    client.post(LOGIN, {"email": user.email, "password": make.PASSWORD})
    make.refresh_csrf_token(client)
    return client


def change(client: APIClient, old: Any = make.PASSWORD, new: str = NEW) -> Any:
    """Return the answer to a change of password."""
    return client.post(CHANGE_PASSWORD, {"current_password": old, "new_password": new})


class ChangePasswordTests(APITestCase):
    """A new password by the old one."""

    def setUp(self) -> None:
        """Sign in twice."""
        self.user = make.make_regular_user(email="ana@example.org")
        self.browser, self.other = signed_in(self.user), signed_in(self.user)

    def test_regular_user_changes_the_password_and_stays_signed_in_here_only(self) -> None:
        """This session gets another key and keeps its token, the other's row is gone, and a mail tells of it."""
        before = self.browser.cookies["sessionid"].value
        with (
            patch("ctj_api.accounts.password_reset.send_later", lambda send: send()),
            self.captureOnCommitCallbacks(execute=True),
        ):
            self.assertEqual(change(self.browser).status_code, 204)
        self.assertEqual(mail.outbox[0].subject, "Your CivicTechJobs password has been changed")
        (session,) = Session.objects.all()
        self.assertEqual(self.browser.cookies["sessionid"].value, session.pk)
        self.assertNotEqual(session.pk, before)
        self.assertEqual([client.get(ME).status_code for client in (self.browser, self.other)], [200, 403])
        self.assertEqual(self.browser.patch(ME, {"max_available_hours": 3}).status_code, 200)
        self.user.refresh_from_db()
        self.assertTrue(self.user.check_password(NEW))

    def test_regular_user_with_bad_input_is_told_and_stays_signed_in(self) -> None:
        """Each wrong field by its name; nothing is changed."""
        current, new = "current_password", "new_password"
        cases: list[tuple[Any, str, list[str]]] = [
            ("wrong", NEW, [current]),
            (make.PASSWORD, "short", [new]),
            (make.PASSWORD, "ana@example.org", [new]),
            (["x"], "x" * 129, [current, new]),
        ]
        for old, chosen, fields in cases:
            with self.subTest(old, new=chosen):
                self.assertEqual(make.wrong_fields(change(self.browser, old, chosen)), fields)
        self.assertEqual(make.wrong_fields(self.browser.post(CHANGE_PASSWORD, {})), [current, new])
        self.assertEqual(make.error_of(change(self.browser, "wrong"))["fields"]["current_password"], WRONG)
        self.assertEqual([client.get(ME).status_code for client in (self.browser, self.other)], [200, 200])
        self.user.refresh_from_db()
        self.assertTrue(self.user.check_password(make.PASSWORD))

    @override_settings(LOGIN_RATE=(3, 900))
    def test_attacker_at_an_open_screen_cannot_guess(self) -> None:
        """Guesses here, at the deletion and at sign-in are counted together, and the right one is not looked at."""
        make.browser().post(LOGIN, {"email": "ana@example.org", "password": "wrong"})
        guesses = [change(self.browser, "wrong"), self.browser.delete(ME, {"password": "wrong"}), change(self.browser)]
        self.assertEqual([guess.status_code for guess in guesses], [400, 400, 429])
        self.assertEqual(make.error_of(guesses[2])["code"], "throttled")
        self.assertEqual(self.browser.delete(ME, {"password": make.PASSWORD}).status_code, 429)


class AccountTests(APITestCase):
    """How many sessions an account has, for how long, and going for good."""

    def setUp(self) -> None:
        """Make an account."""
        self.user = make.make_regular_user()

    def test_regular_user_has_ten_sessions_and_the_oldest_ends(self) -> None:
        """Others' aren't counted, a new sign-in replaces the former, expired ones are cleared."""
        signed_in(make.make_regular_user())
        clients = [signed_in(self.user) for _ in range(11)]
        former = APIClient()
        former.cookies["sessionid"] = clients[-1].cookies["sessionid"].value
        clients[-1].post(LOGIN, {"email": self.user.email, "password": make.PASSWORD})
        self.assertEqual(former.get(ME).status_code, 403)
        self.assertEqual([client.get(ME).status_code for client in clients], [403] + [200] * 10)
        self.assertEqual((Session.objects.count(), AccountSession.objects.count()), (11, 11))
        Session.objects.update(expire_date=timezone.now())
        call_command("clearsessions")
        self.assertFalse(AccountSession.objects.exists())

    def test_regular_user_using_a_session_each_day_keeps_it(self) -> None:
        """The first use of a day renews it and its cookie, the others only read; unused, it ends in two weeks."""
        client = signed_in(self.user)
        now = timezone.now()
        for days, is_written in ((0, False), (10, True), (10, False), (20, True), (35, False)):
            with self.subTest(days), patch("django.utils.timezone.now", return_value=now + timedelta(days=days)):
                response = client.get(ME)
                self.assertEqual(response.status_code, 403 if days == 35 else 200)
                self.assertEqual("Max-Age=1209600" in str(response.cookies), is_written)
                self.assertEqual(response["Cache-Control"], "private, no-store")

    def test_anyone_reading_public_pages_gets_no_cookie(self) -> None:
        """Neither without a session nor by the one of an inactive account is anything renewed."""
        client = signed_in(self.user)
        UserProfile.objects.update(is_active=False)
        self.assertEqual(client.get(ME).status_code, 403)
        with patch("django.utils.timezone.now", return_value=timezone.now() + timedelta(days=1)):
            for reader in (APIClient(), client):
                for url in ("/api/skills/", "/api/opportunities/"):
                    response = reader.get(url)
                    self.assertEqual((response["Cache-Control"], response.cookies), ("public, max-age=60", {}))

    def test_pm_user_deletes_the_own_account(self) -> None:
        """The matrix and all sessions go along; listings stay without an author, and the history keeps who did what."""
        pm = make.make_pm_user(email="ana@example.org", levels={make.make_skill(): 3})
        listing = make.make_opportunity(created_by=pm)
        LogEntry.objects.log_actions(pm.pk, [listing], CHANGE, "Before.")
        client, other = signed_in(pm), signed_in(pm)
        refused = client.delete(ME, {"password": "wrong"})
        self.assertEqual((refused.status_code, make.error_of(refused)["fields"]), (400, {"password": WRONG}))
        response = client.delete(ME, {"password": make.PASSWORD})
        self.assertEqual((response.status_code, response.content), (204, b""))
        self.assertEqual([make.error_of(each.get(ME))["code"] for each in (client, other)], ["not_authenticated"] * 2)
        self.assertFalse(Session.objects.exists() or UserProfile.objects.filter(pk=pm.pk).exists())
        self.assertEqual(SkillMatrix.objects.get(), Opportunity.objects.get(created_by=None).skills_required_matrix)
        entries = list(LogEntry.objects.order_by("pk").values_list("action_flag", "object_id", "user__email"))
        rows = [(CHANGE, listing.pk), (CHANGE, listing.pk), (DELETION, pm.pk)]
        self.assertEqual(entries, [(flag, str(pk), FORMER_USER) for flag, pk in rows])
        self.assertFalse(LogEntry.objects.filter(object_repr__contains="ana@").exists())
        self.assertEqual(signed_in(UserProfile(email=FORMER_USER)).get(ME).status_code, 403)


class ReadOnlySessionsTests(TransactionTestCase):
    """Sessions in a database that takes no writes."""

    def test_regular_user_reads_while_nothing_can_be_saved(self) -> None:
        """The session of a read is renewed by the next one; a write is refused, as it can't be saved either."""
        client = signed_in(make.make_regular_user())
        client.raise_request_exception = False
        full = OperationalError("could not extend file")
        full.__cause__ = DiskFull()
        with patch("django.utils.timezone.now", return_value=timezone.now() + timedelta(days=1)):
            with patch.object(Session, "save", side_effect=full), self.assertLogs("ctj_api.accounts", "WARNING"):
                self.assertEqual(client.get(ME).status_code, 200)
                self.assertEqual(client.patch(ME, {"max_available_hours": 6}).status_code, 503)
            make.execute("SET default_transaction_read_only = on")
            response = client.get(ME)
            self.assertEqual((response.status_code, response.cookies), (200, {}))
            self.assertIn("sessionid", client.get(ME).cookies)


class AccountsAtOnceTests(TransactionTestCase):
    """Transactions that are really committed."""

    def test_administrators_going_at_once_leave_one(self) -> None:
        """Whoever comes last stays, and is told why; several sessions of one account delete it once."""
        make.make_admin_user(is_active=False)
        clients = [signed_in(make.make_admin_user()) for _ in range(4)]
        answers = make.at_once(*(partial(each.delete, ME, {"password": make.PASSWORD}) for each in clients))
        self.assertEqual(sorted(answer.status_code for answer in answers), [204, 204, 204, 400])
        (refused,) = [number for number, answer in enumerate(answers) if answer.status_code == 400]
        reason = "This is the last administrator: make somebody else one first."
        self.assertEqual(make.error_of(answers[refused])["fields"], {"non_field_errors": [reason]})
        self.assertEqual(clients[refused].get(ME).status_code, 200)
        user = make.make_regular_user()
        delete = [partial(signed_in(user).delete, ME, {"password": make.PASSWORD}) for _ in range(3)]
        first, *others = sorted(answer.status_code for answer in make.at_once(*delete))
        self.assertEqual(first, 204)
        self.assertLessEqual(set(others), {400, 403})
        self.assertFalse(AccountSession.objects.filter(user=user.pk).exists())

    def test_regular_user_changing_the_password_at_once_changes_it_once(self) -> None:
        """The first ends the sessions of the others, which are told so."""
        user = make.make_regular_user()
        with patch("ctj_api.accounts.password_reset.send_later"):
            answers = make.at_once(*[partial(change, signed_in(user), new=f"{NEW}-{number}") for number in range(4)])
        first, *others = sorted(answer.status_code for answer in answers)
        self.assertEqual(first, 204)
        self.assertLessEqual(set(others), {400, 403})

    def test_regular_user_signing_in_at_once_has_ten_sessions(self) -> None:
        """Each sign-in counts the others."""
        user = make.make_regular_user()
        for _ in range(8):
            Client().force_login(user)
        store = AccountSession.objects.bulk_create

        def store_slowly(*args: Any, **kwargs: Any) -> None:
            store(*args, **kwargs)
            time.sleep(0.2)

        with patch.object(AccountSession.objects, "bulk_create", store_slowly):
            make.at_once(*[lambda: Client().force_login(user)] * 6)
        self.assertEqual((Session.objects.count(), AccountSession.objects.count()), (10, 10))
