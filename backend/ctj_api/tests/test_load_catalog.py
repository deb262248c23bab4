"""``manage.py load_catalog``: what it loads, what it keeps, and what it says of a file that is no catalog."""

import json
from io import StringIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from unittest.mock import patch

from django.core.management import CommandError, call_command
from django.db.models import Model
from django.test import TestCase

from ctj_api.models import CommunityOfPractice, Project, Role, Skill

from .common import count_queries

MODELS: tuple[type[Model], ...] = (CommunityOfPractice, Role, Skill, Skill.communities_of_practice.through, Project)
NOTHING = "Catalog: 0 skills added, 0 skills updated, 0 roles added, 0 projects added, 0 communities updated.\n"


def snapshot() -> list[list[dict[str, Any]]]:
    """Return every row that a catalog can touch, with all its values."""
    return [list(model._default_manager.order_by("pk").values()) for model in MODELS]


class CatalogTests(TestCase):
    """The command in a database that has been migrated and nothing more."""

    def setUp(self) -> None:
        """Give each test a catalog file of its own."""
        self.file = Path(self.enterContext(NamedTemporaryFile(suffix=".json")).name)

    def load(self, content: object = None, **options: Any) -> str:
        """Run the command, on a file of ``content`` where there is any, and return what it prints."""
        output = StringIO()
        files = []
        if content is not None:
            self.file.write_text(content if isinstance(content, str) else json.dumps(content))
            files.append(str(self.file))
        call_command("load_catalog", *files, stdout=output, **options)
        return output.getvalue()

    def refusal(self, content: object) -> str:
        """Return the message with which the command refuses a file of ``content``."""
        with self.assertRaises(CommandError) as caught:
            self.load(content)
        return str(caught.exception)

    def test_operator_loads_the_shipped_file_by_default(self) -> None:
        """The Hack for LA catalog comes with the program; a second run touches no row and no time of change."""
        printed = "227 skills added, 0 skills updated, 23 roles added, 14 projects added, 0 communities updated"
        self.assertEqual(self.load(), f"Catalog: {printed}.\n")
        areas = Skill.objects.get(name="Docker").communities_of_practice.values_list("practice_area", flat=True)
        self.assertEqual(set(areas), {"engineering", "devops"})
        self.assertEqual(Role.objects.filter(title="Data Engineer").count(), 2)
        before = snapshot()
        self.assertEqual(self.load(), NOTHING)
        self.assertEqual(snapshot(), before)

    def test_administrators_keep_what_they_wrote(self) -> None:
        """Names in their own case, descriptions, communities and further skills all stay."""
        devops = CommunityOfPractice.objects.get(practice_area="devops")
        docker = Skill.objects.create(name="DOCKER", description="Ours.")
        own = Skill.objects.create(name="Knitting", description="With two needles.")
        own.communities_of_practice.add(devops)
        self.load(
            {
                "communities_of_practice": [{"practice_area": "devops", "name": "DevOps", "description": ""}],
                "skills": [{"name": "docker", "description": "Theirs.", "communities_of_practice": ["engineering"]}],
            }
        )
        for row in (docker, own, devops):
            row.refresh_from_db()
        self.assertEqual((docker.name, docker.description), ("DOCKER", "Ours."))
        self.assertEqual((own.name, own.description), ("Knitting", "With two needles."))
        self.assertEqual(devops.description, "Dev and IT Operations")
        self.assertEqual(list(own.communities_of_practice.all()), [devops])

    def test_operator_adds_missing_communities_and_description_to_a_skill(self) -> None:
        """The skill gains what the file knows beyond the database, and counts as updated once."""
        skill = Skill.objects.create(name="Docker")
        skill.communities_of_practice.add(CommunityOfPractice.objects.get(practice_area="ui_ux"))
        entry = {"name": "docker", "description": "Containers.", "communities_of_practice": ["devops", "devops"]}
        self.assertIn("0 skills added, 1 skills updated", self.load({"skills": [entry]}))
        changed = Skill.objects.get()
        self.assertEqual(changed.description, "Containers.")
        self.assertGreater(changed.updated_at, skill.updated_at)
        areas = changed.communities_of_practice.values_list("practice_area", flat=True)
        self.assertEqual(set(areas), {"ui_ux", "devops"})

    def test_operator_updates_communities_that_are_there(self) -> None:
        """Name and description of a community follow the file; no sixth one appears."""
        entry = {"practice_area": "data_science", "name": "Data", "description": "Numbers for people"}
        self.assertIn("1 communities updated", self.load({"communities_of_practice": [entry]}))
        changed = CommunityOfPractice.objects.get(practice_area="data_science")
        self.assertEqual((changed.name, changed.description), ("Data", "Numbers for people"))
        self.assertEqual(CommunityOfPractice.objects.count(), 5)

    def test_operator_loads_names_in_any_case_as_the_database_knows_them(self) -> None:
        """Letters whose case depends on language or place don't lead to a clash with the database's own rule."""
        for name in ("İSTANBUL", "ΟΔΟΣ", "STRASSE"):
            Skill.objects.create(name=name)
            Project.objects.create(name=name)
        Role.objects.create(
            title="Café Owner", community_of_practice=CommunityOfPractice.objects.get(practice_area="devops")
        )
        names = [{"name": name} for name in ("iSTANBUL", " οδοσ\n", "stra\u200bsse")]
        roles = [{"title": "CAFE\u0301\u00a0\u00a0owner", "community_of_practice": "devops"}]
        self.assertEqual(self.load({"skills": names, "projects": names, "roles": roles}), NOTHING)

    def test_operator_loads_only_if_empty(self) -> None:
        """The flag makes no difference where there is no skill; one skill is enough to leave everything alone."""
        skill = Skill.objects.create(name="Knitting")
        before = snapshot()
        self.assertEqual(self.load(if_empty=True), NOTHING)
        self.assertEqual(snapshot(), before)
        skill.delete()
        self.assertIn("227 skills added", self.load(if_empty=True))

    def test_operator_loads_any_catalog_in_as_many_queries(self) -> None:
        """Loading 227 skills takes as many queries as loading one."""
        Skill.objects.create(name="Sewing")
        small = {
            "roles": [{"title": "Knitter", "community_of_practice": "devops"}],
            "skills": [{"name": "Knitting", "communities_of_practice": ["devops"]}],
            "projects": [{"name": "Scarf"}],
        }
        for_small, for_shipped = count_queries(lambda: self.load(small)), count_queries(self.load)
        self.assertEqual(for_small, for_shipped)
        self.assertLess(for_shipped, 15)

    def test_operator_whose_load_fails_half_way_has_loaded_nothing(self) -> None:
        """What was written before an error is taken back."""
        with patch("ctj_api.catalog.loading._add_missing", side_effect=RuntimeError), self.assertRaises(RuntimeError):
            self.load()
        self.assertFalse(Skill.objects.exists())

    def test_operator_is_told_why_a_file_cannot_be_read(self) -> None:
        """The message names the file, and the place where its JSON goes wrong; brackets without end don't crash."""
        message = self.refusal('{"skills": [}')
        self.assertIn(f"{self.file} is not JSON: ", message)
        self.assertIn("line 1 column 13", message)
        self.assertIn("is not JSON", self.refusal("[" * 200_000))
        with self.assertRaisesMessage(CommandError, "/nowhere.json can't be read: No such file or directory."):
            call_command("load_catalog", "/nowhere.json")

    def test_operator_is_told_which_entry_is_wrong(self) -> None:
        """The message names the entry and what is wrong with it, and nothing is loaded."""
        good = {"name": "Knitting"}
        cases: dict[str, object] = {
            "Invalid data. Expected a dictionary, but got list.": [],
            'skills: Expected a list of items but got type "dict".': {"skills": {}},
            "skills, entry 2: Invalid data. Expected a dictionary, but got int.": {"skills": [good, 5]},
            "skills, entry 2, name: This field is required.": {"skills": [good, {}]},
            "skills, entry 1, name: This field may not be blank.": {"skills": [{"name": ""}]},
            'projects, entry 1 ("Scarf"), size: This is not a part of a catalog.': {
                "skills": [good],
                "projects": [{"name": "Scarf", "size": 2}],
            },
            'skills, entry 1 ("Knitting"), communities_of_practice, entry 2: "crafts" is not a valid choice.': {
                "skills": [{**good, "communities_of_practice": ["devops", "crafts"]}]
            },
            'roles, entry 1 ("Knitter"), community_of_practice: "crafts" is not a valid choice.': {
                "roles": [{"title": "Knitter", "community_of_practice": "crafts"}]
            },
            'skills: "knitting" is listed more than once.': {"skills": [good, {"name": "KNITTING"}]},
            "skill: This is not a part of a catalog.": {"skill": [good]},
            'skills, entry 1 ("\u200b\xa0"), name: This field may not be blank.': {
                "skills": [{"name": "\u200b\u00a0"}]
            },
            "Null characters are not allowed.": {"skills": [{"name": "a\0"}]},
            "Surrogate characters are not allowed": {"skills": [{"name": "\ud800"}]},
            "Ensure this field has no more than 255 characters.": {"skills": [{"name": "a" * 256}]},
        }
        for expected, content in cases.items():
            with self.subTest(expected):
                message = self.refusal(content)
                self.assertIn(f"{self.file} is not a catalog:\n", message)
                self.assertIn(expected, message)
                self.assertFalse(Skill.objects.exists())

    def test_operator_is_told_of_ten_problems(self) -> None:
        """Ten problems are told, the others counted."""
        message = self.refusal({"projects": [{}] * 25})
        self.assertEqual(len(message.splitlines()), 12)
        self.assertTrue(message.endswith("and 15 more."))
