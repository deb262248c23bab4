"""The history: who changed what, told field by field on the history pages of the admin."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.db.models import Model
from django.test import TransactionTestCase
from django.urls import reverse
from rest_framework.test import APITestCase

from ctj_api.desk.history import changes, log_changes, snapshot
from ctj_api.models import Opportunity, Skill, SkillMatrix

from . import common as make

URL = "/api/opportunities/"
ME = "/api/users/me/"
LOG = "django.contrib.admin.models.LogEntryManager.log_actions"


def messages(instance: Model) -> list[str]:
    """Return what the history of ``instance`` says, the oldest entry first."""
    entries = LogEntry.objects.filter(object_id=str(instance.pk)).order_by("action_time")
    return [entry.get_change_message() for entry in entries]


def payload_of(opportunity: Opportunity, **fields: Any) -> dict[str, Any]:
    """Return what a client sends that changes nothing but ``fields``."""
    names = ("body", "min_experience_required", "min_hours_required", "work_environment", "status")
    return {
        **{name: getattr(opportunity, name) for name in names},
        "project": str(opportunity.project_id),
        "role": str(opportunity.role_id),
        "skills_required_matrix": opportunity.skills_required_matrix.levels,
        **fields,
    }


def form_of(payload: dict[str, Any]) -> dict[str, Any]:
    """Return what the admin's form sends for the same as ``payload``."""
    levels = payload["skills_required_matrix"]
    names = Skill.objects.names_of(levels)
    rows = {"skill_levels_name": [names[pk] for pk in levels], "skill_levels_level": list(levels.values())}
    return {**{name: value for name, value in payload.items() if name != "skills_required_matrix"}, **rows}


class HistoryTestCase(APITestCase):
    """A listing, who posted it, and an administrator."""

    def setUp(self) -> None:
        """Make a draft that requires two skills, and send its author's requests to the API."""
        self.react, self.java, self.vue = (make.make_skill(name=name) for name in ("React", "Java", "Vue"))
        self.pm = make.make_pm_user(email="pm@example.org")
        self.administrator = make.make_admin_user(email="admin@example.org")
        levels = {self.react: 3, self.java: 1}
        self.listing = make.make_opportunity(levels, created_by=self.pm, status="draft", min_hours_required=4)
        self.client.force_authenticate(self.pm)

    def put(self, **fields: Any) -> str:
        """Change the listing through the API, and return the newest entry of its history, nothing if there is none."""
        response = self.client.put(f"{URL}{self.listing.pk}/", payload_of(self.listing, **fields))
        self.assertEqual(response.status_code, 200, response.content)
        return (messages(self.listing) or [""])[-1]

    def submit(self, instance: Model, data: dict[str, Any]) -> Any:
        """Send the admin's form of ``instance`` as an administrator."""
        self.client.force_authenticate(None)
        self.client.force_login(self.administrator)
        return self.client.post(make.change_url(instance), data, format="multipart")

    def levels(self, levels: dict[Skill, int]) -> dict[str, int]:
        """Return a matrix as it is sent."""
        return {str(skill.pk): level for skill, level in levels.items()}


class HistoryTests(HistoryTestCase):
    """The listings, changed through the API and in the admin, and the catalog, which is curated there."""

    def changed(self) -> dict[str, Any]:
        """Return a change of a little of everything."""
        levels = self.levels({self.react: 4, self.vue: 2})
        return {"min_hours_required": 6, "status": "open", "skills_required_matrix": levels}

    def test_pm_user_and_administrator_change_is_told_field_by_field(self) -> None:
        """With old and new value, skills by name, and the author; the form leads to the text of the API."""
        before = payload_of(self.listing)
        words = "Changed hours a week from 4 to 6, status from Draft to Open, React from level 3 to 4, "
        words += "Vue added at level 2 and Java removed."
        self.assertEqual(self.put(**self.changed()), words)
        entry = LogEntry.objects.get()
        self.assertEqual((entry.user_id, entry.action_flag, entry.object_repr), (self.pm.pk, CHANGE, str(self.listing)))
        self.put(**before)
        form = form_of(payload_of(self.listing, **self.changed(), _transition="publish"))
        response = self.submit(self.listing, form)
        self.assertEqual((response.status_code, messages(self.listing)[2:]), (302, [words]))
        self.assertEqual(LogEntry.objects.latest("action_time").user_id, self.administrator.pk)

    def test_pm_user_change_of_each_field_is_told(self) -> None:
        """Choices by their labels, rows by names that differ, texts by the field's name only."""
        self.listing.role.title = "Developer"
        self.listing.role.save()
        project, role = make.make_project(name="VRMS"), make.make_role(title="Data Engineer")
        namesake = make.make_role(title="Developer", community_of_practice=make.make_cop("devops"))
        cases: list[tuple[dict[str, Any], str]] = [
            ({"project": str(project.pk)}, f"Changed project from {self.listing.project} to VRMS."),
            ({"role": str(role.pk)}, "Changed role from Developer to Data Engineer."),
            ({"role": str(namesake.pk)}, "Changed role."),
            ({"body": "x" * 20_000}, "Changed description."),
            ({"body": "Two.", "status": "on_hold"}, "Changed description and status from Draft to On hold."),
            ({"min_experience_required": "mid_level"}, "Changed experience from Any to Mid level."),
            ({"min_hours_required": 0}, "Changed hours a week from 4 to 0."),
            ({"work_environment": "in_person"}, "Changed work environment from Remote to In person."),
            ({"meeting_times": make.WEEK}, "Changed meeting times."),
            ({"skills_required_matrix": {}}, "Changed Java removed and React removed."),
        ]
        for fields, expected in cases:
            with self.subTest(fields=list(fields)):
                self.assertEqual(self.put(**fields), expected)
                self.put()
                self.listing = Opportunity.objects.get(pk=self.listing.pk)
                LogEntry.objects.all().delete()

    def test_pm_user_write_that_changes_nothing_is_not_logged(self) -> None:
        """Neither through the API nor in the admin, nor where it is refused."""
        self.put()
        refused = self.client.put(f"{URL}{self.listing.pk}/", payload_of(self.listing, status="x", body="Two."))
        taken = self.submit(self.listing, form_of(payload_of(self.listing)))
        self.assertEqual((refused.status_code, taken.status_code, LogEntry.objects.count()), (400, 302, 0))
        with self.assertNumQueries(0):
            log_changes(self.pm, [self.listing], [])
            log_changes(self.pm, [], ["status from Draft to Open"])

    def test_pm_user_addition_and_deletion_are_told(self) -> None:
        """The deletion by any project manager, with the name of what is gone."""
        created, name = self.client.post(URL, payload_of(self.listing)).json(), str(self.listing)
        other = make.make_pm_user()
        self.client.force_authenticate(other)
        self.assertEqual(self.client.delete(f"{URL}{created['id']}/").status_code, 204)
        entries = LogEntry.objects.order_by("action_time")
        told = entries.values_list("user", "action_flag", "object_id", "object_repr")
        expected = [(self.pm.pk, ADDITION), (other.pk, DELETION)]
        self.assertEqual(list(told), [(*entry, created["id"], name) for entry in expected])
        self.assertEqual(entries[0].get_change_message(), "Added.")

    def test_pm_user_write_and_its_entry_are_stored_together_or_not_at_all(self) -> None:
        """There is no change without its entry, nor an entry without its change."""
        self.client.raise_request_exception = False
        before = list(Opportunity.objects.values())
        url, payload = f"{URL}{self.listing.pk}/", payload_of(self.listing, **self.changed())
        post, put, delete = self.client.post, self.client.put, self.client.delete
        for broken, send, address in (
            (LOG, post, URL),
            (LOG, put, url),
            (LOG, delete, url),
            ("ctj_api.models.Opportunity.delete", delete, url),
            ("ctj_api.serializers.OpportunityReadSerializer.to_representation", put, url),
        ):
            with self.subTest(broken, send=send.__name__), patch(broken, side_effect=RuntimeError):
                self.assertEqual(send(address, payload).status_code, 500)
        with patch(LOG, side_effect=RuntimeError):
            self.assertEqual(self.submit(self.listing, form_of(payload)).status_code, 500)
        self.assertEqual((list(Opportunity.objects.values()), LogEntry.objects.count()), (before, 0))
        self.listing.skills_required_matrix.refresh_from_db()
        self.assertEqual(self.listing.skills_required_matrix.levels, self.levels({self.react: 3, self.java: 1}))

    def test_pm_user_change_of_many_skills_names_each_with_a_constant_number_of_queries(self) -> None:
        """Each of a full matrix, in the order of their names, which are escaped."""
        skills = [make.make_skill(name=f"S{number:03}") for number in range(249)]
        skills.append(make.make_skill(name="<b>Bold</b> & {x} %s"))
        self.put(skills_required_matrix={})
        matrices = self.levels({skills[0]: 1}), self.levels(dict.fromkeys(skills[1:], 5))
        few, many = (make.count_queries(partial(self.put, skills_required_matrix=each)) for each in matrices)
        self.assertEqual(few, many)
        history = reverse("admin:ctj_api_opportunity_history", args=[self.listing.pk])
        page = make.form_client(self.administrator).get(history)
        self.assertContains(page, "&lt;b&gt;Bold&lt;/b&gt; &amp; {x} %s added at level 5")
        self.assertNotContains(page, "<b>Bold")
        text = messages(self.listing)[-1]
        self.assertIn(" S001 added at level 5, S002 added at level 5, ", text)
        self.assertEqual(text.count(" added at level 5"), 249)

    def test_administrator_change_of_a_skill_is_told(self) -> None:
        """The name with both values, communities by theirs; an unchanged form tells nothing."""
        areas = [make.make_cop(area) for area in ("engineering", "ui_ux")]
        communities = "communities_of_practice", [str(area.pk) for area in areas]
        cases: list[tuple[str, object, str]] = [
            ("name", "React.js", "Changed name from React to React.js."),
            ("description", "For pages.", "Changed description."),
            (*communities, f"Changed communities of practice from nothing to {areas[0]} and {areas[1]}."),
        ]
        for field, value, expected in cases:
            with self.subTest(field):
                self.submit(self.react, {"name": "React", field: value})
                self.assertEqual(messages(self.react)[-1], expected)
                self.submit(self.react, {"name": "React"})
                self.submit(self.react, {"name": "React"})  # as it came
                self.assertEqual(len(messages(self.react)), 2)
                LogEntry.objects.all().delete()
        self.client.post(reverse("admin:ctj_api_skill_add"), {"name": "Rust"}, format="multipart")
        self.assertEqual(messages(Skill.objects.get(name="Rust")), ["Added."])


class UserHistoryTests(HistoryTestCase):
    """Accounts: what was changed, and of personal data nothing more."""

    def setUp(self) -> None:
        """Make a volunteer who has filled in the qualifier, and send their requests."""
        super().setUp()
        self.user = make.make_regular_user({self.react: 3}, max_available_hours=8, meeting_availability=make.WEEK)
        self.client.force_authenticate(self.user)

    def test_volunteer_answers_are_not_logged(self) -> None:
        """Nor is signing up, in and out: nothing prunes the log, and that is nobody else's business."""
        answers = {"skills_learned_matrix": self.levels({self.react: 5, self.vue: 1}), "max_available_hours": 17}
        everything = {**answers, "meeting_availability": None, "community_of_practice": str(make.make_cop().pk)}
        for send, body in ((self.client.patch, answers), (self.client.put, everything)):
            self.assertEqual(send(ME, body).status_code, 200)
        self.client.force_authenticate(None)
        account = {"email": "new@example.org", "password": "a-long-enough-passphrase"}
        for path, data in (("signup", account), ("logout", {}), ("login", account)):
            self.assertLess(self.client.post(f"/api/auth/{path}/", data).status_code, 300)
        self.assertFalse(LogEntry.objects.exists())

    def test_administrator_change_of_rights_is_told(self) -> None:
        """Rights with both values, in plain words; a volunteer's levels aren't kept, whoever changes them."""
        form = {"is_project_manager": "on", "is_superuser": "on", "email": self.user.email}
        for level in ("3", "3", "5"):
            self.submit(self.user, {**form, "skill_levels_name": ["React"], "skill_levels_level": [level]})
        text = "Changed administrator from no to yes, active from yes to no and project manager from no to yes."
        self.assertEqual(messages(self.user), [text, "Changed rated skills."])

    def test_administrator_never_reads_a_password_in_the_history(self) -> None:
        """Nor an address or a name; which of them was changed is told."""
        before = snapshot(self.user)
        self.user.set_password("another-long-passphrase")
        self.user.email, self.user.first_name = "other@example.org", "Ana"
        self.assertEqual(changes(self.user, before), ["password", "first name", "e-mail address"])


class HistoryConcurrencyTests(TransactionTestCase):
    """Changes of several people at once, really committed."""

    def test_pm_users_changing_at_once_are_told_one_after_the_other(self) -> None:
        """Each entry starts from the value that the one before has led to, and hours and skills are of one write."""
        pm, administrator = make.make_pm_user(), make.make_admin_user()
        listing = make.make_opportunity(created_by=pm, min_hours_required=0)
        skills = [make.make_skill() for _ in range(9)]
        calls: list[Callable[[], Any]] = []
        for hours in range(1, 9):
            levels = {str(skills[hours].pk): 3}
            payload = payload_of(listing, min_hours_required=hours, skills_required_matrix=levels)
            if hours % 2:
                calls.append(partial(make.client_of(pm).put, f"{URL}{listing.pk}/", payload))
            else:
                calls.append(partial(make.form_client(administrator).post, make.change_url(listing), form_of(payload)))
        self.assertEqual({answer.status_code for answer in make.at_once(*calls)}, {200, 302})
        last = Opportunity.objects.get()
        self.assertEqual(SkillMatrix.objects.get().levels, {str(skills[last.min_hours_required].pk): 3})
        told = [re.findall(r"hours a week from (\d+) to (\d+)", message)[0] for message in messages(listing)]
        self.assertEqual(sorted(new for _, new in told), [str(hours) for hours in range(1, 9)])
        self.assertEqual([old for old, _ in told], ["0", *(new for _, new in told[:-1])])
