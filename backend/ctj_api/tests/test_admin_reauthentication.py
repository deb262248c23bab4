"""What gives rights or changes much asks for the password again, if it was last entered more than 15 minutes ago."""

from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase, override_settings
from django.urls import reverse

from backend.environment import Rate
from ctj_api.desk.reauthentication import ENTERED_AT, MAX_AGE_SECONDS, PASSWORD_FIELD
from ctj_api.desk.skill_csv import sign
from ctj_api.models import Skill, UserProfile

from .common import PASSWORD, make_admin_user, make_pm_user, make_regular_user, make_skill, make_staff_user

ACCOUNTS = reverse("admin:ctj_api_userprofile_changelist")
SKILLS = reverse("admin:ctj_api_skill_changelist")
IMPORT = reverse("admin:ctj_api_skill_import")
QUESTION = "Your password again"
PROMISE = "What you have just sent isn't done yet"


class ReauthenticationTests(TestCase):
    """An administrator who has been away from the screen for a while."""

    def setUp(self) -> None:
        """Sign an administrator in, and make what they change."""
        self.administrator = make_admin_user()
        self.client.force_login(self.administrator)
        self.user = make_regular_user()
        self.account = reverse("admin:ctj_api_userprofile_change", args=[self.user.pk])
        self.skills = [str(make_skill(name=name).pk) for name in ("React", "ReactJS")]

    def wait(self, seconds: int = MAX_AGE_SECONDS) -> None:
        """Let so much time go by."""
        session = self.client.session
        session[ENTERED_AT] -= seconds
        session.save()

    def answer(self, page: Any, password: str = PASSWORD) -> Any:
        """Return what follows the page that asks for the password, with all that it carries."""
        carried: dict[str, list[str]] = {}
        for name, value in page.context["posted"]:
            self.assertContains(page, f'<input type="hidden" name="{name}" value="{value}">', html=True)
            carried.setdefault(name, []).append(value)
        return self.client.post(page.wsgi_request.get_full_path(), {**carried, PASSWORD_FIELD: password}, follow=True)

    def state(self) -> Any:
        """Return what the forms of these tests change."""
        return set(UserProfile.objects.filter(is_project_manager=True)), set(Skill.objects.values_list("name"))

    def test_administrator_confirming_gets_done_what_was_sent(self) -> None:
        """Nothing is done before, nor for a wrong password; afterwards no page asks for another 15 minutes."""
        merge = {"action": "merge_selected", "_selected_action": self.skills}
        forms: list[tuple[str, dict[str, Any]]] = [
            (self.account, {"is_active": "on", "is_project_manager": "on", "shown_levels": "{}"}),
            (f"{ACCOUNTS}?q=user", {"action": "end_project_manager", "_selected_action": [str(self.user.pk)]}),
            (ACCOUNTS, {"action": ["make_project_manager", "x"], "_selected_action": [str(self.user.pk)]}),
            (IMPORT, {"previewed": sign([{"name": "Django"}])}),
            (SKILLS, {**merge, "action": ["merge_selected", ""], "post": "yes", "kept": self.skills[0]}),
        ]
        for path, form in forms:
            with self.subTest(path, form=form):
                before = self.state()
                self.wait()
                page = self.client.post(path, form)
                self.assertContains(page, PROMISE)
                self.assertContains(self.answer(page, "wrong"), "This is not your password.")
                self.assertEqual(self.state(), before)
                self.assertNotContains(self.answer(page), QUESTION)
                self.assertNotEqual(self.state(), before)
                self.assertNotContains(self.client.get(self.account), QUESTION)

    def test_administrator_opening_a_page_is_led_back_to_it(self) -> None:
        """With its query; what isn't dangerous is never asked for, nor is what a session before this release did."""
        for path in (f"{self.account}?_changelist_filters=q%3Duser", IMPORT):
            for away in (self.wait, self.forget):
                with self.subTest(path, away=away):
                    away()
                    self.assertNotContains(self.client.get(ACCOUNTS), QUESTION)
                    page = self.client.get(path)
                    self.assertContains(page, QUESTION)
                    self.assertNotContains(page, PROMISE)
                    self.assertRedirects(self.answer(page), path)

    def forget(self) -> None:
        """Make the session one that began before passwords were asked for again."""
        session = self.client.session
        del session[ENTERED_AT]
        session.save()

    def test_administrator_previewing_a_file_is_not_asked(self) -> None:
        """A preview writes nothing, and a file could not be carried; what is confirmed beside it is asked for."""
        self.wait()
        for confirmed, text in ({}, "Preview"), ({"previewed": sign([{"name": "Django"}])}, QUESTION):
            file = SimpleUploadedFile("skills.csv", b"name\nDjango\n")
            self.assertContains(self.client.post(IMPORT, {"import_file": file, **confirmed}), text)
        self.assertFalse(Skill.objects.filter(name="Django").exists())

    @override_settings(LOGIN_RATE=Rate(3, 900))
    def test_attacker_at_a_screen_left_open_does_not_guess_the_password(self) -> None:
        """After a few guesses not even the right one counts, here or at the sign-in."""
        self.wait()
        page = self.client.post(ACCOUNTS, {"action": "make_project_manager", "_selected_action": [str(self.user.pk)]})
        for _ in range(3):
            self.assertContains(self.answer(page, "wrong"), QUESTION)
        self.assertContains(self.answer(page), "Please try again in 15 minutes.", status_code=429)
        self.assertContains(self.client.get(self.account), QUESTION)
        self.assertFalse(UserProfile.objects.filter(is_project_manager=True).exists())

    def test_others_who_may_not_are_refused_without_a_question(self) -> None:
        """The password gives no right."""
        for user in (make_pm_user(), make_staff_user("view_skill"), make_regular_user()):
            self.client.force_login(user)
            self.wait()
            for path in (self.account, IMPORT):
                status = 403 if user.is_staff or user.is_project_manager else 302
                for method in (self.client.get, self.client.post):
                    self.assertEqual(method(path, {PASSWORD_FIELD: PASSWORD}).status_code, status)
            action = {"action": "make_project_manager", "_selected_action": [str(user.pk)], PASSWORD_FIELD: PASSWORD}
            self.assertIn(self.client.post(ACCOUNTS, action).status_code, (302, 403))
        self.assertEqual(UserProfile.objects.filter(is_project_manager=True).count(), 1)
