"""What a word is: the worked cases of the contract, by the API, and the properties of the definition."""

import json
from pathlib import Path
from typing import Any

from rest_framework.test import APITestCase

from .common import make_opportunity, make_project, make_role, make_skill

CASES = json.loads((Path(__file__).parent / "search_cases.json").read_text(encoding="utf-8"))


class SearchCaseTests(APITestCase):
    """The listings of the worked cases, made once."""

    names: dict[str, str]

    @classmethod
    def setUpTestData(cls) -> None:
        """Make the listings."""
        cls.names = {}
        for name, listing in CASES["listings"].items():
            made = make_opportunity(
                {make_skill(name=skill): 3 for skill in listing["skills"]},
                role=make_role(title=listing["role"]),
                project=make_project(name=listing["project"]),
                body=listing["body"],
            )
            cls.names[str(made.pk)] = name

    def found(self, text: str) -> list[str]:
        """Return what a search finds, the best first."""
        response = self.client.get("/api/opportunities/", {"search": text, "ordering": "relevance"})
        return [self.names[row["id"]] for row in response.json()]

    def test_anyone_finds_what_the_worked_cases_say(self) -> None:
        """Exactly those, in the order that they tell."""
        self.assertEqual(len(CASES["searches"]), 29)
        for case in CASES["searches"]:
            found = self.found(case["q"])
            with self.subTest(case["q"]):
                self.assertCountEqual(found, case.get("finds", found))
                self.assertEqual(found[0], case.get("first", found[0]))
                for earlier, later in case.get("before", []):
                    self.assertLess(found.index(earlier), found.index(later))
