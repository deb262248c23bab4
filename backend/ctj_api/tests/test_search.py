"""Full-text search: which words find what, in worked cases and any text; documents follow each change."""

import json
from datetime import timedelta
from pathlib import Path

from django.core import serializers
from django.db import IntegrityError, transaction
from django.test import TestCase
from django.urls import reverse
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase
from rest_framework.test import APITestCase

from ctj_api.models import Opportunity, Project, Role, Skill, SkillMatrix, UserProfile

from . import common as make

CASES = json.loads((Path(__file__).parent / "search_cases.json").read_text(encoding="utf-8"))
IS_NORMAL_AND_FINDS_ITSELF = """
    SELECT ctj_search_form(ctj_search_form(t)) = ctj_search_form(t), ctj_search_words(t) = ''
        OR ctj_search_lexemes(t) @@ ctj_search_query(t) AND ctj_search_lexemes('', t) @@ ctj_search_query(t || ' ')
    FROM (SELECT %s) AS given (t)
"""
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SIGNED = st.sampled_from(["C++", "F#", ".NET", "-", ".", "net", "the", " "])
TEXTS = st.lists(CHARACTERS | SIGNED, max_size=8).map("".join)


class SearchTests(TestCase):
    """What is found."""

    def setUp(self) -> None:
        """Make a listing with a word of its own in each place, and one beside it."""
        self.listing = make.make_opportunity(
            {make.make_skill(name="CI/CD with GitHub Actions"): 3, make.make_skill(name="Node.js"): 2},
            role=make.make_role(title="UI/UX Designer"),
            project=make.make_project(name="Food Oasis"),
            # PostgreSQL takes curly quotes and no-break spaces for letters where the locale of the database is C.
            body="We're developing maps of pantries. It's a high-fidelity job: 24 hours, C++ & über-tests, 日本語. "
            "“Gondoliers” don\u2019t row\u00a0zeppelins\u2013ever… 🚀launch",
        )
        make.make_opportunity(body="Nothing that anybody looks for.")

    def finds(self, text: str) -> bool:
        """Return whether the text finds the listing, which nothing else is found with."""
        found = list(Opportunity.objects.search(text))
        self.assertLessEqual(set(found), {self.listing})
        return bool(found)

    def test_anyone_finds_words_of_every_place_in_any_form(self) -> None:
        """Whatever the punctuation, stemmed, in any order; only the last of all words may be unfinished."""
        places = ("designer", "Oasis", "github", "pantries", "PANTRIES designer github oasis")
        stems = ("pantry", "develops maps", "mapping pantry", "designs", "job's")
        beginnings = ("maps pant", "the pantries", "pantries for the", "we", "über", "日本")
        spelled = ("ux", "ui ux", "UI/UX", "cd", "ci/cd", "ci-cd", "node.js", "node js", "js")
        hyphenated = ("fidelity", "high-fidelity", "high fidelity")
        signed = ("C++", '"pantries"', "pantries!", "(pantries)", "oasis:food", "it's", "#24", "github_actions")
        beyond_ascii = (
            "gondoliers",
            "“gondolier”",
            "don\u2019t row",
            "don't row",
            "row zeppelins",
            "ever",
            "launch 🚀",
        )
        found = (*places, *stems, *beginnings, *spelled, *hyphenated, *signed, *beyond_ascii)
        for text in (*found, "pantries volleyball", "volleyball pantries", "pant maps", "the", "本語"):
            with self.subTest(text):
                self.assertEqual(self.finds(text), text in found)

    def test_anyone_searching_finds_other_forms_but_no_longer_words(self) -> None:
        """With "React develop" developers and developing are found; with "planning" no "planet"."""
        title = make.make_opportunity(role=make.make_role(title="React developer"), body="Another planet with plants.")
        body = make.make_opportunity(body="You will be developing in React, and like to plan.")
        self.assertEqual(set(Opportunity.objects.search("react develop")), {title, body})
        self.assertEqual(list(Opportunity.objects.search("planning")), [body])

    def test_anyone_searching_takes_any_text(self) -> None:
        """Operators, quotes, controls and endless words are no error; without a word, nothing is found."""
        operators = ("a:*", "!pantries", "pantries | volleyball", "pantries <-> maps", "'pantries", "pantries\\")
        endless = ("x" * 200, "é" * 200, "🚀" * 200, "a " * 100, "\ufdfa" * 200, "㌀" * 200)
        foreign = ("\x01\x7f", "\u0300\u0301", "שלום עולם", "हिन्दी", "<b>x</b>", "&amp;", "http://a.b/c?d=e")
        code = ("1e5", "-3", "0x1F", "%s %(x)s {0}", "pantries;--", "' or 1=1")
        for text in (*operators, *endless, *foreign, *code):
            with self.subTest(text):
                list(Opportunity.objects.search(text).by_relevance(text))
        self.assertFalse(self.finds("pantries | volleyball"))
        self.assertTrue(self.finds("!pantries"))
        for text in ("", " ", "\t\n\u2003"):  # an empty box is no search
            self.assertEqual(Opportunity.objects.search(text).count(), 2)
        signs = ("!!!", "&", "|", "<->", "''", "\\", "\\'", "%", "_", ":*", "'''")
        for text in (*signs, "🚀", "👩‍💻", "\u202e", "—"):
            with self.subTest(text):
                self.assertFalse(self.finds(text))

    def test_anyone_searching_puts_titles_before_names_before_descriptions(self) -> None:
        """Also while the word is typed; of equal hits, the newest comes first, then it goes by id."""
        in_body = make.make_opportunity(body="Kubernetes, Kubernetes, Kubernetes.")
        in_skill = make.make_opportunity({make.make_skill(name="Kubernetes"): 3})
        in_project = make.make_opportunity(project=make.make_project(name="Kubernetes"))
        in_title = make.make_opportunity(role=make.make_role(title="Kubernetes Engineer"))
        for text in ("kubernetes", "kubernete", "kubern"):
            ranked = list(Opportunity.objects.search(text).by_relevance(text))
            self.assertEqual(ranked, [in_title, in_project, in_skill, in_body])
        now = timezone.now()
        ids = [f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(4)]
        for id_, age in ((ids[0], 2), (ids[3], 0), (ids[2], 0), (ids[1], 1)):
            make.make_opportunity(id=id_, body="Work with Gondolas.", created_at=now - timedelta(days=age))
        equal = Opportunity.objects.search("gondola").by_relevance("gondola")
        self.assertEqual([str(row.pk) for row in equal], [ids[2], ids[3], ids[1], ids[0]])


class SearchDocumentTests(TestCase):
    """The column behind it."""

    def setUp(self) -> None:
        """Make a listing."""
        self.skill = make.make_skill(name="Kotlin")
        self.listing = make.make_opportunity({self.skill: 3})
        self.changed_at = self.listing.updated_at

    def assert_found(self, text: str) -> None:
        """Fail unless the text finds the listing, which was last changed when it was made."""
        self.assertEqual(list(Opportunity.objects.search(text)), [self.listing])
        self.assertEqual(Opportunity.objects.get().updated_at, self.changed_at)

    def test_document_follows_a_renamed_role_project_and_skill(self) -> None:
        """Without the listing being changed; the old name finds it no more."""
        for row, field in ((self.listing.role, "title"), (self.listing.project, "name"), (self.skill, "name")):
            former = None
            for name in ("Zeppelin", "Gondola", getattr(row, field)):
                with self.subTest(row=row, name=name):
                    setattr(row, field, name)
                    row.save()
                    self.assert_found(name)
                    self.assertFalse(former and Opportunity.objects.search(former).exists())
                former = name

    def test_document_follows_the_listing_and_its_matrix(self) -> None:
        """Whatever is written of them, by whatever statement."""
        Opportunity.objects.update(body="Fly a zeppelin.")
        self.assert_found("zeppelin")
        Opportunity.objects.update(role=make.make_role(title="Gondolier"), project=make.make_project(name="Lagoon"))
        self.assert_found("zeppelin gondolier lagoon")
        swift = make.make_skill(name="Swift")
        SkillMatrix.objects.store({str(swift.pk): 2}, into=self.listing.skills_required_matrix)
        self.assert_found("swift")
        self.assertFalse(Opportunity.objects.search("kotlin").exists())
        with transaction.atomic():
            Opportunity.objects.update(skills_required_matrix=make.make_matrix({self.skill: 1}))
        self.assert_found("kotlin")

    def test_document_is_made_for_rows_in_bulk(self) -> None:
        """The longest listing has one, too; a matrix that comes after its listing is refused."""
        fields = {"project_id": self.listing.project_id, "role_id": self.listing.role_id}
        with transaction.atomic():
            matrix = make.make_matrix({make.make_skill(name="Rowing"): 1})
            made = Opportunity(**fields, body="Row a gondola.", skills_required_matrix=matrix)
            Opportunity.objects.bulk_create([made])
        self.assertEqual(list(Opportunity.objects.search("gondola rowing")), [made])
        late = Opportunity(**fields, body="Late", skills_required_matrix_id=SkillMatrix().pk)
        with self.assertRaisesMessage(IntegrityError, "exist already"), transaction.atomic():
            Opportunity.objects.bulk_create([late])
        skills = [make.make_skill(name=f"Skill {number} {'x' * 200}") for number in range(250)]
        words = " ".join(f"w{number}ö" for number in range(3000))[:20_000]
        longest = make.make_opportunity(dict.fromkeys(skills, 3), body=words)
        self.assertEqual(list(Opportunity.objects.search("w2500ö 249")), [longest])

    def test_document_is_neither_loaded_nor_saved(self) -> None:
        """It stays in the database, out of fixtures as well, and what is written there by hand is made right."""
        self.assertNotIn("search_document", serializers.serialize("json", Opportunity.objects.all()))
        with self.assertNumQueries(2):
            listing = Opportunity.objects.with_details().get()
            listing.save()
        self.assertEqual(listing.get_deferred_fields(), {"search_document"})
        Opportunity.objects.update(search_document=None)
        self.assertTrue(Opportunity.objects.search("kotlin").exists())


class SearchCaseTests(APITestCase):
    """The listings of the worked cases, made once."""

    names: dict[str, str]

    @classmethod
    def setUpTestData(cls) -> None:
        """Make the listings."""
        cls.names = {}
        for name, listing in CASES["listings"].items():
            levels = {make.make_skill(name=skill): 3 for skill in listing["skills"]}
            role, project = make.make_role(title=listing["role"]), make.make_project(name=listing["project"])
            made = make.make_opportunity(levels, role=role, project=project, body=listing["body"])
            cls.names[str(made.pk)] = name

    def test_anyone_finds_what_the_worked_cases_say(self) -> None:
        """Exactly those, in the order that they tell."""
        self.assertEqual(len(CASES["searches"]), 29)
        for case in CASES["searches"]:
            response = self.client.get("/api/opportunities/", {"search": case["q"], "ordering": "relevance"})
            found = [self.names[row["id"]] for row in response.json()]
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
        make.make_role(title="Senior Front End Developer")
        make.make_skill(name="Node.js")
        for ways in (("front end", "front-end", "frontend"), ("node js", "Node.js", "nodejs")):
            listings = {make.make_opportunity(body=f"We need {way} people.") for way in ways}
            for way in ways:
                for text in (way, f"{way} ", f"need {way} people"):
                    with self.subTest(text):
                        self.assertEqual(self.found(text), listings)

    def test_anyone_finds_phrases_and_compounds_while_they_are_typed(self) -> None:
        """Letter by letter, although stems are shorter than words; what a hyphen connects is a compound."""
        phrase = "React development for the accessibility of communities"
        body = f"Answer e-mail. We look for {phrase}."
        listing = make.make_opportunity(role=make.make_role(title="Full Stack Developer"), body=body)
        for text in (phrase, "fullstack", "full-stack", "full stack", "email", "e-mail", "stackdeveloper"):
            for length in range(1, len(text) + 1):
                with self.subTest(text[:length]):
                    self.assertEqual(self.found(text[:length]), {listing})

    def test_anyone_finds_a_compound_that_came_to_the_catalog_later(self) -> None:
        """Until then it is several words, as two names of a listing always are."""
        listing = make.make_opportunity(body="Care for site reliability.")
        self.assertEqual(self.found("sitereliability"), set())
        role = make.make_role(title="Site Reliability Engineer")
        self.assertEqual(self.found("sitereliability"), {listing})
        role.delete()
        self.assertEqual(self.found("sitereliability"), set())
        names = {make.make_skill(name="Java"): 3, make.make_skill(name="Script"): 3}
        make.make_opportunity(names, role=make.make_role(title="Data"), project=make.make_project(name="Base"))
        for text in ("javascript", "scriptjava", "database", "basedata", "basejava", "basescript"):
            self.assertEqual(self.found(text), set())


class DefinitionTests(HypothesisTestCase):
    """The functions of the database that say what a word is, with texts of all of Unicode."""

    @given(TEXTS)
    @example("ASP.NET, C++/C#: \u00bd \u212b\u0301 \ufdfa e\u00adx F\u266f\ufe0e i++ ..net")
    def test_anyone_finds_each_text_by_itself(self, text: str) -> None:
        """The normal form is its own; documents and queries have the same words, in names and texts, if any."""
        self.assertEqual(make.execute(IS_NORMAL_AND_FINDS_ITSELF, text), (True, True))


class CatalogSearchTests(APITestCase):
    """The search of skills and projects, and the boxes of the admin."""

    def setUp(self) -> None:
        """Make a row of each kind that has a name with all that matters, and another."""
        self.client.force_login(make.make_admin_user(email="root@example.org"))
        for name in ("Café e-mail with C++ & Node.js", "Caffeine"):
            skill, role, project = make.make_skill(name=name), make.make_role(title=name), make.make_project(name=name)
            make.make_opportunity({skill: 3}, role=role, project=project)
            make.make_regular_user(first_name=name, email=f"{skill.pk.int}@example.org")

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

    def test_anyone_searching_uses_an_index(self) -> None:
        """No listing is read that isn't found, nor any of the many accounts."""
        found = Opportunity.objects.search("react develop")
        self.assertEqual(found.hits(slice(10)), (0, []))
        self.assertIn("Bitmap Index Scan on opportunity_search", found.explain())  # in the same transaction
        for model in (Role, Project, Skill, UserProfile):
            make.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
            plan = model.objects.search("react develop").explain()
            self.assertIn(f"Bitmap Index Scan on {model._meta.model_name}_search", plan)
