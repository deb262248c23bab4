"""Giving rights, merging and importing ask for the password again, 15 minutes after it was last entered."""

from typing import Any

from django.test import TestCase, override_settings
from django.urls import reverse

from ctj_api.accounts.sessions import ENTERED_AT
from ctj_api.desk.reauthentication import MAX_AGE_SECONDS
from ctj_api.desk.skill_csv import sign
from ctj_api.models import Skill, UserProfile

from .common import PASSWORD, make_admin_user, make_pm_user, make_regular_user, make_skill, make_staff_user

ACCOUNTS = reverse("admin:ctj_api_userprofile_changelist")
QUESTION = "Your password again"


class ReauthenticationTests(TestCase):
    """An administrator who has been away from the screen for a while."""

    def setUp(self) -> None:
        """Sign an administrator in, and make the forms that ask."""
        self.client.force_login(make_admin_user())
        self.user, pm = make_regular_user(), make_pm_user()
        react, other = (str(make_skill(name=name).pk) for name in ("React", "ReactJS"))
        account = reverse("admin:ctj_api_userprofile_change", args=[self.user.pk])
        merge = {"action": ["merge_selected", ""], "_selected_action": [react, other], "post": "yes", "kept": react}
        rights = {"email": self.user.email, "is_active": "on", "is_project_manager": "on"}
        self.forms: list[tuple[str, dict[str, Any]]] = [
            (account, {**rights, "next": "<'\n\">"}),
            (reverse("admin:ctj_api_skill_import"), {"previewed": sign([(2, {"name": "Django"})])}),
            (reverse("admin:ctj_api_skill_changelist"), merge),
            (f"{ACCOUNTS}?q=user", {"action": "end_project_manager", "_selected_action": [str(pm.pk)]}),
            # The first action counts, as Django takes it.
            (ACCOUNTS, {"action": ["make_project_manager", "x"], "_selected_action": [str(pm.pk)]}),
        ]

    def wait(self) -> None:
        """Let more time go by than the password counts for."""
        session = self.client.session
        session[ENTERED_AT] -= MAX_AGE_SECONDS
        session.save()

    def answer(self, page: Any, password: str = PASSWORD) -> Any:
        """Return what follows the page that asks for the password, with all that it carries."""
        carried = dict(page.context["fields"])
        self.assertContains(page, 'type="hidden"', count=sum(map(len, carried.values())) + 1)
        return self.client.post(page.wsgi_request.get_full_path(), {**carried, "password": password}, follow=True)

    def state(self) -> Any:
        """Return what the forms change."""
        return set(UserProfile.objects.filter(is_project_manager=True)), set(Skill.objects.values_list("name"))

    def test_administrator_confirming_gets_done_what_was_sent(self) -> None:
        """Nothing is done before, nor for a wrong password; what follows within 15 minutes isn't asked about."""
        for path, form in self.forms:
            with self.subTest(path, form=form):
                before = self.state()
                self.wait()
                self.assertEqual(self.client.get(path).status_code, 200)
                page = self.client.post(path, form)
                self.assertContains(self.answer(page, "wrong"), "This is not your password.")
                self.assertEqual(self.state(), before)
                self.assertNotContains(self.answer(page), QUESTION)
                self.assertNotEqual(self.state(), before)
                self.assertNotContains(self.client.post(ACCOUNTS, {"action": ""}, follow=True), QUESTION)
        session = self.client.session
        del session[ENTERED_AT]  # as in one of a former release
        session.save()
        self.assertContains(self.client.post(*self.forms[0]), QUESTION)

    @override_settings(LOGIN_RATE=(3, 900))
    def test_attacker_at_a_screen_left_open_does_not_guess_the_password(self) -> None:
        """After a few guesses not even the right one counts, nor does that of another account."""
        before = self.state()
        attacker = make_admin_user(password="the-attackers-own-passphrase")
        self.wait()
        path, form = self.forms[0]
        page = self.client.post(path, form | {"username": attacker.email})
        for password in ("wrong", "the-attackers-own-passphrase", "wrong"):
            self.assertContains(self.answer(page, password), QUESTION)
        self.assertContains(self.answer(page), "Please try again in 15 minutes.", status_code=429)
        self.assertEqual(self.state(), before)

    def test_others_who_may_not_are_refused_without_a_question(self) -> None:
        """Their password gives no right."""
        others = (make_pm_user(), make_staff_user("view_skill"))
        before = self.state()
        for user in others:
            self.client.force_login(user)
            self.wait()
            for path, form in self.forms:
                for password in ({}, {"password": PASSWORD}):
                    with self.subTest(path, user=user, password=password):
                        self.assertEqual(self.client.post(path, form | password).status_code, 403)
        self.assertEqual(self.state(), before)
