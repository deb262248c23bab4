"""Who gets in to the admin, and how administrators give and take rights."""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core import mail
from django.test import Client, TestCase, override_settings
from django.urls import reverse

from ctj_api.accounts.password_reset import link_tokens
from ctj_api.models import Opportunity, SkillMatrix, UserProfile

from . import common as make
from .test_history import messages

ME = "/api/users/me/"
LOGIN = reverse("admin:login")
INDEX = reverse("admin:index")
PASSWORD_CHANGE = reverse("admin:password_change")
NEW_PASSWORD = "Xy9-" * 32
LIST = reverse("admin:ctj_api_userprofile_changelist")
DESK = reverse("admin:ctj_api_opportunity_changelist", query={"posted_by": "me"})
SKILLS = reverse("admin:ctj_api_skill_changelist")
COUNT = reverse("admin:ctj_api_opportunity_volunteer_count")
RESET_LINK = '<a href="https://jobs.example.org/reset-password">Forgot your password?</a>'


@override_settings(PASSWORD_RESET_URL="https://jobs.example.org/reset-password")
class AdminSignInTests(TestCase):
    """Who gets in to the admin, and for how long."""

    def sign_in(self, user: UserProfile, password: str = make.PASSWORD) -> Any:
        """Return the page that follows the form."""
        form = {"username": user.email.upper(), "password": password}
        return self.client.post(f"{LOGIN}?next={INDEX}", form, follow=True)

    def test_pm_user_lands_on_own_listings(self) -> None:
        """With nothing but the flag of a project manager, which a session doesn't outlive."""
        pm = make.make_pm_user()
        own = make.make_opportunity(created_by=pm, status="draft")
        make.make_opportunity(created_by=make.make_pm_user())
        self.assertRedirects(self.sign_in(pm), INDEX)
        page = self.client.get(DESK)
        self.assertEqual(list(page.context["cl"].result_list), [own])
        self.assertContains(page, "Your opportunities")
        UserProfile.objects.filter(pk=pm.pk).update(is_project_manager=False)
        self.assertRedirects(self.client.get(DESK), f"{LOGIN}?next=/admin/ctj_api/opportunity/%3Fposted_by%3Dme")

    def test_administrator_lands_on_the_overview(self) -> None:
        """Also one who is a project manager besides, and one whom a link would lead elsewhere, or nowhere."""
        administrator = make.make_admin_user(is_project_manager=True)
        page = self.sign_in(administrator)
        self.assertContains(page, "Your desk")
        self.assertContains(page, LIST)
        for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""):
            with self.subTest(elsewhere):
                form = {"username": administrator.email, "password": make.PASSWORD, "next": elsewhere}
                self.assertRedirects(Client().post(LOGIN, form), INDEX, fetch_redirect_response=False)

    def test_regular_user_stays_outside(self) -> None:
        """All are refused in the same words, with the way to a new password."""
        pm = make.make_pm_user()
        inactive = (factory(is_active=False) for factory in (make.make_pm_user, make.make_admin_user))
        for user in (make.make_regular_user(), *inactive, pm):
            with self.subTest(user=user):
                page = self.sign_in(user, "wrong" if user == pm else make.PASSWORD)
                self.assertContains(page, "This is not the e-mail address and password of a project manager")
                self.assertContains(page, RESET_LINK, html=True)
                self.assertNotIn("_auth_user_id", self.client.session)

    def test_staff_user_lands_on_what_their_permissions_open(self) -> None:
        """They see the skills and nothing else, and without a permission they see that they have none."""
        closed = [LIST, DESK, reverse("admin:ctj_api_role_changelist"), COUNT]
        for permissions, text in ((("view_skill",), SKILLS), ((), "have permission to view or edit anything")):
            with self.subTest(permissions):
                page = self.sign_in(make.make_staff_user(*permissions))
                self.assertEqual(page.status_code, 200)
                self.assertContains(page, text)
                for url in closed:
                    self.assertNotContains(page, url)
                    self.assertEqual(self.client.get(url).status_code, 403)
                self.client.logout()

    def test_pm_user_is_asked_to_sign_in_again_and_comes_back(self) -> None:
        """After 12 hours, or after 2 without use; the API goes on, and a foreign page isn't led to."""
        page = reverse("admin:ctj_api_opportunity_add")
        pm = make.make_pm_user()
        for hours, status in (([1.9] * 6, 200), ([1.9] * 7, 302), ([2.1], 302)):
            with self.subTest(hours), patch("ctj_api.accounts.sessions.time.time", return_value=1e9) as clock:
                self.client.force_login(pm)
                responses = []
                for pause in hours:
                    clock.return_value += pause * 3600
                    responses.append(self.client.get(page))
                response = responses[-1]
                self.assertEqual((response.status_code, self.client.get(ME).status_code), (status, 200))
                if status == 302:
                    self.assertRedirects(response, f"{LOGIN}?next={page}")
                    form = self.client.get(response["Location"])
                    self.assertContains(form, "Please sign in again")
                    self.assertNotContains(form, "not authorized")
                    answer = self.client.post(response["Location"], {"username": pm.email, "password": make.PASSWORD})
                    self.assertRedirects(answer, page)
        self.client.force_login(pm)
        for target, led_to in ((page, page), ("https://evil.example/", INDEX), ("//evil.example/", INDEX)):
            answer = self.client.get(f"{LOGIN}?next={target}")
            self.assertRedirects(answer, led_to, fetch_redirect_response=False)

    def test_pm_user_with_a_session_from_before_this_rule_works_on(self) -> None:
        """Its hours begin with the first use after the upgrade; reading twice writes no session."""
        self.client.force_login(make.make_pm_user())
        self.assertNotIn("sessionid", self.client.get(DESK).cookies)
        session = self.client.session
        del session["signed_in_at"], session["admin_used_at"]
        session.save()
        self.assertEqual(self.client.get(DESK).status_code, 200)
        self.assertIn("signed_in_at", self.client.session)


@override_settings(LOGIN_RATE=(3, 900))
class PasswordChangeTests(TestCase):
    """Choosing a new password for oneself."""

    def setUp(self) -> None:
        """Sign a project manager in, twice."""
        self.pm = make.make_pm_user(email="ana@example.org")
        self.client, self.other = make.form_client(self.pm), make.form_client(self.pm)

    def change(self, old: str = make.PASSWORD, new: str = NEW_PASSWORD) -> Any:
        """Return what the form is answered."""
        with (
            patch("ctj_api.accounts.password_reset.send_later", lambda send: send()),
            self.captureOnCommitCallbacks(execute=True),
        ):
            return self.client.post(PASSWORD_CHANGE, {"old_password": old, "new_password1": new, "new_password2": new})

    def test_pm_changes_own_password(self) -> None:
        """By the API's rules; other sessions end, this one gets another key, and a mail tells the owner."""
        before = self.client.session.session_key
        for _ in range(5):  # wrong new ones don't lock the owner out
            self.assertContains(self.change(new="short"), "This password is too short.")
        self.assertContains(self.change(new=f"{NEW_PASSWORD}z"), "password must have at most 128 characters")
        self.change("wrong")
        self.assertEqual(mail.outbox, [])
        self.assertRedirects(self.change(), reverse("admin:password_change_done"))
        answer = make.browser().post("/api/auth/login/", {"email": self.pm.email, "password": NEW_PASSWORD})
        self.assertEqual(answer.status_code, 200)
        self.assertNotEqual(self.client.session.session_key, before)
        self.assertRedirects(self.other.get(INDEX), f"{LOGIN}?next={INDEX}")
        self.assertEqual(self.client.get(DESK).status_code, 200)
        (message,) = mail.outbox
        self.assertEqual(message.to, [self.pm.email])
        self.assertEqual(message.subject, "Your CivicTechJobs password has been changed")

    def test_owner_changing_a_password_keeps_what_was_written_meanwhile(self) -> None:
        """Only the password is saved."""
        check = UserProfile.check_password

        def check_while_the_owner_writes(user: UserProfile, password: str) -> bool:
            UserProfile.objects.update(max_available_hours=7)
            return check(user, password)

        with patch.object(UserProfile, "check_password", check_while_the_owner_writes):
            self.change()
        self.assertEqual(UserProfile.objects.get().max_available_hours, 7)

    def test_old_password_is_not_guessed(self) -> None:
        """Guesses count as at sign-in, and with those; what is one too many is not looked at."""
        Client().post(LOGIN, {"username": self.pm.email, "password": "wrong"})
        self.assertContains(self.change("wrong"), "Your old password was entered incorrectly.")
        self.change("wrong")
        with patch("ctj_api.models.UserProfile.check_password") as check:
            response = self.change()
        self.assertFalse(check.called)
        self.assertEqual(response.status_code, 429)
        self.assertTrue(890 <= int(response["Retry-After"]) <= 900, response["Retry-After"])
        self.assertContains(response, "Please try again in 15 minutes.", status_code=429)
        self.pm.refresh_from_db()
        self.assertTrue(self.pm.check_password(make.PASSWORD))


class AdminUserTests(TestCase):
    """What administrators do with accounts."""

    def setUp(self) -> None:
        """Sign an administrator in."""
        self.administrator = make.make_admin_user(email="admin@example.org")
        self.client.force_login(self.administrator)

    def save(self, user: UserProfile, *rights: str, rated: Any = (), **fields: str) -> Any:
        """Return the answer to a user's form, after its redirect."""
        form: dict[str, Any] = {name: getattr(user, name) for name in ("email", "first_name", "last_name")}
        for number, part in enumerate(("name", "level")):
            form[f"skill_levels_{part}"] = [row[number] for row in rated]
        form |= dict.fromkeys(rights, "on") | fields
        response = self.client.post(make.change_url(user), form, follow=True)
        user.refresh_from_db()
        return response

    def act(self, action: str, *users: UserProfile) -> Any:
        """Return the list after an action."""
        selected = [str(user.pk) for user in users]
        return self.client.post(LIST, {"action": action, "_selected_action": selected}, follow=True)

    def test_administrator_makes_project_managers_by_one_action(self) -> None:
        """And takes the right away again, as the history tells; who has it already is left alone."""
        ana, bo = (make.make_regular_user(email=f"{name}@example.org") for name in ("ana", "bo"))
        self.assertContains(self.act("make_project_manager", ana), "Now project managers: ana@example.org.")
        self.assertContains(self.act("make_project_manager", ana), "Nobody was changed.")
        self.act("make_project_manager", ana, bo)
        self.assertEqual(UserProfile.objects.filter(is_project_manager=True).count(), 2)
        page = self.act("end_project_manager", ana, bo)
        self.assertContains(page, "No project managers any more: ana@example.org, bo@example.org.")
        self.assertFalse(UserProfile.objects.filter(is_project_manager=True).exists())
        told = ["Changed project manager from no to yes.", "Changed project manager from yes to no."]
        self.assertEqual(messages(ana), told)

    def test_administrator_gives_rights_but_no_password(self) -> None:
        """One box is enough for each right; a forged password is ignored, and sessions go on."""
        user = make.make_regular_user(email="ana@example.org")
        session = make.form_client(user)
        self.save(user, "is_active", "is_project_manager", password="x")
        self.assertTrue(user.check_password(make.PASSWORD))
        self.assertEqual((user.is_project_manager, user.is_staff), (True, False))
        self.assertEqual(session.get(ME).status_code, 200)
        page = self.client.get(make.change_url(user))
        for right in ("is_active", "is_project_manager", "is_superuser"):
            self.assertContains(page, f'name="{right}"')
        for rights in (("is_active", "is_superuser"), ("is_active",)):
            self.save(user, *rights)
            self.assertEqual((user.is_superuser, user.is_staff), ("is_superuser" in rights, "is_superuser" in rights))

    def test_administrator_lets_a_user_curate_skills(self) -> None:
        """Ticking a permission lets them in, unticking the last shuts them out; what the form hides stays."""
        change = Permission.objects.get(codename="change_skill")
        for user, kept in ((make.make_staff_user(), set()), (make.make_staff_user("view_role"), {"view_role"})):
            for names in ({"change_skill"}, set()):
                chosen = {"user_permissions": str(change.pk)} if names else {}
                self.save(user, "is_active", **chosen)
                codenames = set(user.user_permissions.values_list("codename", flat=True))
                self.assertEqual((codenames, user.is_staff), (names | kept, bool(names | kept)))
            self.assertEqual(["Can change skill" in message for message in messages(user)], [True, True])

    def test_administrator_who_is_the_last_stays_one(self) -> None:
        """It is neither demoted nor made inactive, unless there is another active administrator."""
        make.make_admin_user(is_active=False)
        for rights in (("is_active",), ("is_superuser",), ()):
            with self.subTest(rights=rights):
                page = self.save(self.administrator, *rights)
                self.assertContains(page, "This is the last administrator: make somebody else one first.")
                self.assertTrue(self.administrator.is_active and self.administrator.is_superuser)
        self.save(self.administrator, "is_active", "is_superuser", "is_project_manager")
        self.assertTrue(self.administrator.is_project_manager)
        other = make.make_admin_user()
        self.save(other, "is_active")
        self.assertFalse(other.is_superuser)
        make.make_admin_user()
        self.save(self.administrator, "is_active")
        self.assertFalse(self.administrator.is_superuser)

    def test_administrator_corrects_skills_by_the_same_picker(self) -> None:
        """The row of the matrix is kept; without a change none is made."""
        react, sql = make.make_skill(name="React"), make.make_skill(name="SQL")
        user = make.make_regular_user({react: 4})
        self.assertContains(self.client.get(make.change_url(user)), 'value="React" list="id_skill_levels_names"')
        before = SkillMatrix.objects.get()
        self.save(user, "is_active", rated=(("SQL", 2),))
        after = SkillMatrix.objects.get(volunteer=user)
        self.assertEqual((after, after.levels), (before, {str(sql.pk): 2}))
        newcomer = make.make_regular_user()
        self.save(newcomer, "is_active", "is_project_manager")
        self.assertIsNone(newcomer.skills_learned_matrix)
        self.save(newcomer, "is_active", rated=(("React", 1),))
        self.assertEqual(SkillMatrix.objects.get(volunteer=newcomer).levels, {str(react.pk): 1})

    def test_administrator_corrects_a_name_and_an_address(self) -> None:
        """Another address ends the owner's sessions and links, a name doesn't; the history keeps neither."""
        user = make.make_regular_user(email="ana@example.org")
        owner, token = make.form_client(user), link_tokens.make_token(user)
        for name, value, status in (("first_name", "Ana", 200), ("email", "Anna@example.org", 403)):
            self.save(user, "is_active", **{name: value})
            self.assertEqual((owner.get(ME).status_code, link_tokens.check_token(user, token)), (status, status == 200))
        self.assertEqual((user.email, user.first_name), ("anna@example.org", "Ana"))
        self.assertFalse(user.sessions.exists())
        self.assertEqual(messages(user), ["Changed first name.", "Changed e-mail address."])
        self.assertContains(self.save(user, "is_active", email="admin@example.org"), "already exists")
        self.save(self.administrator, "is_active", "is_superuser", email="root@example.org")
        self.assertEqual(self.client.get(LIST).status_code, 200)

    def test_administrator_making_somebody_inactive_is_asked_about_open_listings(self) -> None:
        """By the form or by the action; they are put on hold, given to another project manager, or left open."""
        ana, bo, cy = (make.make_pm_user(email=f"{name}@example.org") for name in ("ana", "bo", "cy"))
        listings = {user: make.make_opportunity(created_by=user) for user in (ana, bo)}
        draft = make.make_opportunity(created_by=ana, status="draft")
        page = "admin:ctj_api_userprofile_listings"
        question, other = (reverse(page, query={"user": [str(user.pk)]}) for user in (ana, bo))
        self.assertContains(self.client.post(question, {"new_author": ""}, follow=True), "was changed", count=0)
        asked = self.save(ana, "is_project_manager")
        self.assertRedirects(asked, question)
        self.assertContains(asked, str(listings[ana]))
        self.assertNotContains(asked, str(draft))
        self.assertContains(self.client.post(question, {"new_author": ana.email}), "No project manager has this")
        given = self.client.post(question, {"new_author": cy.email}, follow=True)
        self.assertContains(given, "cy@example.org has 1 more to look after.")
        idle = [make.make_regular_user() for _ in range(400)]  # whose ids an address would not hold
        self.assertRedirects(self.act("make_inactive", ana, bo, *idle), other)
        self.client.post(other, {"new_author": ""})
        stored = Opportunity.objects.order_by("created_at").values_list("status", "created_by__email")
        expected = [("open", "cy@example.org"), ("on_hold", "bo@example.org"), ("draft", "ana@example.org")]
        self.assertEqual(list(stored), expected)
        told = ["Changed owner from ana@example.org to cy@example.org.", "Changed status from Open to On hold."]
        self.assertEqual([text for row in listings.values() for text in messages(row)], told)
        self.assertRedirects(self.act("make_inactive", cy, self.administrator), LIST)
        self.assertEqual(UserProfile.objects.administrators().count(), 1)

    def test_administrator_reads_accounts_in_words(self) -> None:
        """A dash where a right isn't given, which is no fault; the name under its own heading."""
        page = self.client.get(LIST)
        self.assertContains(page, "Full name")
        self.assertContains(page, '<td class="field-administrator">yes</td><td class="field-is_active">', count=1)
        self.assertContains(page, '<td class="field-project_manager">-</td>')
        self.assertNotContains(page, "icon-no")

    def test_administrator_reads_weeks_in_words(self) -> None:
        """By day and time, or that there is none: when volunteers are free, and when projects meet."""
        named = {"day": "mon", "start": "18:00", "end": "20:00", "name": "Team <meeting>"}
        meetings = {"timezone": "America/Los_Angeles", "slots": [named]}
        free = partial(make.make_regular_user, meeting_availability=make.WEEK)
        rows: list[tuple[Callable[[], Any], str]] = [
            (free, "<li>Monday 18:00 to 20:00</li>"),
            (partial(free, meeting_availability={"timezone": "UTC", "slots": []}), "no time at all (UTC)"),
            (make.make_regular_user, "not given"),
            (partial(make.make_project, meeting_times=meetings), "<li>Monday 18:00 to 20:00 Team &lt;meeting&gt;</li>"),
            (partial(make.make_project, meeting_times=meetings), "America/Los_Angeles"),
        ]
        for factory, text in rows:
            with self.subTest(text):
                self.assertContains(self.client.get(make.change_url(factory())), text, html=text.startswith("<"))

    def test_administrator_unlinks_accounts_from_cognito(self) -> None:
        """Their sessions end and the history tells; where there is no pool, there is nothing to unlink."""
        linked: dict[str, Any] = {"cognito_pool": "us-west-2_Tests", "cognito_sub": "of-ana"}
        ana, bo = make.make_regular_user(email="ana@example.org", **linked), make.make_regular_user()
        owner, form = make.form_client(ana), make.change_url(ana)
        self.assertNotContains(self.client.get(LIST), "Unlink from Cognito")
        self.assertNotContains(self.client.get(form), "of-ana")
        self.act("unlink", ana)
        with self.settings(COGNITO_USER_POOL="us-west-2_Tests"):
            self.assertContains(self.client.get(form), "of-ana of us-west-2_Tests")
            self.assertContains(self.act("unlink", ana, bo), "Linked to nobody now: ana@example.org.")
            self.assertContains(self.client.get(form), "nobody")
        ana.refresh_from_db()
        self.assertEqual((ana.cognito_pool, ana.cognito_sub, owner.get(ME).status_code), ("", "", 403))
        self.assertEqual(LogEntry.objects.get().user, self.administrator)
        self.assertEqual(messages(ana), ["Changed cognito pool and cognito sub."])

    def test_administrators_alone_have_a_password_while_cognito_keeps_the_others(self) -> None:
        """The page for another one is theirs, and no link is mailed."""
        pm = Client()
        cognito = "ctj_api.accounts.linking.CognitoBackend"
        with self.settings(IDENTITY_PROVIDER="cognito", AUTHENTICATION_BACKENDS=[cognito]):
            pm.force_login(make.make_pm_user(), cognito)
            self.client.force_login(self.administrator, cognito)
            statuses = [client.get(PASSWORD_CHANGE).status_code for client in (self.client, pm)]
            self.assertEqual((statuses, pm.get(DESK).status_code), ([200, 403], 200))
            self.assertNotContains(Client().get(LOGIN), "Forgot your password?")
