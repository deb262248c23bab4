"""Full-text search in the listings: which words find what, and that the documents follow every change."""

from datetime import timedelta

from django.core import serializers
from django.db import IntegrityError, transaction
from django.test import TestCase
from django.utils import timezone

from ctj_api.models import Opportunity, SkillMatrix

from .common import make_matrix, make_opportunity, make_project, make_role, make_skill


class SearchTests(TestCase):
    """What is found."""

    def setUp(self) -> None:
        """Make a listing with a word of its own in each place, and one beside it."""
        self.listing = make_opportunity(
            {make_skill(name="CI/CD with GitHub Actions"): 3, make_skill(name="Node.js"): 2},
            role=make_role(title="UI/UX Designer"),
            project=make_project(name="Food Oasis"),
            # PostgreSQL takes curly quotes and no-break spaces for letters where the locale of the database is C.
            body="We're developing maps of pantries. It's a high-fidelity job: 24 hours, C++ & über-tests, 日本語. "
            "“Gondoliers” don\u2019t row\u00a0zeppelins\u2013ever… 🚀launch",
        )
        make_opportunity(body="Nothing that anybody looks for.")

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
        title = make_opportunity(role=make_role(title="React developer"), body="Another planet with plants.")
        body = make_opportunity(body="You will be developing in React, and like to plan.")
        self.assertEqual(set(Opportunity.objects.search("react develop")), {title, body})
        self.assertEqual(list(Opportunity.objects.search("planning")), [body])

    def test_anyone_searching_finds_what_is_still_being_typed(self) -> None:
        """Every beginning of a phrase, letter by letter, although a stem is shorter than its word."""
        phrase = "React development for the accessibility of communities"
        listing = make_opportunity(body=f"We look for {phrase}.")
        for length in range(1, len(phrase) + 1):
            with self.subTest(phrase[:length]):
                self.assertIn(listing, Opportunity.objects.search(phrase[:length]))

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
        in_body = make_opportunity(body="Kubernetes, Kubernetes, Kubernetes.")
        in_skill = make_opportunity({make_skill(name="Kubernetes"): 3})
        in_project = make_opportunity(project=make_project(name="Kubernetes"))
        in_title = make_opportunity(role=make_role(title="Kubernetes Engineer"))
        for text in ("kubernetes", "kubernete", "kubern"):
            ranked = list(Opportunity.objects.search(text).by_relevance(text))
            self.assertEqual(ranked, [in_title, in_project, in_skill, in_body])
        now = timezone.now()
        ids = [f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(4)]
        for id_, age in ((ids[0], 2), (ids[3], 0), (ids[2], 0), (ids[1], 1)):
            make_opportunity(id=id_, body="Work with Gondolas.", created_at=now - timedelta(days=age))
        equal = Opportunity.objects.search("gondola").by_relevance("gondola")
        self.assertEqual([str(row.pk) for row in equal], [ids[2], ids[3], ids[1], ids[0]])

    def test_anyone_searching_uses_the_index(self) -> None:
        """No listing is read that isn't found."""
        found = Opportunity.objects.search("react develop")
        self.assertEqual(found.hits(slice(10)), (0, []))
        plan = found.explain()  # still in the same transaction
        self.assertIn("Bitmap Index Scan on opportunity_search", plan)


class SearchDocumentTests(TestCase):
    """The column behind it."""

    def setUp(self) -> None:
        """Make a listing."""
        self.skill = make_skill(name="Kotlin")
        self.listing = make_opportunity({self.skill: 3})
        self.changed_at = self.listing.updated_at

    def assert_found(self, text: str) -> None:
        """Fail unless the text finds the listing, which was last changed when it was made."""
        self.assertEqual(list(Opportunity.objects.search(text)), [self.listing])
        self.assertEqual(Opportunity.objects.get().updated_at, self.changed_at)

    def test_document_follows_a_renamed_role_project_and_skill(self) -> None:
        """Without the listing being changed; the old name finds it no more."""
        for row, field in ((self.listing.role, "title"), (self.listing.project, "name"), (self.skill, "name")):
            with self.subTest(row=row):
                old = getattr(row, field)
                setattr(row, field, "Zeppelin")
                row.save()
                self.assert_found("zeppelin")
                setattr(row, field, "Gondola")
                row.save()
                self.assertFalse(Opportunity.objects.search("zeppelin").exists())
                setattr(row, field, old)
                row.save()
                self.assert_found(old)

    def test_document_follows_the_listing_and_its_matrix(self) -> None:
        """Whatever is written of them, by whatever statement."""
        Opportunity.objects.update(body="Fly a zeppelin.")
        self.assert_found("zeppelin")
        Opportunity.objects.update(role=make_role(title="Gondolier"), project=make_project(name="Lagoon"))
        self.assert_found("zeppelin gondolier lagoon")
        swift = make_skill(name="Swift")
        SkillMatrix.objects.store({str(swift.pk): 2}, into=self.listing.skills_required_matrix)
        self.assert_found("swift")
        self.assertFalse(Opportunity.objects.search("kotlin").exists())
        with transaction.atomic():
            Opportunity.objects.update(skills_required_matrix=make_matrix({self.skill: 1}))
        self.assert_found("kotlin")

    def test_document_is_made_for_rows_in_bulk(self) -> None:
        """The longest listing has one, too; a matrix that comes after its listing is refused."""
        with transaction.atomic():
            made = Opportunity(
                project=self.listing.project,
                role=self.listing.role,
                body="Row a gondola.",
                skills_required_matrix=make_matrix({make_skill(name="Rowing"): 1}),
            )
            Opportunity.objects.bulk_create([made])
        self.assertEqual(list(Opportunity.objects.search("gondola rowing")), [made])
        matrix = SkillMatrix(levels={str(self.skill.pk): 1})
        fields = {"project_id": self.listing.project_id, "role_id": self.listing.role_id, "body": "Late"}
        with self.assertRaisesMessage(IntegrityError, "exist already"), transaction.atomic():
            Opportunity.objects.bulk_create([Opportunity(**fields, skills_required_matrix_id=matrix.pk)])
        skills = [make_skill(name=f"Skill {number} {'x' * 200}") for number in range(250)]
        words = " ".join(f"w{number}ö" for number in range(3000))[:20_000]
        longest = make_opportunity(dict.fromkeys(skills, 3), body=words)
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
