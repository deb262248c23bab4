"""Versions, which are others after every change, and only then."""

from collections.abc import Callable

from django.db import transaction
from django.test import TransactionTestCase

from ctj_api.models import CommunityOfPractice, Opportunity, Project, Role, Skill, SkillMatrix, UserProfile
from ctj_api.ranking.row_changes import LISTING_VERSION, TABLES

from . import common as make
from .common import execute


class ListingVersionTests(TransactionTestCase):
    """What the validator of the listing is made of."""

    def setUp(self) -> None:
        """Post a listing."""
        self.skill, self.pm = make.make_skill(), make.make_pm_user()
        self.listing = make.make_opportunity({self.skill: 3}, created_by=self.pm)
        self.listings = Opportunity.objects.filter(pk=self.listing.pk)

    def test_version_changes_with_whatever_is_told_of_a_listing(self) -> None:
        """Its own values, its skills, the names of what it refers to; and when a table is emptied."""
        project, author = make.make_project(), make.make_pm_user()
        role = make.make_role(community_of_practice=make.make_cop("engineering"))
        values = {
            "body": "Other words.",
            "min_experience_required": "senior",
            "min_hours_required": 9,
            "work_environment": "hybrid",
            "meeting_times": make.WEEK,
            "status": "filled",
            "project": project,
            "role": role,
            "created_by": author,
        }
        changes: list[Callable[[], object]] = [
            make.make_opportunity,
            *(lambda name=name, value=value: self.listings.update(**{name: value}) for name, value in values.items()),
            lambda: SkillMatrix.objects.filter(opportunity=self.listing).update(levels={str(self.skill.pk): 1}),
            lambda: Skill.objects.filter(pk=self.skill.pk).update(name="Renamed"),
            lambda: Project.objects.filter(pk=project.pk).update(name="Renamed"),
            lambda: Project.objects.filter(pk=project.pk).update(meeting_times=make.WEEK),
            lambda: CommunityOfPractice.objects.filter(roles=role).update(name="Renamed"),
            lambda: Role.objects.filter(pk=role.pk).update(title="Renamed"),
            lambda: Role.objects.filter(pk=role.pk).update(community_of_practice=make.make_cop("devops")),
            lambda: UserProfile.objects.filter(pk=author.pk).update(email="renamed@example.org"),
            lambda: UserProfile.objects.get(pk=author.pk).delete(),
            lambda: replace_project(project),
            move_community,
            lambda: self.listings.get().delete(),
        ]
        for number, change in enumerate(changes):
            before = LISTING_VERSION.read()
            change()
            with self.subTest(number):
                self.assertNotEqual(LISTING_VERSION.read(), before)
        for table in TABLES:
            before = LISTING_VERSION.read()
            execute(f"TRUNCATE ctj_api_{table} CASCADE")  # of which no trigger tells
            with self.subTest(table):
                self.assertNotEqual(LISTING_VERSION.read(), before)

    def test_file_of_every_table_that_notes_changes_is_watched(self) -> None:
        """No trigger of a row tells that its table was emptied, only another file does."""
        noting = "SELECT array_agg(DISTINCT tgrelid::regclass::text) FROM pg_trigger WHERE tgname LIKE '%notes%'"
        self.assertEqual(set(*execute(noting)), {f"ctj_api_{table}" for table in TABLES})

    def test_version_stays_when_nothing_of_a_listing_changes(self) -> None:
        """The qualifier and other words of catalogs don't count; within a write it isn't known."""
        volunteer = make.make_regular_user({self.skill: 2})
        before = LISTING_VERSION.read()
        make.make_regular_user({self.skill: 1})
        SkillMatrix.objects.filter(volunteer=volunteer).update(levels={str(self.skill.pk): 5})
        UserProfile.objects.filter(pk=self.pm.pk).update(first_name="Ana", max_available_hours=3)
        Skill.objects.filter(pk=self.skill.pk).update(description="Other words.")
        Project.objects.update(meeting_times=None)
        CommunityOfPractice.objects.update(description="Other words.")
        self.assertEqual(LISTING_VERSION.read(), before)
        with transaction.atomic():
            self.assertEqual(LISTING_VERSION.read(), before)
            self.listings.update(body="Other words.")
            self.assertIsNone(LISTING_VERSION.read())

    def test_version_changes_with_a_transaction_that_began_before_others_ended(self) -> None:
        """A higher number was seen before; the end of one that changed no listing changes nothing."""
        other = make.make_opportunity()
        with make.other_connection() as early, make.other_connection() as long, make.other_connection() as late:
            for begun in (early, long):
                begun.execute("SELECT pg_current_xact_id()")
            early.execute("UPDATE ctj_api_opportunity SET body = 'early' WHERE id = %s", [self.listing.pk])
            late.execute("UPDATE ctj_api_opportunity SET body = 'late' WHERE id = %s", [other.pk])
            versions = [LISTING_VERSION.read(), LISTING_VERSION.read()]
            for connection_ in (late, early):
                connection_.commit()
                versions += [LISTING_VERSION.read(), LISTING_VERSION.read()]
            long.commit()
            self.assertEqual(LISTING_VERSION.read(), versions[-1])
        self.assertEqual(versions[::2], versions[1::2])
        self.assertEqual(len(set(versions)), 3)

    def test_version_changes_beside_notes_of_another_cluster(self) -> None:
        """A restored note may carry the number of a transaction that is yet to come."""
        other = make.make_opportunity()
        with make.other_connection() as first, make.other_connection() as second:
            first.execute("SELECT pg_current_xact_id()")
            coming = second.execute("SELECT pg_current_xact_id()").fetchone()
            assert coming
            execute("ALTER TABLE ctj_change DISABLE TRIGGER USER")
            execute("UPDATE ctj_change SET changed_by = %s::text::xid8 WHERE owner = %s", coming[0], other.pk)
            make.make_opportunity()
            before = LISTING_VERSION.read()
            second.execute("UPDATE ctj_api_opportunity SET body = 'changed' WHERE id = %s", [self.listing.pk])
            second.commit()
            self.assertNotEqual(LISTING_VERSION.read(), before)


def replace_project(project: Project) -> None:
    """Put another project in the place of one, before the foreign keys are checked."""
    with transaction.atomic():
        execute("DELETE FROM ctj_api_project WHERE id = %s", project.pk)
        Project.objects.create(pk=project.pk, name="In its place")


def move_community() -> None:
    """Let a community have another practice area, which filters go by."""
    CommunityOfPractice.objects.filter(practice_area="ui_ux").delete()
    CommunityOfPractice.objects.filter(practice_area="devops").update(practice_area="ui_ux")
