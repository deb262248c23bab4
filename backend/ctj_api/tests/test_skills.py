"""The skill catalog."""

from typing import Any

from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase
from django.urls import reverse
from rest_framework.test import APITestCase

from ctj_api.desk.skill_csv import SkillImport, read_rows
from ctj_api.models import Skill

from . import common as make

URL = "/api/skills/"


class SkillTests(APITestCase):
    """What volunteers choose from."""

    def setUp(self) -> None:
        """Make two skills of engineering and one of no community."""
        self.engineering = make.make_cop("engineering")
        self.python = make.make_skill(name="Python", description="The language")
        self.react = make.make_skill(name="React")
        self.figma = make.make_skill(name="Figma")
        for skill in (self.python, self.react):
            skill.communities_of_practice.add(self.engineering)

    def names(self, **query: str) -> list[str]:
        """Return the names that the list gives."""
        return [skill["name"] for skill in self.client.get(URL, query).json()]

    def test_anonymous_detail_returns_the_shape(self) -> None:
        """A skill has exactly the fields of the contract; an id that is nobody's is not found."""
        body = self.client.get(f"{URL}{self.python.pk}/").json()
        self.assertEqual(body.pop("created_at")[-1], "Z")
        self.assertEqual(body.pop("updated_at")[-1], "Z")
        self.assertEqual(
            body,
            {
                "id": str(self.python.pk),
                "name": "Python",
                "description": "The language",
                "communities_of_practice": [str(self.engineering.pk)],
            },
        )
        self.assertEqual(make.error_of(self.client.get(f"{URL}{make.UNKNOWN_ID}/"))["code"], "not_found")

    def test_anonymous_list_of_community_returns_its_skills(self) -> None:
        """The community is given by id, in any case, or by its practice area; nothing unusable is ignored."""
        for community in (str(self.engineering.pk), str(self.engineering.pk).upper(), "engineering"):
            with self.subTest(community):
                self.assertEqual(self.names(community_of_practice=community), ["Python", "React"])
        self.assertEqual(self.names(community_of_practice="devops"), [])
        bad = {
            "community_of_practice": ("", "gardening", make.UNKNOWN_ID, "engineering\x00"),
            "search": ("\x00", "a" * 201),
        }
        for name, value in ((name, value) for name, values in bad.items() for value in values):
            with self.subTest(name=name, value=value):
                response = self.client.get(URL, {name: value})
                self.assertEqual((response.status_code, list(make.error_of(response)["fields"])), (400, [name]))

    def test_anonymous_search_finds_names_and_descriptions(self) -> None:
        """Text is found in any case in names and descriptions; without one, all come by name."""
        self.assertEqual(self.names(), ["Figma", "Python", "React"])
        self.assertEqual(self.names(search="LANGUAGE"), ["Python"])
        self.assertEqual(self.names(search="re"), ["React"])
        self.assertEqual(self.names(search="%"), [])
        self.assertEqual(self.names(search="react", community_of_practice="devops"), [])

    def test_anonymous_search_puts_names_before_descriptions(self) -> None:
        """Whole words before beginnings, and other names count as names; equal hits go by name."""
        for name, aliases in {"Zig": ["reacting"], "Angular": [], "Vue": ["Re", "Reactive Vue"]}.items():
            make.make_skill(name=name, aliases=aliases, description="Unlike React")
        self.assertEqual(self.names(search="react"), ["React", "Zig", "Vue", "Angular"])
        self.assertEqual(self.names(search="re"), ["Vue", "React", "Zig", "Angular"])

    def test_anonymous_lists_of_catalogs_take_a_constant_number_of_queries(self) -> None:
        """Rows, for skills their communities, and the version, however many there are."""
        for _ in range(50):
            make.make_skill().communities_of_practice.add(self.engineering)
            make.make_role()
            make.make_project()
        for name, queries in (("skills", 3), ("roles", 2), ("projects", 2), ("communities-of-practice", 2)):
            with self.subTest(name), self.assertNumQueries(queries):
                self.client.get(f"/api/{name}/")


class SkillAliasTests(TestCase):
    """Other names of skills."""

    def setUp(self) -> None:
        """Make a skill with two other names, another one, and a listing that requires the first."""
        self.skill = make.make_skill(name="Kubernetes", aliases=["k8s", "Kube"])
        self.react = make.make_skill(name="React")
        self.listing = make.make_opportunity({self.skill: 3}, status="open")
        self.client.force_login(make.make_admin_user())

    def found(self, text: str) -> bool:
        """Return whether the search finds the listing, and the skill as well."""
        found = [len(self.client.get(f"/api/{path}/", {"search": text}).json()) for path in ("opportunities", "skills")]
        self.assertEqual(found[0], found[1])
        return bool(found[0])

    def save(self, skill: Skill, **changed: str) -> Any:
        """Return the answer to the form of a skill."""
        data = {"name": skill.name, "aliases": "\n".join(skill.aliases), **changed}
        return self.client.post(reverse("admin:ctj_api_skill_change", args=[skill.pk]), data, follow=True)

    def test_anyone_finds_a_skill_and_its_listings_by_other_names(self) -> None:
        """As soon as one is added, changed or removed, also by SQL."""
        self.assertTrue(self.found("K8S"))
        Skill.objects.filter(pk=self.skill.pk).update(aliases=["Container boats"])
        self.assertEqual([self.found(text) for text in ("k8s", "boats", "kubernetes")], [False, True, True])
        make.execute("UPDATE ctj_api_skill SET aliases = '{kates}' WHERE id = %s", self.skill.pk)
        self.assertEqual([self.found(text) for text in ("boats", "kates")], [False, True])
        make.execute("UPDATE ctj_api_skill SET aliases = '{}' WHERE id = %s", self.skill.pk)
        self.assertFalse(self.found("kates"))

    def test_administrator_writes_other_names_one_a_line(self) -> None:
        """They are stored in normal form, each once, without the name itself, and told in the history."""
        self.save(self.skill, aliases=" Kube\r\n\r\nkubernetes\nKUBE\nCafe\u0301,\u00a0bar")
        self.skill.refresh_from_db()
        self.assertEqual(self.skill.aliases, ["Kube", "Caf\u00e9, bar"])
        told = "Changed other names from k8s and Kube to Kube and Caf\u00e9, bar."
        self.assertEqual(LogEntry.objects.get().get_change_message(), told)
        self.assertContains(self.save(self.skill), "Kube\nCaf\u00e9, bar</textarea>", count=0)
        self.assertEqual(LogEntry.objects.count(), 1)

    def test_administrator_is_refused_a_name_of_another_skill(self) -> None:
        """In the form and in a file, also where the file itself gives it twice; too many and too long ones as well."""
        cases = {
            "KUBERNETES": ('"KUBERNETES" is a name of "Kubernetes".',) * 2,
            "K8s": ('"K8s" is a name of "Kubernetes".',) * 2,
            "\n".join(map(str, range(21))): ("no more than 20", "at most 20 other names"),
            "\n".join(letter * 200 for letter in "abcd"): ("and of 800 in all", "and of 800 in all"),
            "x" * 256: ("at most 255 characters", "of 255 characters"),
            "a\0b": ("Null characters", "null character"),
        }
        for aliases, (in_form, in_file) in cases.items():
            with self.subTest(in_file):
                self.assertIn(in_form, self.refused(self.react, aliases=aliases))
                self.assertIn(in_file, self.previewed(f'name,aliases\nReact,"{aliases}"\n'))
        self.assertIn('"k8S" is a name of "Kubernetes".', self.refused(self.react, name="k8S"))
        for file in ("name\nk8s\n", "name,aliases\nReact,new\nKubernetes,NEW\n", "name,aliases\na,\nb,A\n"):
            self.assertIn("is a name of", self.previewed(file))
        self.assertEqual(self.previewed("name,aliases\nreact,React\nKUBERNETES,kube\n"), "")

    def refused(self, skill: Skill, **changed: str) -> str:
        """Return why the form of a skill is refused."""
        errors = self.save(skill, **changed).context["adminform"].form.errors
        return " ".join(message for messages in errors.values() for message in messages)

    def previewed(self, file: str) -> str:
        """Return why the rows of a CSV file are refused."""
        upload = {"import_file": SimpleUploadedFile("skills.csv", file.encode())}
        preview = self.client.post(reverse("admin:ctj_api_skill_import"), upload).context["preview"]
        return " ".join(problem for row in preview.rows for problem in row.problems)

    def test_administrator_importing_writes_other_names_where_the_file_has_them(self) -> None:
        """A file without the column leaves them alone; the history tells."""
        for file, aliases in (
            ("name,description\nKubernetes,Pods\n", ["k8s", "Kube"]),
            ('name,aliases\nKubernetes,"k8s\nKates\nk8S"\n', ["k8s", "Kates"]),
            ("name,aliases\nKubernetes,\n", []),
        ):
            SkillImport(read_rows(file)).save(make.make_admin_user())
            self.skill.refresh_from_db()
            self.assertEqual(self.skill.aliases, aliases)
        told = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
        self.assertEqual(told[1], "Changed other names from k8s and Kube to k8s and Kates.")

    def test_administrator_merging_keeps_names_as_other_names(self) -> None:
        """First the kept skill's own, then the names, then other names of the others, twenty in all."""
        own = [str(number) for number in range(12)]
        dropped = [make.make_skill(name=name, aliases=[f"{name}{number}" for number in own]).pk for name in "AB"]
        Skill.objects.filter(pk__in=dropped).merge_into(self.skill)
        kept = ["k8s", "Kube", "A", "B", *(f"A{number}" for number in own), "B0", "B1", "B2", "B3"]
        self.assertEqual(Skill.objects.get(pk=self.skill.pk).aliases, kept)

    def test_administrator_deleting_a_skill_in_use_is_offered_to_merge_it(self) -> None:
        """From its own page and from the list; who may not merge isn't offered it."""
        delete = reverse("admin:ctj_api_skill_delete", args=[self.skill.pk])
        listed = reverse("admin:ctj_api_skill_changelist")
        choice = f'<option value="{self.react.pk}">React</option>'
        self.assertContains(self.client.get(delete), choice, html=True)
        chosen = {"action": "delete_selected", "_selected_action": [str(self.skill.pk), str(self.react.pk)]}
        page = self.client.post(listed, chosen)
        self.assertContains(page, "Merge Kubernetes instead")
        self.assertNotContains(page, "Merge React instead")
        page = self.client.post(listed, {**chosen, "action": "merge_selected"})
        self.assertContains(page, "Which skill do you keep?")
        self.client.force_login(make.make_staff_user("view_skill", "delete_skill"))
        self.assertNotContains(self.client.get(delete), choice, html=True)
