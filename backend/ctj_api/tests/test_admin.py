"""The admin site as a whole: adding, changing and deleting rows, and what no input can break."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from unittest.mock import patch

from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import DataError
from django.test import TestCase
from django.urls import reverse

from ctj_api.desk.site import OVERTAKEN, UNUSABLE_FILTER
from ctj_api.models import Opportunity, Skill, UserProfile

from .common import count_queries, make_admin_user, make_cop, make_opportunity, make_regular_user, make_skill
from .test_history import form_of, payload_of


class AdminTests(TestCase):
    """What an administrator does."""

    def setUp(self) -> None:
        """Sign an administrator in."""
        self.administrator = make_admin_user(email="admin@example.org")
        self.client.force_login(self.administrator)

    def post(self, name: str, data: dict[str, Any], *args: object) -> Any:
        """Return the answer to a form, after its redirect."""
        return self.client.post(reverse(f"admin:ctj_api_{name}", args=args), data, follow=True)

    def test_administrator_adds_and_changes_a_skill_but_not_twice(self) -> None:
        """It has description and communities; its name is unique in any case."""
        self.post("skill_add", {"name": "React", "communities_of_practice": [str(make_cop().pk)]})
        skill = Skill.objects.get(communities_of_practice__isnull=False)
        self.post("skill_change", {"name": "React", "description": "For pages"}, skill.pk)
        skill.refresh_from_db()
        self.assertEqual((skill.description, skill.communities_of_practice.count()), ("For pages", 0))
        for name in ("REACT", " React\n", "Re\u200bact", "React\u00a0"):
            self.assertContains(self.post("skill_add", {"name": name}), "There is a skill of this name already.")
        self.assertContains(self.post("skill_add", {"name": "\u200b"}), "This field cannot be blank.")
        self.assertEqual(Skill.objects.count(), 1)

    def test_administrator_saving_other_line_ends_changes_nothing(self) -> None:
        """No description that browsers send with CRLF makes an entry in the history, nor moves a time."""
        texts = {"description": "One\nTwo"}
        skill, listing = make_skill(**texts), make_opportunity(body="One\nTwo", created_by=self.administrator)
        form = {**form_of(payload_of(listing)), "body": "One\r\nTwo"}
        for row, name, data in (
            (skill, "skill_change", {"name": skill.name, "description": "One\r\nTwo"}),
            (listing, "opportunity_change", form),
        ):
            with self.subTest(name):
                self.assertEqual(self.post(name, data, row.pk).redirect_chain[0][1], 302)
                stored = type(row)._default_manager.get(pk=row.pk)
                self.assertEqual(stored.updated_at, row.updated_at)
                self.assertEqual(LogEntry.objects.count(), 0)
        self.post("opportunity_change", {**form, "_transition": "hold"}, listing.pk)
        self.assertEqual((Opportunity.objects.get().status, Opportunity.objects.get().body), ("on_hold", "One\nTwo"))

    def test_administrator_reads_times_in_the_zone_of_the_organisation(self) -> None:
        """Pages say the zone, filters by date follow it, and the API stays in UTC."""
        listing = make_opportunity(created_at=datetime(2026, 7, 1, 3, tzinfo=UTC), created_by=self.administrator)
        UserProfile.objects.update(last_login=listing.created_at)
        LogEntry.objects.log_actions(self.administrator.pk, [listing], CHANGE, "x")
        LogEntry.objects.update(action_time=listing.created_at)
        url = reverse("admin:ctj_api_opportunity_changelist")
        pages = [
            reverse("admin:ctj_api_opportunity_history", args=[listing.pk]),
            reverse("admin:ctj_api_userprofile_change", args=[self.administrator.pk]),
        ]
        for zone, month, day, shown in (
            ("America/Los_Angeles", 6, 30, "June 30, 2026, 8 p.m. PDT"),
            ("Asia/Kolkata", 7, 1, "July 1, 2026, 8:30 a.m. IST"),
        ):
            with self.subTest(zone), self.settings(ADMIN_TIME_ZONE=zone):
                query = {"created_at__year": 2026, "created_at__month": month, "created_at__day": day}
                self.assertEqual(len(self.client.get(url, query).context["cl"].result_list), 1)
                for page in pages:
                    self.assertContains(self.client.get(page), shown)
                body = self.client.get(f"/api/opportunities/{listing.pk}/").json()
                self.assertEqual(body["created_at"], "2026-07-01T03:00:00Z")
        self.assertEqual(self.client.get("/api/projects/").json()[0]["created_at"][-1], "Z")
        self.assertEqual((settings.ADMIN_TIME_ZONE, settings.TIME_ZONE), ("America/Los_Angeles", "UTC"))

    def test_administrator_deleting_a_skill_in_use_is_refused(self) -> None:
        """The page says by how many it is used, with a constant number of queries."""
        skill = make_skill(name="React")
        make_opportunity({skill: 3})
        for _ in range(2):
            make_regular_user({skill: 1})
        reason = "React: required by 1 opportunity and rated by 2 volunteers"
        action = {"action": "delete_selected", "_selected_action": [str(skill.pk)], "post": "yes"}
        self.assertContains(self.client.get(reverse("admin:ctj_api_skill_delete", args=[skill.pk])), reason)
        self.assertContains(self.post("skill_delete", {"post": "yes"}, skill.pk), reason)
        self.assertContains(self.post("skill_changelist", action), reason)
        self.assertTrue(Skill.objects.filter(pk=skill.pk).exists())
        counts = []
        for number in (1, 20):
            skills = [make_skill() for _ in range(number)]
            make_opportunity(dict.fromkeys(skills, 3))
            action = {"action": "delete_selected", "_selected_action": [str(skill.pk) for skill in skills]}
            ask = partial(self.post, "skill_changelist", action)
            self.assertContains(ask(), "required by 1 opportunity", count=number)
            counts.append(count_queries(ask))
        self.assertEqual(counts[0], counts[1])

    def test_administrator_with_an_unusable_filter_or_selection_is_told_so(self) -> None:
        """No query string leads to an error page, and an action on what is no id changes nothing."""
        make_opportunity()
        pages = [
            ("opportunity", "created_at__year=9999"),
            ("opportunity", "created_at__year=2026&created_at__month=2&created_at__day=31"),
            ("opportunity", "created_at__year=" + "9" * 30),
            ("userprofile", "community_of_practice__id__exact=x"),
        ]
        for model, query in pages:
            with self.subTest(model=model, query=query):
                url = reverse(f"admin:ctj_api_{model}_changelist")
                answer = self.client.get(f"{url}?{query}", follow=True)
                self.assertRedirects(answer, url)
                self.assertContains(answer, UNUSABLE_FILTER, html=True)
                self.assertEqual(self.client.get(f"{url}?q=%00").status_code, 400)
        for query in ("status=x", "posted_by=x", "status=current&status=x", "o=99", "p=99", "project__id__exact=x"):
            with self.subTest(query):
                listings = reverse("admin:ctj_api_opportunity_changelist")
                self.assertEqual(self.client.get(f"{listings}?{query}", follow=True).status_code, 200)
        for selected in ("x", "9" * 30, "\x00"):
            action = {"action": "delete_selected", "_selected_action": [selected], "post": "yes"}
            self.assertContains(self.post("opportunity_changelist", action), "is not a valid UUID.")
        self.assertEqual(Opportunity.objects.count(), 1)

    def test_administrator_sending_what_only_forged_forms_have_gets_no_error_page(self) -> None:
        """Django reads these names on every page; a copy that is refused, and a deletion."""
        listing = make_opportunity()
        forged = [("opportunity_change", {"_saveasnew": "yes"}, 200), ("opportunity_delete", {"_to_field": ""}, 302)]
        for page, form, status in forged:
            with self.subTest(form):
                url = reverse(f"admin:ctj_api_{page}", args=[listing.pk])
                self.assertEqual(self.client.post(url, form).status_code, status)

    def test_administrator_overtaken_by_another_write_is_told_so(self) -> None:
        """What the form could not see yet, the database refuses; the log takes it for no error."""
        make_skill(name="React")
        with (
            patch("ctj_api.models.Skill.validate_constraints"),
            self.assertLogs("ctj_api.desk.site") as logged,
        ):
            self.assertContains(self.post("skill_add", {"name": "REACT"}), OVERTAKEN)
        self.assertEqual([record.levelname for record in logged.records], ["WARNING"])
        self.assertEqual(Skill.objects.count(), 1)

    def test_administrator_meeting_a_defect_gets_an_error_page(self) -> None:
        """A failure that no input causes is told as ours, and logged with its traceback."""
        self.client.raise_request_exception = False
        make_skill(name="React")
        changelist, add = (reverse(f"admin:ctj_api_skill_{page}") for page in ("changelist", "add"))
        requests: list[tuple[str, Callable[[], Any]]] = [
            ("ctj_api.desk.skills.Truncator", partial(self.client.get, changelist, {"q": "React"})),
            ("ctj_api.models.Skill.save", partial(self.client.post, add, {"name": "Vue"})),
        ]
        for error in (ValueError, OverflowError, DataError):
            for broken, send in requests:
                with (
                    self.subTest(broken, error=error),
                    patch(broken, side_effect=error),
                    self.assertLogs("django.request", "ERROR") as logged,
                ):
                    self.assertEqual(send().status_code, 500)
                    (record,) = logged.records
                    self.assertIs(record.exc_info and record.exc_info[0], error)
