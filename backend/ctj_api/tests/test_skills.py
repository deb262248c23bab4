"""The skill catalog."""

from rest_framework.test import APITestCase

from .common import UNKNOWN_ID, error_of, make_cop, make_project, make_role, make_skill

URL = "/api/skills/"


class SkillTests(APITestCase):
    """What volunteers choose from."""

    def setUp(self) -> None:
        """Make two skills of engineering and one of no community."""
        self.engineering = make_cop("engineering")
        self.python = make_skill(name="Python", description="The language")
        self.react = make_skill(name="React")
        self.figma = make_skill(name="Figma")
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
        self.assertEqual(error_of(self.client.get(f"{URL}{UNKNOWN_ID}/"))["code"], "not_found")

    def test_anonymous_list_of_community_returns_its_skills(self) -> None:
        """The community is given by id, in any case, or by its practice area; nothing unusable is ignored."""
        for community in (str(self.engineering.pk), str(self.engineering.pk).upper(), "engineering"):
            with self.subTest(community):
                self.assertEqual(self.names(community_of_practice=community), ["Python", "React"])
        self.assertEqual(self.names(community_of_practice="devops"), [])
        bad = {"community_of_practice": ("", "gardening", UNKNOWN_ID, "engineering\x00"), "search": ("\x00", "a" * 201)}
        for name, value in ((name, value) for name, values in bad.items() for value in values):
            with self.subTest(name=name, value=value):
                response = self.client.get(URL, {name: value})
                self.assertEqual((response.status_code, list(error_of(response)["fields"])), (400, [name]))

    def test_anonymous_search_finds_names_and_descriptions(self) -> None:
        """Text is found in any case in names and descriptions; without one, all come by name."""
        self.assertEqual(self.names(), ["Figma", "Python", "React"])
        self.assertEqual(self.names(search="LANGUAGE"), ["Python"])
        self.assertEqual(self.names(search="re"), ["React"])
        self.assertEqual(self.names(search="%"), [])
        self.assertEqual(self.names(search="react", community_of_practice="devops"), [])

    def test_anonymous_lists_of_catalogs_take_a_constant_number_of_queries(self) -> None:
        """Rows, for skills their communities, and the version, however many there are."""
        for _ in range(50):
            make_skill().communities_of_practice.add(self.engineering)
            make_role()
            make_project()
        for name, queries in (("skills", 3), ("roles", 2), ("projects", 2), ("communities-of-practice", 2)):
            with self.subTest(name), self.assertNumQueries(queries):
                self.client.get(f"/api/{name}/")
