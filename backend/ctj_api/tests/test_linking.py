"""Which account a token of Cognito means, and what becomes of passwords and sessions, there and back."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import TransactionTestCase
from rest_framework.exceptions import PermissionDenied
from rest_framework.test import APIClient, APITestCase

from ctj_api.accounts.linking import Claims, account_of
from ctj_api.accounts.password_reset import link_tokens
from ctj_api.models import UserProfile

from .cognito import POOL, SUB, bearer, id_token, using_cognito
from .common import PASSWORD, at_once, browser, error_of, make_admin_user, make_pm_user, make_regular_user
from .test_password_reset import ANA, LOGIN, ME, ask, mailed_link, reset, sign_in

OTHER_SUB = "another-sub"
KEPT: dict[str, Any] = {"cognito_pool": POOL, "cognito_sub": OTHER_SUB}
OWN: dict[str, Any] = {"cognito_pool": POOL, "cognito_sub": SUB}


def claims(**changes: Any) -> Claims:
    """Return what the token of a newcomer says."""
    said = {"email": "Ana@Example.org", "email_verified": True, "first_name": "Ana", "last_name": "Reyes"}
    return Claims(**{"pool": POOL, "sub": SUB, **said, **changes})


class LinkingTests(APITestCase):
    """Tokens, and the accounts that they mean."""

    def test_volunteer_with_a_token_has_the_account_that_the_table_says(self) -> None:
        """Made, found, linked or refused; a refusal changes nothing, and the log has ids only."""
        make, unverified = make_regular_user, {"email_verified": False}
        cases: list[tuple[str, Callable[[], Any], dict[str, Any], str]] = [
            ("known", lambda: make(email=ANA, **OWN), {}, "found"),
            ("known by another address", lambda: make(email="a@example.org", **OWN), {}, "found"),
            ("known, administrator", lambda: make_admin_user(email=ANA, **OWN), {}, "found"),
            ("known, inactive", lambda: make(email=ANA, is_active=False, **OWN), {}, "inactive"),
            ("known, not verified", lambda: make(email=ANA, **OWN), unverified, "found"),
            ("known, no address", lambda: make(email=ANA, **OWN), {**unverified, "email": ""}, "found"),
            ("nobody's", lambda: None, {}, "made"),
            ("nobody's, not verified", lambda: None, unverified, "Verify your e-mail address"),
            ("nobody's, without", lambda: None, {"email": ""}, "Verify your e-mail address"),
            ("nobody's, odd", lambda: None, {"email": '"a b"@example.org'}, "can't be used here"),
            ("in lower case only", lambda: make(email="k@a.org"), {"email": "\u212a@a.org"}, "can't be used here"),
            ("somebody's", lambda: make(email=ANA), {}, "linked"),
            ("somebody's, not verified", lambda: make(email=ANA), unverified, "Verify your e-mail address"),
            ("project manager's", lambda: make_pm_user(email=ANA), {}, "linked"),
            ("inactive", lambda: make(email=ANA, is_active=False), {}, "inactive"),
            ("administrator's", lambda: make_admin_user(email=ANA), {}, f"manage.py link_cognito {ANA} {SUB}"),
            ("another sub's", lambda: make(email=ANA, **KEPT), {}, "Ask an administrator to unlink it"),
            ("the sub's in another pool", lambda: make(email=ANA, **{**OWN, "cognito_pool": "p"}), {}, "unlink it"),
        ]
        for name, register, said, expected in cases:
            with self.subTest(name), transaction.atomic():
                before = register()
                rows = list(UserProfile.objects.values())
                if expected in {"made", "found", "linked", "inactive"}:
                    account = account_of(claims(**said))
                    stored = UserProfile.objects.get()
                    self.assertEqual(account, stored)
                    is_left_alone = expected in {"found", "inactive"}
                    self.assertEqual(stored.password == getattr(before, "password", ""), is_left_alone)
                    self.assertEqual(stored.has_usable_password(), is_left_alone)
                    self.assertEqual(stored.cognito_sub == SUB, name != "inactive")
                    self.assertEqual(stored.is_active, expected != "inactive")
                    self.assertEqual(stored.is_project_manager, name == "project manager's")
                    if expected != "inactive":
                        self.assertEqual((stored.email, stored.get_full_name()), (ANA, "Ana Reyes"))
                    self.assertEqual(LogEntry.objects.exists(), expected == "linked")
                else:
                    watch = self.assertLogs if "unlink it" in expected else self.assertNoLogs
                    with watch("ctj_api.accounts.linking", "WARNING") as logs:
                        self.assertRaisesMessage(PermissionDenied, expected, account_of, claims(**said))
                    if logs:
                        self.assertIn(str(before.pk), logs.output[0])
                        self.assertNotIn("@", logs.output[0])
                    self.assertEqual(list(UserProfile.objects.values()), rows)
                transaction.set_rollback(True)

    def test_volunteer_with_odd_names_has_an_account_without_them(self) -> None:
        """A name that no profile takes stays empty, or as it was; one that is given replaces it."""
        odd = dict.fromkeys(("x" * 151, "A\nB", "…", ""), "")
        for given, stored in {"Ana": "Ana", "  Zoë ": "Zoë", **odd}.items():
            with self.subTest(given):
                UserProfile.objects.all().delete()
                self.assertEqual(account_of(claims(first_name=given)).first_name, stored)
                UserProfile.objects.update(first_name="Before")
                account_of(claims(first_name=given))
                self.assertEqual(UserProfile.objects.get().first_name, stored or "Before")

    def test_volunteer_with_another_address_has_it_here_too_where_it_is_verified_and_free(self) -> None:
        """Otherwise the account keeps its address, and the log tells so without one."""
        make_regular_user(email="ben@example.org")
        for address, is_verified, is_taken_over in (
            ("Anna@example.org", True, True),
            ("anna@example.org", False, False),
            ("BEN@example.org", True, False),
            ("anna@[192.0.2.1]", True, False),
        ):
            with self.subTest(address, verified=is_verified), transaction.atomic():
                make_regular_user(email=ANA, **OWN)
                logs = self.assertNoLogs if is_taken_over else self.assertLogs
                with logs("ctj_api.accounts.linking", "WARNING") as told:
                    account_of(claims(email=address, email_verified=is_verified))
                self.assertNotIn("@", str(told and told.output))
                stored = UserProfile.objects.get(cognito_sub=SUB)
                self.assertEqual(stored.email, address.lower() if is_taken_over else ANA)
                transaction.set_rollback(True)

    def test_operator_links_an_account_by_command(self) -> None:
        """An administrator keeps the password, others don't; what can't be done is told in words."""
        administrator, ben = make_admin_user(email=ANA), make_regular_user(email="ben@example.org")
        cases = [
            (("", ANA, SUB), "Set COGNITO_USER_POOL"),
            ((POOL, "nobody@example.org", SUB), "no account with the address"),
            *(((POOL, ANA, sub), "1 to 255 characters") for sub in ("", "a\n", "é", "x" * 256)),
            ((POOL, "ANA@example.org", SUB), ""),
            ((POOL, ANA, OTHER_SUB), f"{ANA} is linked already"),
            ((POOL, "ben@example.org", SUB), f"{ANA} is linked already"),
            ((POOL, "ben@example.org", OTHER_SUB), ""),
        ]
        for (pool, email, sub), problem in cases:
            with self.subTest(email=email, sub=sub), self.settings(COGNITO_USER_POOL=pool):
                if problem:
                    with self.assertRaisesMessage(CommandError, problem):
                        call_command("link_cognito", email, sub)
                else:
                    call_command("link_cognito", email, sub, verbosity=0)
        self.assertEqual(account_of(claims()), administrator)
        for user, is_usable in ((administrator, True), (ben, False)):
            user.refresh_from_db()
            self.assertEqual(user.has_usable_password(), is_usable)
            self.assertIn("user of Cognito", LogEntry.objects.get(object_id=user.pk).get_change_message())


class CognitoAccountTests(APITestCase):
    """What the API does with accounts that Cognito keeps, and with those of before, there and back."""

    def test_anyone_asking_for_an_account_is_told_who_keeps_them(self) -> None:
        """404 in the envelope for each method, while Cognito does; the CSRF token and signing out stay."""
        local = {"signup": 400, "login": 400, "forgot-password": 400, "reset-password": 400, "change-password": 403}
        for provider, statuses in (("local", local), ("cognito", dict.fromkeys(local, 404))):
            for name, status in {**statuses, "logout": 204}.items():
                with self.subTest(provider, name=name), self.settings(IDENTITY_PROVIDER=provider):
                    client = browser()
                    answer = client.post(f"/api/auth/{name}/", {})
                    self.assertEqual(answer.status_code, status)
                    if status == 404:
                        self.assertIn("kept by Hack for LA's Cognito", error_of(answer)["message"])
                        self.assertEqual(client.get(f"/api/auth/{name}/").status_code, 404)

    def test_volunteer_with_a_token_changes_all_but_the_name(self) -> None:
        """Names are ignored as any field that isn't written; without Cognito they are saved."""
        with using_cognito():
            client = bearer(id_token())
            answer = client.patch(ME, {"first_name": "Zoë", "last_name": ["x"], "max_available_hours": 7})
            self.assertEqual((answer.status_code, answer.json()["name"]), (200, "Ana Reyes"))
            self.assertEqual(answer.json()["max_available_hours"], 7)
        answer = browser(UserProfile.objects.get()).patch(ME, {"first_name": "Zoë"})
        self.assertEqual(answer.json()["first_name"], "Zoë")

    def test_volunteer_with_a_token_deletes_the_account_without_a_password(self) -> None:
        """The next token makes another one; an administrator, whose password still counts, is asked for it."""
        with using_cognito():
            client = bearer(id_token())
            first = client.get(ME).json()["id"]
            self.assertEqual(client.delete(ME).status_code, 204)
            self.assertFalse(UserProfile.objects.filter(pk=first).exists())
            self.assertNotEqual(client.get(ME).json()["id"], first)
            UserProfile.objects.filter(email=ANA).update(is_superuser=True, is_staff=True)
            self.assertEqual(error_of(client.delete(ME))["fields"], {"password": ["This field is required."]})

    def test_attacker_who_registered_a_strangers_address_is_shut_out(self) -> None:
        """By the owner's first token, for good: password, session and mailed link have ended, a new link works."""
        make_regular_user(email=ANA)
        attacker = browser()
        sign_in(client=attacker)
        self.assertEqual(attacker.get(ME).status_code, 200)
        stolen = link_tokens.make_token(UserProfile.objects.get())
        with using_cognito():
            self.assertEqual(bearer(id_token()).get(ME).status_code, 200)
        user = UserProfile.objects.get()
        self.assertFalse(Session.objects.exists() or link_tokens.check_token(user, stolen))
        self.assertEqual(attacker.get(ME).status_code, 403)
        self.assertEqual(sign_in().status_code, 403)
        told = "Changed user of Cognito and password, which has ended."
        self.assertEqual(LogEntry.objects.get(object_id=user.pk).get_change_message(), told)
        ask()
        self.assertEqual(reset(mailed_link(), "the-owners-own-passphrase").status_code, 204)
        answer = sign_in("the-owners-own-passphrase")
        self.assertEqual((answer.status_code, answer.json()["id"]), (200, str(user.pk)))

    def test_volunteer_who_never_came_by_cognito_finds_all_as_before(self) -> None:
        """The session rests meanwhile and is valid again, and so is the password; nothing was written."""
        user = make_regular_user(email="ben@example.org")
        clients, credentials = [APIClient(), APIClient()], {"email": user.email, "password": PASSWORD}
        for client in clients:
            self.assertEqual(client.post(LOGIN, credentials).status_code, 200)
        rows = list(UserProfile.objects.values()), list(Session.objects.values())
        with using_cognito():
            self.assertIn(clients[0].get(ME).status_code, {401, 403})
            bearer(id_token()).get(ME)
            self.assertEqual(clients[0].get("/admin/").status_code, 302)
        UserProfile.objects.filter(email=ANA).delete()
        self.assertEqual((list(UserProfile.objects.values()), list(Session.objects.values())), rows)
        self.assertEqual([client.get(ME).status_code for client in clients], [200, 200])
        self.assertEqual(browser().post(LOGIN, credentials).status_code, 200)


class FirstTokensAtOnceTests(TransactionTestCase):
    """Transactions that are really committed."""

    serialized_rollback = True

    def test_volunteers_first_requests_at_once_make_one_account(self) -> None:
        """Made or linked once, and found by all of its owner's; another user with the same address is refused."""

        def attempt(sub: str) -> UserProfile | None:
            with suppress(PermissionDenied):
                return account_of(claims(sub=sub))
            return None

        for is_registered, subs in ((False, [SUB] * 20), (True, [SUB] * 20), (False, [SUB, OTHER_SUB] * 5)):
            UserProfile.objects.all().delete()
            if is_registered:
                make_regular_user(email=ANA)
            accounts = at_once(*(partial(attempt, sub) for sub in subs))
            owner = UserProfile.objects.get(cognito_pool=POOL)
            self.assertEqual(accounts, [owner if sub == owner.cognito_sub else None for sub in subs])
            self.assertEqual(LogEntry.objects.count(), int(is_registered))
