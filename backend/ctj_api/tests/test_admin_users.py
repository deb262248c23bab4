"""Who gets in to the admin, and how administrators give and take rights."""

from typing import Any

from django.test import TestCase
from django.urls import reverse

from ctj_api.models import Skill, SkillMatrix, UserProfile

from .common import (
    PASSWORD,
    WEEK,
    make_admin_user,
    make_opportunity,
    make_pm_user,
    make_project,
    make_regular_user,
    make_skill,
)

LOGIN = reverse("admin:login")
INDEX = reverse("admin:index")
LIST = reverse("admin:ctj_api_userprofile_changelist")
DESK = reverse("admin:ctj_api_opportunity_changelist", query={"posted_by": "me"})
RIGHTS = ("is_active", "is_project_manager", "is_superuser")


class SignInTests(TestCase):
    """The door."""

    def sign_in(self, user: UserProfile, password: str = PASSWORD) -> Any:
        """Return the page that follows the form."""
        return self.client.post(
            f"{LOGIN}?next={INDEX}", {"username": user.email.upper(), "password": password}, follow=True
        )

    def test_pm_lands_on_own_listings(self) -> None:
        """With nothing but the flag of a project manager."""
        pm = make_pm_user()
        own = make_opportunity(created_by=pm, status="draft")
        make_opportunity(created_by=make_pm_user())
        page = self.sign_in(pm)
        self.assertRedirects(page, DESK)
        self.assertEqual(list(page.context["cl"].result_list), [own])
        self.assertContains(page, "Your opportunities")

    def test_admin_user_lands_on_the_overview(self) -> None:
        """Also one who is a project manager besides."""
        page = self.sign_in(make_admin_user(is_project_manager=True))
        self.assertContains(page, "Administration")
        self.assertContains(page, LIST)

    def test_others_stay_outside(self) -> None:
        """Volunteers, inactive project managers and wrong passwords get the same words."""
        cases = [
            (make_regular_user(), PASSWORD),
            (make_regular_user(is_staff=True), PASSWORD),
            (make_pm_user(is_active=False), PASSWORD),
            (make_admin_user(is_active=False), PASSWORD),
            (make_pm_user(), "wrong"),
        ]
        for user, password in cases:
            with self.subTest(user=user):
                page = self.sign_in(user, password)
                self.assertContains(page, "This is not the e-mail address and password of a project manager")
                self.assertNotIn("_auth_user_id", self.client.session)

    def test_pm_without_the_flag_is_outside_at_once(self) -> None:
        """A session doesn't outlive the right."""
        pm = make_pm_user()
        self.sign_in(pm)
        UserProfile.objects.filter(pk=pm.pk).update(is_project_manager=False)
        self.assertRedirects(self.client.get(DESK), f"{LOGIN}?next=/admin/ctj_api/opportunity/%3Fposted_by%3Dme")

    def test_pm_reads_reference_data_in_words(self) -> None:
        """A project's meetings by day and time."""
        self.client.force_login(make_pm_user())
        slots = [{"day": "mon", "start": "18:00", "end": "20:00", "name": "Team <meeting>"}]
        project = make_project(meeting_times={"timezone": "America/Los_Angeles", "slots": slots})
        page = self.client.get(reverse("admin:ctj_api_project_change", args=[project.pk]))
        self.assertContains(page, "<li>Monday 18:00 to 20:00 Team &lt;meeting&gt;</li>", html=True)
        self.assertContains(page, "America/Los_Angeles")


class RightsTests(TestCase):
    """What administrators do with accounts."""

    def setUp(self) -> None:
        """Sign an administrator in."""
        self.administrator = make_admin_user(email="admin@example.org")
        self.client.force_login(self.administrator)

    def save(self, user: UserProfile, *rights: str, rated: tuple[tuple[Skill, int], ...] = (), **fields: str) -> Any:
        """Return the answer to a user's form, after its redirect."""
        url = reverse("admin:ctj_api_userprofile_change", args=[user.pk])
        shown = self.client.get(url).context["adminform"].form["shown_levels"].initial
        form = {
            **dict.fromkeys(rights, "on"),
            "skill_levels_name": [skill.name for skill, _ in rated],
            "skill_levels_level": [level for _, level in rated],
            "shown_levels": shown,
            **fields,
        }
        response = self.client.post(url, form, follow=True)
        user.refresh_from_db()
        return response

    def act(self, action: str, *users: UserProfile) -> Any:
        """Return the list after an action."""
        selected = [str(user.pk) for user in users]
        return self.client.post(LIST, {"action": action, "_selected_action": selected}, follow=True)

    def test_admin_user_makes_pms_by_one_action(self) -> None:
        """And takes the right away again; who has it already is left alone."""
        ana, bo = make_regular_user(email="ana@example.org"), make_regular_user(email="bo@example.org")
        self.assertContains(self.act("make_project_manager", ana), "Now project managers: ana@example.org.")
        self.assertContains(self.act("make_project_manager", ana), "Nobody was changed.")
        self.act("make_project_manager", ana, bo)
        self.assertEqual(UserProfile.objects.filter(is_project_manager=True).count(), 2)
        page = self.act("end_project_manager", ana, bo)
        self.assertContains(page, "No project managers any more: ana@example.org, bo@example.org.")
        self.assertFalse(UserProfile.objects.filter(is_project_manager=True).exists())

    def test_admin_user_reads_in_the_history_who_gave_rights(self) -> None:
        """From the list as from the form."""
        user = make_regular_user()
        self.act("make_project_manager", user)
        self.save(user, "is_active")
        page = self.client.get(reverse("admin:ctj_api_userprofile_history", args=[user.pk]))
        for text in ("Changed project manager from no to yes.", "Changed project manager from yes to no."):
            self.assertContains(page, text)

    def test_admin_user_gives_rights_but_no_identity(self) -> None:
        """What a forged form says of name and address is left out."""
        user = make_regular_user(email="ana@example.org", first_name="Ana")
        self.save(user, "is_active", "is_project_manager", email="other@example.org", first_name="X", password="x")
        self.assertEqual(
            (user.is_project_manager, user.is_staff, user.email, user.first_name, user.check_password(PASSWORD)),
            (True, False, "ana@example.org", "Ana", True),
        )

    def test_admin_user_makes_administrators(self) -> None:
        """One box is enough to let them in, and to shut them out."""
        user = make_regular_user()
        for rights in (("is_active", "is_superuser"), ("is_active",)):
            self.save(user, *rights)
            self.assertEqual((user.is_superuser, user.is_staff), ("is_superuser" in rights, "is_superuser" in rights))

    def test_last_admin_user_stays_one(self) -> None:
        """Neither demoted nor made inactive, while an inactive administrator doesn't count."""
        make_admin_user(is_active=False)
        for rights in (("is_active",), ("is_superuser",), ()):
            with self.subTest(rights=rights):
                page = self.save(self.administrator, *rights)
                self.assertContains(page, "This is the last administrator: make somebody else one first.")
                self.assertTrue(self.administrator.is_active and self.administrator.is_superuser)
        self.save(self.administrator, "is_active", "is_superuser", "is_project_manager")
        self.assertTrue(self.administrator.is_project_manager)

    def test_admin_user_who_is_not_the_last_may_go(self) -> None:
        """Whoever of them it is."""
        other = make_admin_user()
        self.save(other, "is_active")
        self.assertFalse(other.is_superuser)
        make_admin_user()
        self.save(self.administrator, "is_active")
        self.assertFalse(self.administrator.is_superuser)

    def test_admin_user_corrects_skills_by_the_same_picker(self) -> None:
        """The row of the matrix is kept; without a change none is made."""
        react, sql = make_skill(name="React"), make_skill(name="SQL")
        user = make_regular_user({react: 4})
        page = self.client.get(reverse("admin:ctj_api_userprofile_change", args=[user.pk]))
        self.assertContains(page, 'value="React" list="id_skill_levels_names"')
        matrix = user.skills_learned_matrix
        self.save(user, "is_active", rated=((sql, 2),))
        assert matrix is not None
        matrix.refresh_from_db()
        self.assertEqual((user.skills_learned_matrix, matrix.levels), (matrix, {str(sql.pk): 2}))
        newcomer = make_regular_user()
        self.save(newcomer, "is_active", "is_project_manager")
        self.assertIsNone(newcomer.skills_learned_matrix)
        self.save(newcomer, "is_active", rated=((react, 1),))
        assert newcomer.skills_learned_matrix is not None
        self.assertEqual(newcomer.skills_learned_matrix.levels, {str(react.pk): 1})

    def test_admin_user_does_not_undo_what_the_owner_rates_meanwhile(self) -> None:
        """Rights are saved; new skills are refused, and those of the owner stay."""
        react = make_skill(name="React")
        user = make_regular_user({react: 3})
        shown = f'{{"{react.pk}": 3}}'
        SkillMatrix.objects.update(levels={str(react.pk): 5})
        page = self.save(user, "is_active", "is_project_manager", rated=((react, 3),), shown_levels=shown)
        self.assertContains(page, "was changed successfully")
        self.assertEqual((user.is_project_manager, SkillMatrix.objects.get().levels), (True, {str(react.pk): 5}))
        for outdated in (shown, "", "[" * 10_000):
            with self.subTest(outdated[:10]):
                page = self.save(user, "is_active", rated=((react, 1),), shown_levels=outdated)
                self.assertContains(page, "The volunteer has changed their skills since this page was opened.")
                self.assertEqual(SkillMatrix.objects.get().levels, {str(react.pk): 5})

    def test_admin_user_reads_availability_in_words(self) -> None:
        """By day and time, or that there is none."""
        weeks: list[tuple[Any, str]] = [
            (WEEK, "<li>Monday 18:00 to 20:00</li>"),
            ({"timezone": "UTC", "slots": []}, "no time at all (UTC)"),
            (None, "not given"),
        ]
        for week, text in weeks:
            with self.subTest(text):
                user = make_regular_user(meeting_availability=week)
                page = self.client.get(reverse("admin:ctj_api_userprofile_change", args=[user.pk]))
                self.assertContains(page, text, html=text.startswith("<"))

    def test_admin_user_changes_rights_of_many_at_once(self) -> None:
        """The list of rights is that of the form."""
        users = [make_regular_user() for _ in range(3)]
        self.act("make_project_manager", *users)
        self.assertEqual(
            UserProfile.objects.filter(pk__in=[user.pk for user in users], is_project_manager=True).count(), 3
        )
        page = self.client.get(reverse("admin:ctj_api_userprofile_change", args=[users[0].pk]))
        for right in RIGHTS:
            self.assertContains(page, f'name="{right}"')
