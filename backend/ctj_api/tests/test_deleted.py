"""Deleted opportunities: what is kept of them, who restores them, and when they end."""

from datetime import timedelta
from io import StringIO
from typing import Any

from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ctj_api.desk.deleted import FIELDS
from ctj_api.models import DeletedOpportunity, Opportunity, Role

from . import common as make

LIST = reverse("admin:ctj_api_deletedopportunity_changelist")
OWN_LIST = reverse("admin:ctj_api_opportunity_changelist")


def stored(listing: Opportunity) -> dict[str, Any]:
    """Return all that is stored of a listing, but when it was last changed."""
    row = Opportunity.objects.with_details().get(pk=listing.pk)
    values = {field.attname: getattr(row, field.attname) for field in FIELDS if field.name != "updated_at"}
    return {**values, "levels": row.skills_required_matrix.levels}


def restored(listing: Opportunity) -> str:
    """Return what is told of a listing that is there again."""
    return f'<a href="{make.change_url(listing)}">{listing}</a> is restored.'


class DeletedOpportunityTests(TestCase):
    """A listing with everything that it can have, its author, and others who may delete it."""

    def setUp(self) -> None:
        """Make the rows."""
        self.author, self.other, self.admin = make.make_pm_user(), make.make_pm_user(), make.make_admin_user()
        self.skill = make.make_skill()
        self.listing = make.make_opportunity(
            {self.skill: 4},
            created_by=self.author,
            created_at=timezone.now() - timedelta(days=3, microseconds=1),
            status="filled",
            meeting_times=make.WEEK,
            min_hours_required=7,
            body="Two lines,\nand “signs”.",
        )
        one = reverse("admin:ctj_api_opportunity_delete", args=[self.listing.pk])
        several = {"action": "delete_selected", "_selected_action": str(self.listing.pk)}
        self.pages: tuple[tuple[str, dict[str, str]], ...] = ((one, {}), (OWN_LIST, several))

    def delete(self, user: Any) -> None:
        """Delete the listing by the API."""
        self.assertEqual(make.client_of(user).delete(f"/api/opportunities/{self.listing.pk}/").status_code, 204)

    def restore(self, user: Any, *others: Opportunity) -> list[str]:
        """Press "Restore" and return what is told."""
        form = {"action": "restore", "_selected_action": [str(row.pk) for row in (self.listing, *others)]}
        page = make.form_client(user).post(LIST, form, follow=True)
        return [str(message) for message in page.context["messages"]]

    def test_pm_user_restores_a_listing_whole_with_its_history(self) -> None:
        """Every column, the skills, the id and the author come back; the API had it gone."""
        Opportunity.objects.update(opened_at=None, filled_at=None)  # as before migration 0019
        before = stored(self.listing)
        make.client_of(self.author).put(f"/api/opportunities/{self.listing.pk}/", {}, format="json")
        history = LogEntry.objects.filter(object_id=str(self.listing.pk))
        self.delete(self.other)
        self.assertEqual(self.client.get(f"/api/opportunities/{self.listing.pk}/").status_code, 404)
        page = make.form_client(self.other).get(make.change_url(DeletedOpportunity.objects.get()))
        self.assertContains(page, '<button class="button default">Restore</button>')
        self.assertContains(page, "and “signs”.")
        self.assertEqual(self.restore(self.other), [restored(self.listing)])
        self.assertEqual(stored(self.listing), before)
        self.assertFalse(DeletedOpportunity.objects.exists())
        self.assertEqual(list(history.values_list("action_flag", "user")), [(2, self.other.pk), (3, self.other.pk)])
        self.assertEqual(self.client.get(f"/api/opportunities/{self.listing.pk}/").status_code, 200)

    def test_pm_user_deletes_in_the_desk_and_is_told_where_to_restore(self) -> None:
        """Both pages name owner, status and age, and don't speak of related objects."""
        desk = make.form_client(self.other)
        for path, asked in self.pages:
            with self.subTest(path):
                page = desk.post(path, asked) if asked else desk.get(path)
                text = " ".join(page.content.decode().split())
                self.assertIn(f"filled, 3 days old, owned by {self.author.email}", text)
                self.assertNotIn("related", text.partition('<div id="content"')[2])
                done = desk.post(path, {"post": "yes", **asked}, follow=True)
                self.assertContains(done, f'For 30 days it can be restored: see <a href="{LIST}">')
                self.restore(self.other)
                self.assertTrue(Opportunity.objects.exists())

    def test_others_see_no_deleted_listing_of_somebody_else(self) -> None:
        """Administrators restore any; project managers only what they have deleted, while they are that."""
        self.delete(self.other)
        url = make.change_url(DeletedOpportunity.objects.get())
        staff = make.make_staff_user("view_deletedopportunity")
        self.other.is_project_manager = False
        self.other.save()
        for user, expected in ((self.author, 302), (staff, 403), (make.make_regular_user(), 302), (self.other, 302)):
            with self.subTest(str(user)):
                self.assertEqual(make.form_client(user).get(url).status_code, expected)
                make.form_client(user).post(LIST, {"action": "restore", "_selected_action": str(self.listing.pk)})
                self.assertFalse(Opportunity.objects.exists())
        self.assertEqual(self.restore(self.admin), [restored(self.listing)])

    def test_administrator_restores_without_what_is_no_more(self) -> None:
        """A merged skill comes back as what it became; one that is gone is told; an author who left is nobody."""
        self.delete(self.other)
        self.skill.name = "Renamed"
        self.skill.save()
        self.author.delete()
        self.assertEqual(self.restore(self.admin), [restored(self.listing)])
        self.assertIsNone(stored(self.listing)["created_by_id"])
        self.assertEqual(stored(self.listing)["levels"], {str(self.skill.pk): 4})
        self.delete(self.other)
        self.skill.delete()
        heir = make.make_skill(name="RENAMED")
        self.restore(self.admin)
        self.assertEqual(stored(self.listing)["levels"], {str(heir.pk): 4})
        self.delete(self.other)
        heir.delete()
        self.assertIn("No longer in the catalog, so not required any more: RENAMED.", self.restore(self.admin))
        self.delete(self.other)
        Role.objects.all().delete()
        self.assertEqual(self.restore(self.admin), [f"{self.listing} can't be restored: its role is no more."])
        self.assertTrue(DeletedOpportunity.objects.exists())

    def test_operator_ends_what_was_deleted_thirty_days_ago(self) -> None:
        """It can't be restored from then on, whether or not the command has run."""
        self.delete(self.other)
        later = make.make_opportunity()
        make.client_of(self.other).delete(f"/api/opportunities/{later.pk}/")
        DeletedOpportunity.objects.filter(pk=self.listing.pk).update(deleted_at=timezone.now() - timedelta(days=30))
        self.restore(self.admin)
        self.assertFalse(Opportunity.objects.exists())
        out = StringIO()
        call_command("prune", stdout=out)
        self.assertEqual(out.getvalue(), "1 deleted opportunities are gone for good.\n")
        self.assertEqual(DeletedOpportunity.objects.get().pk, later.pk)

    def test_pm_user_deletes_what_was_stored_again_under_its_id(self) -> None:
        """The newer one is kept; restoring what is there is refused."""
        self.delete(self.other)
        deleted = DeletedOpportunity.objects.get()
        self.restore(self.other)
        deleted.save()
        second = make.make_opportunity()
        make.client_of(self.other).delete(f"/api/opportunities/{second.pk}/")
        DeletedOpportunity.objects.filter(pk=second.pk).update(deleted_at=timezone.now() - timedelta(days=1))
        told = [f"{self.listing} is there already.", restored(second)]
        self.assertEqual(self.restore(self.other, second), told)
        self.assertTrue(Opportunity.objects.filter(pk=second.pk).exists())
        Opportunity.objects.update(body="Newer.")
        self.delete(self.author)
        self.assertEqual(DeletedOpportunity.objects.get().contents["body"], "Newer.")

    def test_pm_user_deletes_a_listing_of_somebody_else_after_locking_it(self) -> None:
        """Otherwise a change of its owner at the same moment would be missing from what is kept."""
        for path, chosen in self.pages:
            with self.subTest(path), CaptureQueriesContext(connection) as queries:
                make.form_client(self.other).post(path, {"post": "yes", **chosen})
                locks = [query["sql"] for query in queries if query["sql"].endswith("FOR UPDATE")]
                self.assertIn('FROM "ctj_api_opportunity"', " ".join(locks))
                self.restore(self.other)
