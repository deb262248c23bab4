"""What a word is: the worked cases of the contract, by the API, and the properties of the definition."""

import json
from pathlib import Path

from django.test import TestCase
from django.urls import reverse
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase
from rest_framework.test import APITestCase

from ctj_api.models import Opportunity, Project, Role, Skill, UserProfile

from .common import execute, make_admin_user, make_opportunity, make_project, make_regular_user, make_role, make_skill

CASES = json.loads((Path(__file__).parent / "search_cases.json").read_text(encoding="utf-8"))
IS_NORMAL_AND_FINDS_ITSELF = """
    SELECT ctj_search_form(ctj_search_form(t)) = ctj_search_form(t), ctj_search_words(t) = ''
        OR ctj_search_lexemes(t) @@ ctj_search_query(t) AND ctj_search_lexemes('', t) @@ ctj_search_query(t || ' ')
    FROM (SELECT %s) AS given (t)
"""
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SIGNED = st.sampled_from(["C++", "F#", ".NET", "-", ".", "net", "the", " "])
TEXTS = st.lists(CHARACTERS | SIGNED, max_size=8).map("".join)


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


class CompoundTests(TestCase):
    """Words that are written joined, hyphened or apart."""

    def found(self, text: str) -> set[Opportunity]:
        """Return what a search finds."""
        return set(Opportunity.objects.search(text))

    def test_anyone_finds_compounds_of_the_catalog_however_they_are_written(self) -> None:
        """Each way finds all ways, also while no listing has the title or the skill, and in the middle of others."""
        make_role(title="Senior Front End Developer")
        make_skill(name="Node.js")
        for ways in (("front end", "front-end", "frontend"), ("node js", "Node.js", "nodejs")):
            listings = {make_opportunity(body=f"We need {way} people.") for way in ways}
            for way in ways:
                for text in (way, f"{way} ", f"need {way} people"):
                    with self.subTest(text):
                        self.assertEqual(self.found(text), listings)

    def test_anyone_finds_compounds_of_titles_while_they_are_typed(self) -> None:
        """Letter by letter; what a hyphen connects is a compound in any text."""
        listing = make_opportunity(role=make_role(title="Full Stack Developer"), body="Answer e-mail.")
        for word in ("fullstack", "full-stack", "full stack", "email", "e-mail", "stackdeveloper"):
            for length in range(1, len(word) + 1):
                with self.subTest(word[:length]):
                    self.assertEqual(self.found(word[:length]), {listing})

    def test_anyone_finds_a_compound_that_came_to_the_catalog_later(self) -> None:
        """Until then it is several words, as two names of a listing always are."""
        listing = make_opportunity(body="Care for site reliability.")
        self.assertEqual(self.found("sitereliability"), set())
        role = make_role(title="Site Reliability Engineer")
        self.assertEqual(self.found("sitereliability"), {listing})
        role.delete()
        self.assertEqual(self.found("sitereliability"), set())
        names = {make_skill(name="Java"): 3, make_skill(name="Script"): 3}
        make_opportunity(names, role=make_role(title="Data"), project=make_project(name="Base"))
        for text in ("javascript", "scriptjava", "database", "basedata", "basejava", "basescript"):
            self.assertEqual(self.found(text), set())


class DefinitionTests(HypothesisTestCase):
    """The functions of the database that say what a word is, with texts of all of Unicode."""

    @given(TEXTS)
    @example("ASP.NET, C++/C#: \u00bd \u212b\u0301 \ufdfa e\u00adx F\u266f\ufe0e i++ ..net")
    def test_anyone_finds_each_text_by_itself(self, text: str) -> None:
        """The normal form is its own; documents and queries have the same words, in names and texts, if any."""
        self.assertEqual(execute(IS_NORMAL_AND_FINDS_ITSELF, text), (True, True))


class CatalogSearchTests(APITestCase):
    """The search of skills and projects, and the boxes of the admin."""

    def setUp(self) -> None:
        """Make a row of each kind that has a name with all that matters, and another."""
        self.client.force_login(make_admin_user(email="root@example.org"))
        for name in ("Café e-mail with C++ & Node.js", "Caffeine"):
            skill, role, project = make_skill(name=name), make_role(title=name), make_project(name=name)
            make_opportunity({skill: 3}, role=role, project=project)
            make_regular_user(first_name=name, email=f"{skill.pk.int}@example.org")

    def test_administrator_searches_every_list_by_the_same_words(self) -> None:
        """Accents, signs and compounds as in listings, the middle of a word nowhere; accounts also by their address."""
        found = {"CAFE": 1, "c++": 1, "e-mail": 1, "nodejs caf": 1, "caf": 2, "C ": 0, "C#": 0, "afe": 0, "%": 0}
        for text, number in found.items():
            with self.subTest(text):
                for path in ("/api/skills/", "/api/projects/"):
                    self.assertEqual(len(self.client.get(path, {"search": text}).json()), number)
                for model in ("opportunity", "skill", "role", "project", "userprofile"):
                    page = self.client.get(reverse(f"admin:ctj_api_{model}_changelist"), {"q": text})
                    self.assertEqual(page.context["cl"].result_count, number)
        page = self.client.get(reverse("admin:ctj_api_userprofile_changelist"), {"q": "root@example.org"})
        self.assertEqual([user.email for user in page.context["cl"].result_list], ["root@example.org"])

    def test_anyone_searching_the_catalog_uses_an_index(self) -> None:
        """Also for accounts, of which there are many."""
        for model in (Role, Project, Skill, UserProfile):
            execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
            plan = model.objects.search("react develop").explain()
            self.assertIn(f"Bitmap Index Scan on {model._meta.model_name}_search", plan)
