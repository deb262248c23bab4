"""``manage.py load_catalog``: what it loads, what it keeps, and what it says of a file that is no catalog."""

import json
import re
from io import StringIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from unittest.mock import patch

from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db.models import Model
from django.test import SimpleTestCase, TestCase
from django.utils import timezone

from ctj_api.catalog.loading import SHIPPED_CATALOG, read_catalog
from ctj_api.catalog.merging import LOADER
from ctj_api.models import CommunityOfPractice, Project, Role, Skill, SkillMatrix

from .common import count_queries, make_cop, make_opportunity, make_project, make_regular_user, make_role, make_skill

MODELS: tuple[type[Model], ...] = (CommunityOfPractice, Role, Skill, Skill.communities_of_practice.through, Project)
NOTHING = (
    "Catalog: 0 skills added, 0 skills updated, 0 roles added, "
    "0 projects added, 0 projects updated, 0 communities updated.\n"
)


def snapshot() -> list[list[dict[str, Any]]]:
    """Return every row that a catalog can touch, with all its values."""
    return [list(model._default_manager.order_by("pk").values()) for model in MODELS]


def week(*slots: dict[str, str]) -> dict[str, Any]:
    """Return weekly meetings."""
    return {"timezone": "America/Los_Angeles", "slots": list(slots)}


def ratings() -> list[dict[str, int]]:
    """Return what each matrix rates, by name, in the order in which they were made."""
    names = Skill.objects.names()
    matrices = SkillMatrix.objects.order_by("created_at")
    return [{names[skill]: level for skill, level in matrix.levels.items()} for matrix in matrices]


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
        printed = "222 skills added, 0 skills updated, 33 roles added, 14 projects added, 0 projects updated"
        self.assertEqual(self.load(), f"Catalog: {printed}, 0 communities updated.\n")
        areas = Skill.objects.get(name="Docker").communities_of_practice.values_list("practice_area", flat=True)
        self.assertLessEqual({"engineering", "devops"}, set(areas))
        self.assertEqual(Role.objects.filter(title="Data Engineer").count(), 2)
        before = snapshot()
        self.assertEqual([self.load(), self.load(if_empty=True)], [NOTHING, NOTHING])
        self.assertEqual(snapshot(), before)

    def test_administrators_keep_what_they_wrote(self) -> None:
        """Names in their own case, descriptions, communities and further skills all stay."""
        devops = CommunityOfPractice.objects.get(practice_area="devops")
        Skill.objects.create(name="DOCKER", description="Ours.")
        own = Skill.objects.create(name="Knitting", description="With two needles.")
        own.communities_of_practice.add(devops)
        community = {"practice_area": "devops", "name": "DevOps", "description": ""}
        theirs = {"name": "docker", "description": "Theirs.", "communities_of_practice": ["engineering"]}
        self.load({"communities_of_practice": [community], "skills": [theirs]})
        told = Skill.objects.order_by("name").values_list("name", "description")
        self.assertEqual(list(told), [("DOCKER", "Ours."), ("Knitting", "With two needles.")])
        devops.refresh_from_db()
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
        make_role(title="Café Owner", community_of_practice=make_cop("devops"))
        names = [{"name": name} for name in ("iSTANBUL", " οδοσ\n", "stra\u200bsse")]
        roles = [{"title": "CAFE\u0301\u00a0\u00a0owner", "community_of_practice": "devops"}]
        self.assertEqual(self.load({"skills": names, "projects": names, "roles": roles}), NOTHING)

    def test_operator_loads_only_if_empty(self) -> None:
        """The flag makes no difference where there is no skill; with one, nothing is changed or proposed."""
        skill = Skill.objects.create(name="Postgres")
        before = snapshot()
        self.assertEqual(self.load(if_empty=True), NOTHING)
        self.assertEqual(snapshot(), before)
        skill.delete()
        self.assertIn("222 skills added", self.load(if_empty=True))

    def test_operator_loads_any_catalog_in_as_many_queries(self) -> None:
        """Loading 222 skills takes as many queries as loading one."""
        Skill.objects.create(name="Sewing")
        roles = [{"title": "Knitter", "community_of_practice": "devops"}]
        skills = [{"name": "Knitting", "communities_of_practice": ["devops"]}]
        small = {"roles": roles, "skills": skills, "projects": [{"name": "Scarf"}]}
        for_small, for_shipped = count_queries(lambda: self.load(small)), count_queries(self.load)
        self.assertEqual(for_small, for_shipped)
        self.assertLess(for_shipped, 20)

    def test_operator_sets_the_meetings_that_the_file_has(self) -> None:
        """Also to none; without the key, and for a retired project, the stored ones stay."""
        stored, new = (week({"day": "mon", "start": "18:00", "end": end}) for end in ("19:00", "24:00"))
        given = week({"day": "mon", "start": "18:00", "end": "00:00"})
        retired = {"retired_at": timezone.now()}
        cases: tuple[tuple[dict[str, Any], dict[str, Any], Any], ...] = (
            ({}, {}, stored),
            ({"meeting_times": given}, {}, new),
            ({"meeting_times": None}, {}, None),
            ({"meeting_times": given}, retired, stored),
        )
        for number, (entry, fields, expected) in enumerate(cases):
            with self.subTest(entry, **fields):
                project = make_project(name=f"Scarf {number}", meeting_times=stored, **fields)
                catalog = {"projects": [{"name": project.name, **entry}]}
                self.assertIn(f" {int(expected != stored)} projects updated", self.load(catalog))
                self.assertEqual(self.load(catalog), NOTHING)
                project.refresh_from_db()
                self.assertEqual(project.meeting_times, expected)
        self.load({"projects": [{"name": "Hat", "meeting_times": given}]})
        self.assertEqual(Project.objects.get(name="Hat").meeting_times, new)

    def test_operator_brings_the_first_edition_to_the_second(self) -> None:
        """Merges are proposed, then made: each rating is found by the name, the higher of two, and history tells."""
        old = ("CSS", "HTML", "HTML/CSS", "Git (version control)", "Git/Version Control", "Postgres", "Knitting")
        css, html, both, git, version_control, postgres, own = (make_skill(name=name) for name in old)
        Skill.objects.filter(pk=postgres.pk).update(description="Ours.")
        make_regular_user({css: 4, html: 2, both: 3, own: 1})
        make_regular_user({git: 1, version_control: 5, html: 2})
        listing = make_opportunity({postgres: 3, css: 2})
        before = ratings()
        lines = ["Git: Git (version control), Git/Version Control", "HTML/CSS: CSS, HTML", "PostgreSQL: Postgres"]
        proposed = self.load()
        self.assertIn("219 skills added, 3 skills updated", proposed)
        self.assertEqual(proposed.splitlines()[2:], [f"  {line}" for line in lines])
        self.assertEqual((ratings(), Skill.objects.filter(name__in=old).count()), (before, len(old)))
        self.assertFalse(Skill.objects.filter(name__in=["Git", "PostgreSQL"]).exists())
        self.assertEqual(self.load(merge=True).splitlines()[2:], [f"  {line}" for line in lines])
        merged = [{"HTML/CSS": 4, "Knitting": 1}, {"Git": 5, "HTML/CSS": 2}, {"PostgreSQL": 3, "HTML/CSS": 2}]
        self.assertEqual(ratings(), merged)
        self.assertEqual(Skill.objects.get(name="PostgreSQL").description, "Ours.")
        self.assertEqual(set(Skill.objects.filter(description="")), {own})
        told = [
            (str(listing.pk), "Changed CSS, which became HTML/CSS."),
            (str(postgres.pk), "Changed name from Postgres to PostgreSQL and other names from nothing to Postgres."),
            (str(css.pk), "Merged into HTML/CSS."),
            (str(git.pk), "Merged into it: Git/Version Control."),
        ]
        by_loader = LogEntry.objects.filter(user__email=LOADER)
        entries = [(entry.object_id, entry.get_change_message()) for entry in by_loader]
        self.assertLessEqual(set(told), set(entries))
        stored = snapshot()
        self.assertEqual(self.load(merge=True), NOTHING)
        self.assertEqual((snapshot(), ratings(), LogEntry.objects.count()), (stored, merged, len(entries)))

    def test_operator_loading_an_old_file_gets_the_present_names(self) -> None:
        """Aliases of the shipped catalog count in any file, beside its own; what is retired isn't renamed."""
        make_skill(name="YARN", retired_at=timezone.now())
        make_skill(name="Spinning wheel")
        entries: list[dict[str, Any]] = [{"name": name} for name in ("HTML", "css", "Git (version control)")]
        entries += [{"name": "Knitting", "aliases": ["Yarn"]}, {"name": "Spinning", "aliases": ["spinning WHEEL"]}]
        entries[1]["communities_of_practice"] = ["devops"]
        self.assertIn("2 skills added, 0 skills updated", self.load({"skills": entries}, merge=True))
        names = Skill.objects.values_list("name", flat=True)
        self.assertEqual(set(names), {"HTML/CSS", "Git", "YARN", "Spinning"})
        self.assertEqual(Skill.objects.get(name="HTML/CSS").communities_of_practice.count(), 1)

    def test_operator_loads_aliases_beside_those_of_administrators(self) -> None:
        """Each that no other skill bears, twenty at most; former names aren't stored, merged skills don't come back."""
        make_skill(name="Knitting", aliases=["Yarn"])
        full = make_skill(name="Full", aliases=[str(number) for number in range(20)])
        make_skill(name="Purl", aliases=["Loops", "Crochet", "one too many"])
        entries: list[dict[str, Any]] = [
            {"name": "knitting", "aliases": ["loops", "Needles", "yarn"], "former_names": ["Needlework"]},
            {"name": "Sewing", "aliases": ["Stitches", "ONE too many"]},
            {"name": "FULL", "aliases": ["Twenty-one"]},
            {"name": "Crochet"},
        ]
        self.assertIn("1 skills added, 1 skills updated", self.load({"skills": entries}))
        self.assertEqual(self.load({"skills": entries}), NOTHING)
        aliases = dict(Skill.objects.values_list("name", "aliases"))
        self.assertEqual(aliases["Knitting"], ["Yarn", "Needles"])
        self.assertEqual((aliases["Sewing"], aliases["Full"]), (["Stitches"], full.aliases))
        self.assertNotIn("Crochet", aliases)
        self.load()
        self.assertEqual(Skill.objects.get(name="Kubernetes").aliases, ["k8s"])

    def test_operator_merging_while_people_depot_keeps_the_catalog_is_refused(self) -> None:
        """And nothing is renamed."""
        make_skill(name="Postgres")
        with self.settings(CATALOG_SOURCE="peopledepot"), self.assertRaisesMessage(CommandError, "PeopleDepot keeps"):
            self.load(merge=True)
        self.assertEqual(Skill.objects.get().name, "Postgres")

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
        """The message names the entry and what is wrong with it, for ten of them, and nothing is loaded."""
        good, scarf, knitting = {"name": "Knitting"}, {"name": "Scarf"}, 'skills, entry 1 ("Knitting"), '
        crafts, yarn = {**good, "communities_of_practice": ["devops", "crafts"]}, {**good, "aliases": ["Yarn"]}
        knitter = {"title": "Knitter", "community_of_practice": "crafts"}
        someday = week({"day": "someday", "start": "18:00", "end": "00:00"})
        skills: dict[str, list[Any]] = {
            "skills, entry 2: Invalid data. Expected a dictionary, but got int.": [good, 5],
            "skills, entry 2, name: This field is required.": [good, {}],
            "skills, entry 1, name: This field may not be blank.": [{"name": ""}],
            f'{knitting}communities_of_practice, entry 2: "crafts" is not a valid choice.': [crafts],
            'skills: "knitting" is listed more than once.': [good, {"name": "KNITTING"}],
            'skills: "yarn" is listed more than once.': [yarn, {"name": "yarn"}],
            f"{knitting}aliases, entry 2: This field may not be blank.": [{**good, "aliases": ["Yarn", "\u200b"]}],
            'skills, entry 1 ("\u200b\xa0"), name: This field may not be blank.': [{"name": "\u200b\u00a0"}],
            "Null characters are not allowed.": [{"name": "a\0"}],
            "Surrogate characters are not allowed": [{"name": "\ud800"}],
            "Ensure this field has no more than 255 characters.": [{"name": "a" * 256}],
        }
        projects: dict[str, dict[str, Any]] = {
            'projects, entry 1 ("Scarf"), size: This is not a part of a catalog.': {"size": 2},
            'projects, entry 1 ("Scarf"), meeting_times: slots[0].day: the day must be one of': {
                "meeting_times": someday
            },
        }
        cases: dict[str, object] = {
            "Invalid data. Expected a dictionary, but got list.": [],
            'skills: Expected a list of items but got type "dict".': {"skills": {}},
            "skill: This is not a part of a catalog.": {"skill": [good]},
            'roles, entry 1 ("Knitter"), community_of_practice: "crafts" is not a valid choice.': {"roles": [knitter]},
            **{told: {"skills": entries} for told, entries in skills.items()},
            **{told: {"skills": [good], "projects": [scarf | entry]} for told, entry in projects.items()},
        }
        for expected, content in cases.items():
            with self.subTest(expected):
                message = self.refusal(content)
                self.assertIn(f"{self.file} is not a catalog:\n", message)
                self.assertIn(expected, message)
                self.assertFalse(Skill.objects.exists())


class ShippedCatalogTests(SimpleTestCase):
    """The file that comes with the program."""

    def test_volunteers_can_tell_all_skills_apart(self) -> None:
        """No name or alias is another skill's in letters, digits, # and +, and each skill is told in one sentence."""
        owners: dict[str, str] = {}
        for skill in read_catalog(SHIPPED_CATALOG)["skills"]:
            with self.subTest(skill["name"]):
                for name in (skill["name"], *skill["aliases"]):
                    key = re.sub(r"[^a-z0-9#+]", "", name.lower())
                    self.assertEqual(owners.setdefault(key, skill["name"]), skill["name"])
                self.assertRegex(skill["description"], r"^Level 1: [^.!?:;]+; level 5: [^.!?:;]+\.$")
                self.assertTrue(12 <= len(skill["description"].split()) <= 30)
                self.assertTrue(skill["communities_of_practice"])
