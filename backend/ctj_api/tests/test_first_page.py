"""What the desk counts: on the first page, and on the page about supply and demand of skills."""

from datetime import timedelta

from django.test import TestCase
from django.urls import reverse
from django.utils import timezone

from ctj_api.desk.statistics import PLOTS
from ctj_api.models import Opportunity

from . import common as make

INDEX = reverse("admin:index")
SUPPLY_AND_DEMAND = reverse("admin:supply_and_demand")
NOW = timezone.now()


class StatusTimeTests(TestCase):
    """When a listing was published and filled, whoever changes its status."""

    def test_everyone_changes_a_status_and_its_time_is_kept(self) -> None:
        """Holding it back keeps the first time, publishing it anew begins again, and SQL counts as well."""
        listing = make.make_opportunity(status="draft", created_at=NOW - timedelta(days=9))
        old = NOW - timedelta(days=5)
        renewed, filled = {0, 5}, {3, 4}
        for step, status in enumerate(("open", "on_hold", "open", "filled", "closed", "open", "draft")):
            with self.subTest(step=step, status=status):
                make.execute("UPDATE ctj_api_opportunity SET status = %s", status)
                listing.refresh_from_db()
                self.assertEqual(listing.opened_at != old, step in renewed)
                self.assertIsNotNone(listing.opened_at)
                self.assertEqual(listing.filled_at is not None, step in filled)
                Opportunity.objects.update(opened_at=old)
        make.execute("UPDATE ctj_api_opportunity SET status = 'on_hold', opened_at = NULL")
        make.execute("UPDATE ctj_api_opportunity SET status = 'open'")
        listing.refresh_from_db()
        self.assertIsNotNone(listing.opened_at)
        stored = make.make_opportunity(status="filled", created_at=NOW - timedelta(days=9))
        stored.refresh_from_db()
        self.assertEqual((stored.opened_at, stored.filled_at), (stored.created_at, stored.created_at))


class FirstPageTests(TestCase):
    """A project manager's listings in each group, and others that are in none."""

    def test_pm_user_finds_exactly_the_listings_that_the_first_page_counts(self) -> None:
        """Each number is the length of the list that it leads to; those of others count for nobody."""
        pm, other, skill = make.make_pm_user(), make.make_pm_user(), make.make_skill()
        make.make_regular_user({skill: 3})
        long_ago = NOW - timedelta(days=61)
        expected: list[list[Opportunity]] = []
        for author in (other, pm):
            drafts = [make.make_opportunity(created_by=author, status="draft") for _ in range(2)]
            old = make.make_opportunity({skill: 3}, created_by=author, created_at=long_ago)
            unknown = make.make_opportunity({skill: 3}, created_by=author, created_at=long_ago)
            Opportunity.objects.filter(pk=unknown.pk).update(opened_at=None)
            unmet = make.make_opportunity({skill: 4}, created_by=author)
            no_skills = make.make_opportunity(created_by=author)
            filled = make.make_opportunity(created_by=author, status="open")
            Opportunity.objects.filter(pk=filled.pk).update(status="filled")
            make.make_opportunity(created_by=author, status="filled", created_at=long_ago)
            make.make_opportunity({skill: 3}, created_by=author)
            expected = [drafts, [old, unknown], [unmet, no_skills], [filled]]
        desk = make.form_client(pm)
        groups = desk.get(INDEX).context["overview"]
        for group, listings in zip(groups, expected, strict=True):
            with self.subTest(group["label"]):
                shown = desk.get(group["url"]).context["cl"].result_list
                self.assertEqual({row.pk for row in shown}, {row.pk for row in listings})
                self.assertEqual(group["count"], len(listings))
        self.assertNotIn("overview", make.form_client(make.make_admin_user()).get(INDEX).context)
        unknown_group = desk.get(reverse("admin:ctj_api_opportunity_changelist", query={"own": "x"}), follow=True)
        self.assertContains(unknown_group, "The list can&#x27;t be narrowed as this address asks")


class StatisticsTests(TestCase):
    """Listings and volunteers whose numbers are known."""

    def setUp(self) -> None:
        """Make the rows."""
        self.community = community = make.make_cop("engineering")
        self.scarce, self.common = make.make_skill(name="Scarce"), make.make_skill(name="Common")
        for level in (3, 3, 2):
            make.make_opportunity({self.scarce: level, self.common: 1})
        make.make_opportunity({self.common: 5}, status="draft")
        make.make_regular_user({self.scarce: 3, self.common: 1}, community_of_practice=community)
        for _ in range(4):
            make.make_regular_user({self.scarce: 2, self.common: 2}, community_of_practice=community)
        make.make_regular_user({self.common: 5}, is_active=False, community_of_practice=community)
        make.make_regular_user(community_of_practice=community)
        filled = make.make_opportunity(status="filled")
        opened_at = timezone.now() - timedelta(days=8, hours=1)
        Opportunity.objects.filter(pk=filled.pk).update(opened_at=opened_at, filled_at=timezone.now())
        # The API takes any status: this one was never published.
        never_open = make.make_opportunity(status="draft", created_at=timezone.now() - timedelta(days=800))
        Opportunity.objects.filter(pk=never_open.pk).update(status="filled")

    def test_administrator_sees_gaps_first_and_each_number_as_counted(self) -> None:
        """A skill counts at the level that most listings ask for, and a volunteer who has at least that."""
        rows = {key: plot().rows for key, plot in PLOTS.items()}
        self.assertEqual(rows["skills"], [("Scarce, level 3", 3, 1), ("Common, level 1", 3, 5)])
        self.assertEqual(len(rows["months"]), 12)
        self.assertEqual([sum(numbers) for numbers in list(zip(*rows["months"], strict=True))[1:]], [4, 2])
        self.assertEqual([row for row in rows["days"] if row[1]], [("8 to 14", 1)])
        self.community.refresh_from_db()
        self.assertEqual([row for row in rows["communities"] if row[1]], [(self.community.name, 5)])

    def test_administrator_reads_each_plot_as_picture_table_and_file(self) -> None:
        """Pictures come as SVG from the server; a project manager gets none of it."""
        desk = make.form_client(make.make_admin_user())
        page = desk.get(SUPPLY_AND_DEMAND)
        self.assertContains(page, '<svg role="img"', len(PLOTS))
        self.assertContains(page, "<summary>As a table</summary>", len(PLOTS))
        self.assertContains(page, '<rect class="series-1" y="21" width="270" height="12">')
        self.assertContains(desk.get(INDEX), SUPPLY_AND_DEMAND)
        file = desk.get(SUPPLY_AND_DEMAND, {"csv": "skills"})
        self.assertIn('"Scarce, level 3","3","1"', file.content.decode())
        self.assertEqual(desk.get(SUPPLY_AND_DEMAND, {"csv": "x"}).status_code, 404)
        pm = make.form_client(make.make_pm_user())
        self.assertEqual(pm.get(SUPPLY_AND_DEMAND).status_code, 403)
        self.assertNotContains(pm.get(INDEX), SUPPLY_AND_DEMAND)
