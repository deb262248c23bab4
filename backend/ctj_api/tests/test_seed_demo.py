"""``manage.py seed_demo``: what a demo holds, that it is the same each time, and where it is refused."""

from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any
from unittest.mock import patch

from django.core.management import CommandError, call_command
from django.db.models import Model
from django.test import TestCase, override_settings
from django.utils import timezone

from ctj_api.catalog.demo import read_demo
from ctj_api.catalog.loading import SHIPPED_CATALOG, read_catalog
from ctj_api.enums import Experience, PracticeArea, Status, WorkEnvironment
from ctj_api.models import CommunityOfPractice, Opportunity, Project, Role, Skill, SkillMatrix, UserProfile

from .common import count_queries


def seed(**options: Any) -> str:
    """Run the command and return what it prints."""
    output = StringIO()
    call_command("seed_demo", stdout=output, **options)
    return output.getvalue()


def rows_of(model: type[Model], *related: str) -> dict[object, dict[str, Any]]:
    """Return the rows by id, without the times, which follow the clock, and the password."""
    left_out = {"created_at", "updated_at", "date_joined", "last_login", "password", "search_document"}
    left_out |= {"opened_at", "filled_at"}
    fields = [field.attname for field in model._meta.concrete_fields if field.attname not in left_out]
    return {row["id"]: row for row in model._default_manager.values(*fields, *related)}


def demo_rows() -> tuple[dict[object, dict[str, Any]], dict[object, dict[str, Any]]]:
    """Return the listings and the accounts."""
    accounts = rows_of(UserProfile, "skills_learned_matrix__levels")
    return rows_of(Opportunity, "skills_required_matrix__levels"), accounts


def delete_demo() -> None:
    """Delete all listings and accounts; the matrices go with them, the catalog stays."""
    Opportunity.objects.all().delete()
    UserProfile.objects.all().delete()


@override_settings(DEBUG=True)
class DemoTests(TestCase):
    """The command in a development set-up, starting from a database that has been migrated and nothing more."""

    def test_maintainer_gets_accounts_and_listings_of_every_kind(self) -> None:
        """The default demo has every state and predictable addresses; another seed adds listings."""
        self.assertIn("0 opportunities, 2 project managers and 0 volunteers", seed(opportunities=0, volunteers=0))
        printed = seed(password="demo")
        self.assertEqual(printed, "Demo: 40 opportunities, 2 project managers and 30 volunteers added.\n")
        self.assertEqual(Skill.objects.count(), 222)
        statuses = list(Opportunity.objects.values_list("status", flat=True))
        self.assertEqual(set(statuses), set(Status))
        self.assertGreater(statuses.count(Status.OPEN), len(statuses) / 2)
        community = "role__community_of_practice__practice_area"
        for column, choices in {"work_environment": WorkEnvironment, community: PracticeArea}.items():
            self.assertEqual(set(Opportunity.objects.values_list(column, flat=True)), set(choices))
        self.assertGreater(Opportunity.objects.values("created_by").distinct().count(), 1)
        self.assertFalse(Project.objects.filter(meeting_times__isnull=True).exists())
        volunteers = UserProfile.objects.filter(is_project_manager=False)
        self.assertEqual(volunteers.filter(skills_learned_matrix=None).count(), 3)
        self.assertEqual(volunteers.filter(meeting_availability__isnull=True).count(), 3)
        numbered = [("pm", number) for number in range(1, 5)] + [("volunteer", number) for number in range(1, 31)]
        accounts = UserProfile.objects.filter(is_superuser=False, is_staff=False)
        expected = {f"{kind}{number}@example.org": kind == "pm" for kind, number in numbered}
        self.assertEqual(dict(accounts.values_list("email", "is_project_manager")), expected)
        self.assertEqual(UserProfile.objects.count(), 34)
        self.assertEqual(seed(seed=2), "Demo: 40 opportunities, 0 project managers and 0 volunteers added.\n")
        self.assertEqual(Opportunity.objects.values("body").distinct().count(), 80)

    def test_maintainer_gets_rows_of_the_past_120_days_that_satisfy_every_validator(self) -> None:
        """Most skills of a volunteer are of their community, and managers joined before the first listing."""
        seed(opportunities=100, volunteers=100)
        for model in (Opportunity, UserProfile, Project, SkillMatrix):
            for row in model._default_manager.all():
                row.clean_fields()
        matrices = SkillMatrix.objects.filter(volunteer__isnull=False)
        for community, levels in matrices.values_list("volunteer__community_of_practice", "levels"):
            self.assertIn(len(levels), range(3, 13))
            of_community = Skill.objects.filter(pk__in=levels, communities_of_practice=community)
            self.assertGreaterEqual(of_community.count(), len(levels) - 1)
        now = timezone.now()
        managers = UserProfile.objects.filter(is_project_manager=True).values_list("created_at", flat=True)
        volunteers = UserProfile.objects.filter(is_project_manager=False).values_list("created_at", flat=True)
        listings = Opportunity.objects.values_list("created_at", flat=True)
        self.assertGreater(min(managers), now - timedelta(days=121))
        self.assertLess(max(managers), min([*volunteers, *listings]))
        self.assertLess(max([*volunteers, *listings]), now)
        self.assertGreater(max(listings) - min(listings), timedelta(days=100))

    def test_maintainer_gets_the_same_rows_again(self) -> None:
        """The same ids, texts and levels come back in batches of any size, and in a larger demo."""
        seed(opportunities=60, volunteers=50)
        large = demo_rows()
        delete_demo()
        self.assertFalse(SkillMatrix.objects.exists())
        seed(opportunities=15, volunteers=10)
        for small_rows, large_rows in zip(demo_rows(), large, strict=True):
            self.assertLessEqual(small_rows.items(), large_rows.items())
        with patch("ctj_api.catalog.demo.BATCH_SIZE", 7):
            seed(opportunities=60, volunteers=50)
        self.assertEqual(demo_rows(), large)

    def test_maintainer_running_it_twice_keeps_what_was_edited(self) -> None:
        """Edits stay, somebody's own account at a demo address is left alone, and what was deleted comes back."""
        UserProfile.objects.create_user("pm1@example.org", "own password", first_name="Own")
        seed(password="demo")
        account = UserProfile.objects.get(email="pm1@example.org")
        self.assertEqual(account.first_name, "Own")
        self.assertTrue(account.check_password("own password"))
        edited, deleted = Opportunity.objects.values_list("pk", flat=True)[:2]
        Opportunity.objects.filter(pk=edited).update(body="Edited.")
        UserProfile.objects.filter(email="volunteer1@example.org").update(email="renamed@example.org")
        Project.objects.filter(name="VRMS").update(meeting_times={"timezone": "UTC", "slots": []})
        Opportunity.objects.filter(pk=deleted).delete()
        self.assertEqual(seed(), "Demo: 1 opportunities, 0 project managers and 0 volunteers added.\n")
        self.assertEqual(Opportunity.objects.get(pk=edited).body, "Edited.")
        self.assertTrue(Opportunity.objects.filter(pk=deleted).exists())
        self.assertEqual(Project.objects.get(name="VRMS").meeting_times, {"timezone": "UTC", "slots": []})

    def test_maintainer_with_another_catalog_keeps_it(self) -> None:
        """Roles and projects that the texts don't know get general words, and skills of their community."""
        devops = CommunityOfPractice.objects.get(practice_area="devops")
        Role.objects.create(title="Gardener", community_of_practice=devops)
        Project.objects.create(name="{Garden} 100%")
        skill = Skill.objects.create(name="Pruning")
        seed(opportunities=5, volunteers=5)
        self.assertEqual(Skill.objects.count(), 1)
        for opportunity in Opportunity.objects.select_related("skills_required_matrix"):
            self.assertIn("{Garden} 100%", opportunity.body)
            self.assertEqual(opportunity.skills_required_matrix.levels.keys(), {str(skill.pk)})

    def test_maintainer_is_told_a_random_password_once_or_gives_one(self) -> None:
        """It is printed when it was given to an account; former accounts keep theirs."""
        password = seed(volunteers=1).split()[-1]
        self.assertNotIn("password", seed(volunteers=1))
        self.assertNotIn("password", seed(volunteers=2, password="second"))
        for place, own in ((1, password), (2, "second")):
            self.assertTrue(UserProfile.objects.get(email=f"volunteer{place}@example.org").check_password(own))

    def test_maintainer_in_production_is_refused(self) -> None:
        """Accounts with well-known addresses never come there."""
        message = "seed_demo runs in development only (DJANGO_DEBUG=true)"
        with self.settings(DEBUG=False), self.assertRaisesMessage(CommandError, message):
            seed()
        self.assertFalse(UserProfile.objects.exists() or Skill.objects.exists())

    def test_maintainer_gets_any_size_in_as_many_queries(self) -> None:
        """Rows are written by the batch."""
        seed(opportunities=0, volunteers=0)
        counts = []
        for size in (1, 200):
            delete_demo()
            with patch("ctj_api.catalog.demo.reset_queries"):
                counts.append(count_queries(partial(seed, opportunities=size, volunteers=size)))
        self.assertEqual(counts[0], counts[1])
        self.assertLess(counts[1], 40)

    def test_texts_know_every_role_project_and_choice(self) -> None:
        """No listing needs general words, and each role asks for seven skills of its community."""
        catalog, texts = read_catalog(SHIPPED_CATALOG), read_demo("texts")
        titles = {(area, title) for area, roles in texts["roles"].items() for title in roles}
        self.assertEqual(titles, {(role["community_of_practice"], role["title"]) for role in catalog["roles"]})
        self.assertEqual(texts["projects"].keys(), {project["name"] for project in catalog["projects"]})
        of_area = dict.fromkeys(("roles", "communities"), PracticeArea)
        for name, choices in {**of_area, "experiences": Experience, "work_environments": WorkEnvironment}.items():
            self.assertEqual(texts[name].keys(), set(choices))
        for area, roles in texts["roles"].items():
            known = {skill["name"] for skill in catalog["skills"] if area in skill["communities_of_practice"]}
            for title, text in roles.items():
                with self.subTest(title):
                    self.assertLessEqual(set(text["skills"]), known)
                    self.assertGreaterEqual(len(set(text["skills"])), 7)
