"""The admin's sign-in by the pool's own pages: three OpenID servers, and one of the tests' own that also fails."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, ClassVar
from unittest.mock import patch
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client, TestCase, override_settings
from django.urls import reverse
from django.utils import timezone

from backend.environment import Rate
from ctj_api.accounts.sessions import MAX_SESSIONS
from ctj_api.desk import cognito_sign_in
from ctj_api.models import UserProfile

from .cognito import CLIENT as OTHER_CLIENT
from .cognito import POOL, cognito, id_token, key_server
from .common import PASSWORD, make_admin_user, make_pm_user, make_regular_user
from .pools import CALLBACK, CLIENT, PM, SECRET, VOLUNTEER, Pool, local_pool, mock_pool, node_pool

BEGIN, LOGIN = reverse("admin:cognito"), reverse("admin:login")
ACCOUNTS = reverse("admin:ctj_api_userprofile_changelist")
LISTINGS = reverse("admin:ctj_api_opportunity_changelist", query={"posted_by": "me"})
SESSION = settings.SESSION_COOKIE_NAME


class SignInTestCase(TestCase):
    """Begins sign-ins, and says what becomes of them."""

    def begin(self, browser: Client, changes: dict[str, str] | None = None, /, **query: str) -> str:
        """Return the address at the pool where a sign-in leads, with ``changes`` to what it asks."""
        url = urlsplit(browser.get(BEGIN, query)["Location"])
        return url._replace(query=urlencode(query_of(url.geturl()) | (changes or {}))).geturl()

    def assert_enters(self, browser: Client, back: str, page: str = "/admin/") -> None:
        """Fail unless the answer of the pool leads to ``page``, in a new session."""
        before = browser.cookies.get(SESSION)
        self.assertRedirects(browser.get(back), page, fetch_redirect_response=False)
        self.assertNotEqual(browser.cookies[SESSION].value, before and before.value)

    def assert_refused(self, browser: Client, back: str, reason: str) -> None:
        """Fail unless the answer of the pool begins no session; only the log has the reason, and no secret."""
        before = browser.cookies.get(SESSION)
        with self.assertLogs("ctj_api.desk", "WARNING") as logs:
            page = browser.get(back)
        self.assertContains(page, "You are not signed in", status_code=403)
        self.assertEqual(browser.cookies.get(SESSION), before)
        [line] = logs.output
        self.assertIn(reason, line)
        for secret in filter(None, map(query_of(back).get, ("code", "state"))):
            self.assertNotIn(secret, f"{line} {page.content!r}")


def query_of(url: str) -> dict[str, str]:
    """Return the parameters of an address."""
    return dict(parse_qsl(urlsplit(url).query))


class PoolTests(SignInTestCase):
    """What holds with each of the servers; here oidc-provider-mock, which takes any verifier."""

    run_pool: ClassVar[Callable[[], AbstractContextManager[Pool]]] = mock_pool
    attacks: ClassVar = {"nonce": "the token was made for another sign-in"}
    pool: ClassVar[Pool]

    @classmethod
    def setUpClass(cls) -> None:
        """Run the server."""
        cls.pool = cls.enterClassContext(cls.run_pool())
        cls.enterClassContext(cls.pool.settings())
        super().setUpClass()

    def test_pm_user_lands_on_their_listings(self) -> None:
        """Whoever was signed in before, in this browser, is not any more."""
        make_pm_user(email=PM)
        self.client.force_login(make_regular_user())
        self.assert_enters(self.client, self.pool.sign_in(self.begin(self.client), PM))
        self.assertRedirects(self.client.get("/admin/"), LISTINGS)

    def test_volunteer_gets_no_session(self) -> None:
        """The account is made all the same."""
        self.assert_refused(self.client, self.pool.sign_in(self.begin(self.client), VOLUNTEER), "no work in the admin")
        self.assertTrue(UserProfile.objects.filter(email=VOLUNTEER).exists())

    def test_attacker_with_what_belongs_to_another_sign_in_is_refused(self) -> None:
        """Whether nonce, verifier or state is another one, or the answer comes a second time or to another browser."""
        make_pm_user(email=PM)
        for name, reason in self.attacks.items():
            with self.subTest(name):
                self.assert_refused(
                    self.client, self.pool.sign_in(self.begin(self.client, {name: "x" * 43}), PM), reason
                )
        back = self.pool.sign_in(self.begin(self.client), PM)
        pending = "this browser has no such sign-in pending"
        self.assert_refused(Client(), back, pending)
        self.assert_refused(self.client, back.replace("state=", "state=x"), pending)
        self.assert_enters(self.client, back)
        self.assert_refused(self.client, back, "this sign-in has been answered already")


class NodePoolTests(PoolTests):
    """oidc-provider."""

    run_pool = node_pool
    attacks: ClassVar = {**PoolTests.attacks, "code_challenge": "the token endpoint fails: ValueError status 400"}


class LocalPoolTests(PoolTests):
    """cognito-local, which gives no nonce back."""

    run_pool = local_pool
    attacks: ClassVar = {"code_challenge": "the token endpoint fails: ValueError status 400"}

    def test_pm_user_without_a_nonce_is_refused_in_production(self) -> None:
        """Only tests can take a token without one."""
        make_pm_user(email=PM)
        with self.settings(COGNITO_NONCE_REQUIRED=True):
            self.assert_refused(self.client, self.pool.sign_in(self.begin(self.client), PM), "another sign-in")


class SignInTests(SignInTestCase):
    """What becomes of the tokens that a token endpoint gives, or doesn't."""

    def setUp(self) -> None:
        """Run a server of keys, another one in the place of the pool, and make a project manager whom it knows."""
        keys, self.server = self.enterContext(key_server()), self.enterContext(key_server())
        self.domain = f"http://127.0.0.1:{self.server.server_port}"
        names = ("COGNITO_DOMAIN", "COGNITO_ADMIN_CLIENT_ID", "COGNITO_ADMIN_CLIENT_SECRET")
        self.enterContext(cognito(keys, **dict(zip(names, (self.domain, CLIENT, SECRET), strict=True))))
        self.pm = make_pm_user(email=PM, cognito_pool=POOL, cognito_sub="pm")

    def answer(self, browser: Client, claims: dict[str, Any] | None = None, /, **query: str) -> str:
        """Begin a sign-in, and return the address that the pool sends the browser back to."""
        return self.answer_to(query_of(self.begin(browser, **query)), claims)

    def answer_to(self, begun: dict[str, str], claims: dict[str, Any] | None = None) -> str:
        """Have the pool ready with a token, and return the address that it sends the browser back to."""
        told = {"sub": "pm", "aud": CLIENT, "nonce": begun["nonce"], "auth_time": int(time.time()), **(claims or {})}
        self.server.id_token = id_token(**told)
        return f"{CALLBACK}?{urlencode({'code': 'the-code', 'state': begun['state']})}"

    def test_attacker_with_another_token_is_refused(self) -> None:
        """One for another client, without the nonce, of another kind, too old, or of who may have no account."""
        refused = "authentication_failed"
        for claims, reason in (
            ({"aud": OTHER_CLIENT}, refused),
            ({"aud": [CLIENT, OTHER_CLIENT]}, refused),
            ({"token_use": "access"}, refused),
            ({"exp": int(time.time()) - 60}, refused),
            ({"nonce": None}, "another sign-in"),
            ({"nonce": "x"}, "another sign-in"),
            ({"sub": "other", "email": "eve@example.org", "email_verified": False}, "user other"),
            ({"sub": "other", "email": PM}, "user other"),
        ):
            with self.subTest(claims=claims):
                self.assert_refused(self.client, self.answer(self.client, claims), reason)

    @patch.object(cognito_sign_in, "ANSWER_SECONDS", 0.5)
    def test_pm_user_is_refused_while_the_pool_fails(self) -> None:
        """It hangs, fails, talks HTML or nothing, dribbles, leads elsewhere, or is away; the same page each time."""
        for mood, reason in {
            "hang": "TimeoutError",
            "drip": "TimeoutError",
            "reset": "ReadError",
            "error": "status 500",
            "redirect": "status 302",
            "html": "JSONDecodeError",
            "empty": "authentication_failed",
            "huge": "too long",
        }.items():
            with self.subTest(mood):
                self.server.mood = mood
                self.assert_refused(self.client, self.answer(self.client), reason)
        with self.settings(COGNITO_DOMAIN="http://127.0.0.1:9"):
            self.assert_refused(self.client, self.answer(self.client), "ConnectError")
        with patch.object(cognito_sign_in._waiting, "acquire", return_value=False):
            self.assert_refused(self.client, self.answer(self.client), "too many sign-ins wait")

    def test_volunteer_who_gives_up_gets_the_page(self) -> None:
        """Whether they say no, nothing comes back, or it comes too late; what a stranger writes isn't logged."""
        back = self.answer(self.client).replace("code=the-code", "error=access_denied")
        self.assert_refused(self.client, back, "the pool says access_denied")
        for end in ("", "&error=Line%0Abreak"):
            state = query_of(self.answer(self.client))["state"]
            self.assert_refused(self.client, f"{CALLBACK}?state={state}{end}", "the pool says nothing of use")
        self.assert_refused(self.client, CALLBACK, "no such sign-in")
        with patch.object(cognito_sign_in, "PENDING_SECONDS", 0):
            self.assert_refused(self.client, self.answer(self.client), "no such sign-in")

    @override_settings(LOGIN_ADDRESS_RATE=Rate(2, 900))
    def test_attacker_asks_the_pool_only_so_often(self) -> None:
        """The limit is that of sign-ins from an address."""
        for status in (403, 403, 429):
            self.assertEqual(self.client.get(CALLBACK).status_code, status)

    def test_pm_user_lands_where_they_wanted(self) -> None:
        """In each of several tabs; not on another site, nor at an address that is too long for a cookie."""
        wanted = "/admin/ctj_api/skill/?q=caf%C3%A9"
        tabs = [(query_of(self.begin(self.client, next=page)), page) for page in (wanted, "/admin/password_change/")]
        for begun, page in reversed(tabs):
            self.assert_enters(self.client, self.answer_to(begun), page)
        for page in ("https://evil.example/", "//evil.example", f"/admin/?{'x' * 3_000}"):
            self.assert_enters(self.client, self.answer(self.client, next=page))

    def test_pm_user_has_a_session_of_eight_hours(self) -> None:
        """However it is used, and although ten others last longer."""
        for _ in range(MAX_SESSIONS):
            Client().force_login(self.pm)
        self.assert_enters(self.client, self.answer(self.client))
        ends_at = self.client.session.get_expiry_date()
        self.assertAlmostEqual((ends_at - timezone.now()).total_seconds(), 8 * 3600, delta=60)
        with patch(
            "django.contrib.sessions.backends.base.timezone.now", return_value=timezone.now() + timedelta(hours=1)
        ):
            self.client.session.save()
        self.assertEqual(Session.objects.get(pk=self.client.session.session_key).expire_date, ends_at)
        self.assertEqual(self.pm.sessions.count(), MAX_SESSIONS)

    def test_administrator_signs_in_again_before_giving_rights(self) -> None:
        """In another tab, while the form that was sent stays usable; neither a password nor an old sign-in will do."""
        admin = make_admin_user(cognito_pool=POOL, cognito_sub="admin")
        browser = Client(enforce_csrf_checks=True)
        chosen = {"action": "end_project_manager", "_selected_action": str(self.pm.pk)}
        old = {"sub": "admin", "auth_time": int(time.time()) - 16 * 60}
        self.assert_enters(browser, self.answer(browser, old))
        token = browser.get(ACCOUNTS).context["csrf_token"]
        page = browser.post(ACCOUNTS, {**chosen, "password": PASSWORD, "csrfmiddlewaretoken": token})
        self.assertContains(page, f'<a href="{BEGIN}?again=1" target="_blank">Sign in again</a>', html=True)
        carried = {**dict(page.context["fields"]), "csrfmiddlewaretoken": page.context["csrf_token"]}
        for claims, is_manager in ((old, True), ({"sub": "admin"}, False)):
            begun = query_of(self.begin(browser, again="1"))
            self.assertEqual(begun["prompt"], "login")
            self.assert_enters(browser, self.answer_to(begun, claims))
            self.assertEqual(browser.post(ACCOUNTS, carried).status_code, 200 if is_manager else 302)
            self.assertEqual(UserProfile.objects.filter(pk=self.pm.pk, is_project_manager=True).exists(), is_manager)
        self.assertEqual(admin.sessions.count(), 1)

    def test_everyone_is_offered_what_is_configured(self) -> None:
        """The pool's sign-in, a password for administrators, and with local accounts nothing new."""
        button, password = f'href="{BEGIN}?next=%2Fadmin%2F"', "Administrators: with a password"
        for changes, shown in (
            ({}, (button, password)),
            ({"COGNITO_DOMAIN": ""}, (password,)),
            ({"IDENTITY_PROVIDER": "local"}, ("Forgot your password?",)),
        ):
            with self.subTest(changes), self.settings(**changes):
                page = self.client.get(LOGIN).content.decode()
                self.assertEqual(
                    [text for text in (button, password, "Forgot your password?") if text in page], [*shown]
                )
                for path in (BEGIN, CALLBACK):
                    self.assertEqual(self.client.get(path).status_code == 404, button not in shown)

    def test_administrator_comes_by_password_and_pm_user_does_not(self) -> None:
        """Who has come by the pool signs out there as well."""
        admin = make_admin_user(cognito_pool=POOL, cognito_sub="admin")
        for user, is_let_in in ((self.pm, False), (admin, True)):
            self.client.post(LOGIN, {"username": user.email, "password": PASSWORD})
            self.assertEqual(SESSION in self.client.cookies, is_let_in)
        self.assertNotIn("Refresh", self.client.post(reverse("admin:logout")))
        self.client.post(LOGIN, {"username": admin.email, "password": PASSWORD})
        self.assert_enters(self.client, self.answer(self.client, {"sub": "admin"}))
        self.assertNotIn("Refresh", self.client.get(reverse("admin:logout")))
        page = self.client.post(reverse("admin:logout"))
        self.assertRegex(page["Refresh"], rf"^0; url={self.domain}/logout\?client_id={CLIENT}&logout_uri=.*login%2F$")
        self.assertEqual(self.client.get("/admin/").status_code, 302)
