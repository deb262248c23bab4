"""The admin's sign-in by the pool's own pages: three OpenID servers, and one of the tests' own that also fails."""

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx2
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.sessions.models import Session
from django.test import Client, TestCase, override_settings
from django.urls import reverse
from django.utils import timezone
from oidc_provider_mock import User, run_server_in_thread

from ctj_api.accounts.limits import TooManyAttempts
from ctj_api.accounts.sessions import MAX_SESSIONS
from ctj_api.desk import cognito_sign_in
from ctj_api.models import UserProfile

from .cognito import CLIENT, POOL, KeyServer, id_token, using_cognito
from .common import PASSWORD, make_admin_user, make_pm_user, make_regular_user
from .test_nextjs import install_packages

HERE = Path(__file__).parent / "oidc"
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
PM, VOLUNTEER = "ana@example.org", "ben@example.org"
ADMIN = "admin-client"
ADMIN_CLIENT = {"COGNITO_ADMIN_CLIENT_ID": ADMIN, "COGNITO_ADMIN_CLIENT_SECRET": "admin-secret"}
BEGIN, CALLBACK = reverse("admin:cognito"), reverse("admin:cognito_callback")
LOGIN, LOGOUT = reverse("admin:login"), reverse("admin:logout")
ACCOUNTS = reverse("admin:ctj_api_userprofile_changelist")
SESSION = settings.SESSION_COOKIE_NAME
OLD = int(time.time()) - 3600


@contextmanager
def mock_pool() -> Iterator[dict[str, Any]]:
    """Run oidc-provider-mock, which takes any verifier, and give what a deployment's settings say of it."""
    claims = {"token_use": "id", "email_verified": True}
    users = [User(sub=email, claims={"email": email, **claims}) for email in (PM, VOLUNTEER)]
    with run_server_in_thread(user_claims=users) as server:
        domain = f"http://localhost:{server.server_port}"
        yield {"COGNITO_DOMAIN": domain, "COGNITO_ISSUERS": [domain], "COGNITO_JWKS_URL": f"{domain}/jwks"}


@contextmanager
def node_pools(origin: str = "http://testserver") -> Iterator[list[dict[str, Any]]]:
    """Run oidc-provider and cognito-local, and give what a deployment's settings say of them; or skip the test."""
    install_packages(HERE)
    command = ["node", str(HERE / "pools.mjs"), origin, PASSWORD, PM, VOLUNTEER]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process,
    ):
        try:
            yield json.loads(process.stdout.readline() if process.stdout else "")
        finally:
            process.kill()


def sign_in_at_pool(url: str, email: str) -> str:
    """Fill in the page that ``url`` leads to, and return the address that the pool sends the browser back to."""
    with httpx2.Client() as browser:
        page = browser.get(url, follow_redirects=True)
        typed = dict.fromkeys(("sub", "login", "username"), email) | {"password": PASSWORD}
        answer = browser.post(page.url, data=dict(HIDDEN.findall(page.text)) | typed)
        while not (location := answer.headers["Location"]).startswith("http://testserver"):
            answer = browser.get(urljoin(url, location))
    return location


def query_of(url: str) -> dict[str, str]:
    """Return the parameters of an address."""
    return dict(parse_qsl(urlsplit(url).query))


class CognitoSignInTests(TestCase):
    """Sign-ins that begin here and are answered by a pool."""

    def setUp(self) -> None:
        """Run a server of keys, another one in the place of the pool, and make a manager and an administrator."""
        self.server = self.enterContext(KeyServer())
        self.enterContext(using_cognito(COGNITO_DOMAIN=self.server.url, **ADMIN_CLIENT))
        self.pm = make_pm_user(email="pm@example.org", cognito_pool=POOL, cognito_sub="pm")
        self.admin = make_admin_user(cognito_pool=POOL, cognito_sub="admin")

    def pools(self) -> Iterator[dict[str, Any]]:
        """Give what the settings say of each of three servers, which know a project manager."""
        make_pm_user(email=PM)
        with mock_pool() as pool:
            yield pool
        with node_pools() as pools:
            yield from pools

    def begin(self, query: str = "", **changes: str) -> str:
        """Return the address at the pool where a sign-in leads, with ``changes`` to what it asks."""
        url = urlsplit(self.client.get(f"{BEGIN}?{query}")["Location"])
        return url._replace(query=urlencode(query_of(url.geturl()) | changes)).geturl()

    def answer(self, begun: str, **claims: Any) -> str:
        """Have the pool ready with a token, and return the address that it sends the browser back to."""
        asked = query_of(begun)
        told = {"sub": "pm", "aud": ADMIN, "nonce": asked["nonce"], "auth_time": int(time.time()), **claims}
        self.server.id_token = id_token(**told)
        return f"{CALLBACK}?{urlencode({'code': 'the-code', 'state': asked['state']})}"

    def assert_enters(self, back: str, page: str = "/admin/") -> None:
        """Fail unless the answer of the pool leads to ``page``, in a new session."""
        before = self.client.cookies.get(SESSION)
        self.assertRedirects(self.client.get(back), page, fetch_redirect_response=False)
        self.assertNotEqual(self.client.cookies[SESSION].value, before and before.value)

    def assert_refused(self, back: str, reason: str, browser: Client | None = None) -> None:
        """Fail unless the answer of the pool begins no session; only the log has the reason, and no secret."""
        before = self.client.cookies.get(SESSION)
        with self.assertLogs("ctj_api.desk", "WARNING") as logs:
            page = (browser or self.client).get(back)
        self.assertContains(page, "You are not signed in", status_code=403)
        self.assertEqual(self.client.cookies.get(SESSION), before)
        [line], arguments = logs.output, logs.records[0].args
        self.assertEqual([type(each) for each in arguments or ()], [str])  # of exceptions the JSON tells the class only
        self.assertIn(reason, line)
        for secret in filter(None, map(query_of(back).get, ("code", "state"))):
            self.assertNotIn(secret, f"{line} {page.content!r}")

    def test_pm_user_is_let_in_by_three_pools_and_others_are_not(self) -> None:
        """Neither a volunteer nor who has a part of another sign-in: nonce, verifier, state, an answer, its cookie."""
        for pool in self.pools():
            with self.subTest(pool), self.settings(**pool):
                self.client.force_login(make_regular_user())
                with self.settings(COGNITO_NONCE_REQUIRED=True):  # cognito-local gives none
                    self.assert_refused(sign_in_at_pool(self.begin(nonce="x"), PM), "another sign-in")
                if "COGNITO_JWKS_URL" not in pool:
                    self.assert_refused(sign_in_at_pool(self.begin(code_challenge="x" * 43), PM), "status 400")
                back = sign_in_at_pool(self.begin(), PM)
                self.assert_refused(back, "no such sign-in pending", Client())
                self.assert_refused(back.replace("state=", "state=x"), "no such sign-in pending")
                self.assert_enters(back)
                self.assertContains(self.client.get("/admin/"), "Your desk")
                self.assert_refused(back, "answered already")
                self.assert_refused(sign_in_at_pool(self.begin(), VOLUNTEER), "no work in the admin")
                UserProfile.objects.exclude(cognito_sub="").update(cognito_pool="", cognito_sub="")

    def test_attacker_with_another_token_is_refused_and_everyone_while_the_pool_fails(self) -> None:
        """One for another client, of another kind or person, or too old; no answer, an error, and no token."""
        for mood, claims, reason in (
            ("", {"aud": CLIENT}, "authentication_failed"),
            ("", {"aud": [ADMIN, CLIENT]}, "authentication_failed"),
            ("", {"token_use": "access"}, "authentication_failed"),
            ("", {"exp": OLD}, "authentication_failed"),
            ("", {"nonce": None}, "another sign-in"),
            ("", {"sub": "eve", "email_verified": False}, "user eve is refused"),
            ("", {"sub": "eve", "email": "pm@example.org"}, "user eve is refused"),
            ("hang", {}, "TimeoutError"),
            ("error", {}, "status 500"),
            ("empty", {}, "authentication_failed"),
        ):
            seconds = 0.5 if mood == "hang" else 60
            with self.subTest(mood, claims=claims), patch.object(cognito_sign_in, "ANSWER_SECONDS", seconds):
                self.server.mood = mood
                self.assert_refused(self.answer(self.begin(), **claims), reason)
        with patch.object(cognito_sign_in._waiting, "acquire", return_value=False):
            self.assert_refused(self.answer(self.begin()), "too many sign-ins wait")

    def test_volunteer_who_gives_up_gets_the_page(self) -> None:
        """Whether they say no, nothing comes back, or too late; what a stranger writes isn't logged."""
        nothing = "says nothing of use"
        told = {"error=access_denied": "says access_denied", "error=Line%0Abreak": nothing, "": nothing}
        for answer, reason in told.items():
            self.assert_refused(self.answer(self.begin()).replace("code=the-code", answer), reason)
        self.assert_refused(CALLBACK, "no such sign-in")
        with patch.object(cognito_sign_in, "PENDING_SECONDS", 0):
            self.assert_refused(self.answer(self.begin()), "no such sign-in")

    @override_settings(LOGIN_ADDRESS_RATE=(2, 900))
    def test_attacker_asks_the_pool_only_so_often(self) -> None:
        """The limit is that of sign-ins from an address."""
        self.assertEqual([self.client.get(CALLBACK).status_code for _ in range(3)], [403, 403, 429])

    def test_pm_user_lands_where_they_wanted(self) -> None:
        """In each of several tabs, and not on another site."""
        wanted = "/admin/ctj_api/skill/?q=caf%C3%A9"
        tabs = [(self.begin(urlencode({"next": page})), page) for page in (wanted, "/admin/password_change/")]
        for begun, page in reversed(tabs):
            self.assert_enters(self.answer(begun), page)
        for page, lands in (("https://evil.example/", "/admin/"), ("//evil.example", "/admin/"), ("x", f"{CALLBACK}x")):
            self.assert_enters(self.answer(self.begin(f"next={page}")), lands)

    def test_pm_user_has_a_session_of_eight_hours(self) -> None:
        """However it is used, and although ten others last longer."""
        for _ in range(MAX_SESSIONS):
            Client().force_login(self.pm)
        self.assert_enters(self.answer(self.begin()))
        session, now = self.client.session, timezone.now()
        self.assertAlmostEqual((session.get_expiry_date() - now).total_seconds(), 8 * 3600, delta=60)
        with patch("django.contrib.sessions.backends.base.timezone.now", return_value=now + timedelta(hours=1)):
            session.save()
        self.assertEqual(Session.objects.get(pk=session.session_key).expire_date, session.get_expiry_date())
        self.assertEqual(self.pm.sessions.count(), MAX_SESSIONS)

    def test_administrator_signs_in_again_before_giving_rights(self) -> None:
        """In another tab, while the form that was sent stays usable; neither a password nor an old sign-in will do."""
        self.client = Client(enforce_csrf_checks=True)
        self.assert_enters(self.answer(self.begin(), sub="admin", auth_time=OLD))
        token = self.client.get(ACCOUNTS).context["csrf_token"]
        form = {"action": "end_project_manager", "_selected_action": str(self.pm.pk), "csrfmiddlewaretoken": token}
        page = self.client.post(ACCOUNTS, {**form, "password": PASSWORD})
        self.assertContains(page, f'<a href="{BEGIN}?again=1" target="_blank">Sign in again</a>', html=True)
        carried = {**dict(page.context["fields"]), "csrfmiddlewaretoken": page.context["csrf_token"]}
        for auth_time, is_manager in ((OLD, True), (int(time.time()), False)):
            begun = self.begin("again=1")
            self.assertEqual(query_of(begun)["prompt"], "login")
            self.assert_enters(self.answer(begun, sub="admin", auth_time=auth_time))
            self.client.post(ACCOUNTS, carried)
            self.assertEqual(UserProfile.objects.get(pk=self.pm.pk).is_project_manager, is_manager)
        self.assertEqual(self.admin.sessions.count(), 1)

    def test_everyone_is_offered_what_is_configured(self) -> None:
        """The pool's sign-in, a password for administrators, and with local accounts nothing new."""
        button, password, link = f'href="{BEGIN}?next=%2Fadmin%2F"', "Administrators: with a password", "Forgot your"
        no_domain, local = {"COGNITO_DOMAIN": ""}, {"IDENTITY_PROVIDER": "local"}
        for changes, shown in (({}, [button, password]), (no_domain, [password]), (local, [link])):
            with self.subTest(changes), self.settings(**changes):
                page = self.client.get(LOGIN).content.decode()
                self.assertEqual([text for text in (button, password, link) if text in page], shown)
                for path in (BEGIN, CALLBACK):
                    self.assertEqual(self.client.get(path).status_code == 404, button not in shown)

    def test_administrator_comes_by_password_and_pm_user_does_not(self) -> None:
        """Guesses are limited as before; who has come by the pool signs out there as well."""
        for email, is_let_in in ((self.pm.email, False), ("nobody@example.org", False), (self.admin.email, True)):
            self.client.post(LOGIN, {"username": email, "password": PASSWORD})
            self.assertEqual(SESSION in self.client.cookies, is_let_in)
        self.assert_enters(self.answer(self.begin(), sub="admin"))
        self.assertNotIn("Refresh", self.client.get(LOGOUT))
        led_to = rf"^0; url={self.server.url}/logout\?client_id={ADMIN}&logout_uri=.*login%2F$"
        self.assertRegex(self.client.post(LOGOUT)["Refresh"], led_to)
        self.client.post(LOGIN, {"username": self.admin.email, "password": PASSWORD})
        self.assertNotIn("Refresh", self.client.post(LOGOUT))
        with self.settings(LOGIN_RATE=(3, 900)):
            for _ in range(3):
                authenticate(username=self.admin.email, password="wrong")
            self.assertRaises(TooManyAttempts, authenticate, username=self.admin.email, password=PASSWORD)
