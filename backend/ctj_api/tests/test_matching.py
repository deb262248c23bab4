"""The formula and the order: worked cases, and properties over matrices that Hypothesis draws."""

import json
import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from django.conf import settings
from django.test import SimpleTestCase
from hypothesis import assume, given
from hypothesis import strategies as st

from ctj_api.matching import (
    Candidate,
    Levels,
    SkillStatus,
    compare,
    coverage,
    rank_opportunities,
    rank_volunteers,
    score,
)

VECTORS = json.loads((Path(__file__).parent / "matching_vectors.json").read_text(encoding="utf-8"))
SKILLS = [f"skill-{number}" for number in range(8)]

matrices = st.dictionaries(st.sampled_from(SKILLS), st.integers(1, 5))
large_matrices = st.dictionaries(st.integers(0, 400).map(str), st.integers(1, 5), max_size=250)
candidate_lists = st.lists(
    st.builds(Candidate, st.integers(0, 30), matrices, st.integers(0, 3)), unique_by=lambda candidate: candidate.id
)


def naive_fraction(required: Levels, learned: Levels) -> Fraction:
    """Return the contract's formula, word by word; 0 where nothing is required."""
    if not required:
        return Fraction(0)
    return sum((Fraction(min(learned.get(skill, 0), level)) for skill, level in required.items()), Fraction(0)) / sum(
        required.values()
    )


def naive_unmet(required: Levels, learned: Levels) -> list[str]:
    """Return the skills that are required at a higher level than they are there."""
    return [skill for skill in required if learned.get(skill, 0) < required[skill]]


class MatchingVectorTests(SimpleTestCase):
    """The worked cases of the contract."""

    def test_score_gives_what_was_worked_out(self) -> None:
        """Sums, score, and which skills are met, below and missing."""
        for case in VECTORS["scores"]:
            with self.subTest(case["name"]):
                required, learned = case["opportunity"], case["volunteer"]
                result = score(required, learned)
                self.assertEqual((result.covered, result.required), (case["numerator"], case["denominator"]))
                self.assertEqual(result.value if result.value is None else round(result.value, 4), case["score"])
                self.assertEqual((result.met_count, result.required_count), (case["met"], len(required)))
                of_status: dict[str, list[str]] = {status: [] for status in SkillStatus}
                for comparison in compare(required, learned):
                    of_status[comparison.status].append(comparison.skill)
                self.assertEqual((of_status["below"], of_status["missing"]), (case["below"], case["missing"]))
                self.assertEqual(len(of_status["met"]), case["met"])

    def test_ranking_gives_the_order_that_was_worked_out(self) -> None:
        """Whatever order the opportunities come in."""
        case = VECTORS["ranking"]
        rows = [Candidate(row["id"], row["matrix"], row["created"]) for row in case["opportunities"]]
        for _ in range(20):
            random.shuffle(rows)
            ranked = rank_opportunities(rows, case["volunteer"])
            self.assertEqual([pair.candidate.id for pair in ranked], case["order"])


class MatchingPropertyTests(SimpleTestCase):
    """What holds for all matrices."""

    @given(large_matrices, large_matrices)
    def test_score_equals_a_naive_fraction(self, required: Levels, learned: Levels) -> None:
        """Exactly, up to the largest matrices that are stored."""
        result = score(required, learned)
        exact = naive_fraction(required, learned)
        self.assertEqual(Fraction(result.covered, result.required or 1), exact)
        self.assertEqual(result.value, float(exact) if required else None)
        self.assertEqual(result.unmet_count, len(naive_unmet(required, learned)))
        self.assertEqual(result.unmet_count + result.met_count, len(required))

    @given(matrices, matrices)
    def test_score_stays_between_0_and_1(self, required: Levels, learned: Levels) -> None:
        """And there is none where nothing is required."""
        value = score(required, learned).value
        if required:
            assert value is not None
            self.assertTrue(0 <= value <= 1)
        else:
            self.assertIsNone(value)

    @given(matrices, matrices)
    def test_score_is_1_exactly_when_all_is_met(self, required: Levels, learned: Levels) -> None:
        """A gap is never rounded away."""
        assume(required)
        self.assertEqual(score(required, learned).value == 1, not naive_unmet(required, learned))

    @given(matrices, matrices)
    def test_score_is_0_exactly_when_nothing_overlaps(self, required: Levels, learned: Levels) -> None:
        """One skill in common counts, at whatever level."""
        assume(required)
        self.assertEqual(score(required, learned).value == 0, not set(required) & set(learned))

    @given(matrices, matrices, st.sampled_from(SKILLS), st.integers(1, 5))
    def test_score_never_falls_when_a_skill_grows(
        self, required: Levels, learned: Levels, skill: str, growth: int
    ) -> None:
        """Nor when one is added."""
        grown = {**learned, skill: min(learned.get(skill, 0) + growth, 5)}
        before, after = score(required, learned), score(required, grown)
        self.assertGreaterEqual(after.covered, before.covered)
        self.assertGreaterEqual(after.met_count, before.met_count)

    @given(matrices, matrices, matrices)
    def test_score_ignores_skills_that_are_not_required(
        self, required: Levels, learned: Levels, others: Levels
    ) -> None:
        """However many a volunteer has."""
        foreign = {f"other-{skill}": level for skill, level in others.items()}
        self.assertEqual(score(required, learned), score(required, {**learned, **foreign}))

    @given(matrices, matrices)
    def test_score_ignores_surplus(self, required: Levels, learned: Levels) -> None:
        """More than is required is worth what is required."""
        capped = {skill: min(level, required.get(skill, level)) for skill, level in learned.items()}
        self.assertEqual(score(required, learned), score(required, capped))

    @given(matrices, matrices, st.fractions(0, 1))
    def test_score_reaches_a_minimum_exactly(self, required: Levels, learned: Levels, minimum: Fraction) -> None:
        """Without a float in between."""
        assume(required)
        self.assertEqual(score(required, learned).reaches(minimum), naive_fraction(required, learned) >= minimum)

    @given(matrices, matrices)
    def test_compare_explains_the_score(self, required: Levels, learned: Levels) -> None:
        """What is compared adds up to the score, and each status says what the levels say."""
        comparisons = compare(required, learned)
        result = score(required, learned)
        self.assertEqual([comparison.skill for comparison in comparisons], list(required))
        self.assertEqual(sum(comparison.required - comparison.gap for comparison in comparisons), result.covered)
        for comparison in comparisons:
            levels = required[comparison.skill], learned.get(comparison.skill, 0)
            self.assertEqual((comparison.required, comparison.have), levels)
            self.assertEqual(comparison.status == SkillStatus.MET, comparison.have >= comparison.required)
            self.assertEqual(comparison.status == SkillStatus.MISSING, comparison.skill not in learned)

    @given(candidate_lists, matrices, st.randoms())
    def test_rank_opportunities_is_a_total_order(
        self, opportunities: list[Candidate[int]], learned: Levels, shuffler: random.Random
    ) -> None:
        """The contract's order, by exact fractions, the same however the opportunities are shuffled."""
        ranked = rank_opportunities(opportunities, learned)
        expected = sorted(
            (row for row in opportunities if naive_fraction(row.levels, learned)),
            key=lambda row: (
                -naive_fraction(row.levels, learned),
                len(naive_unmet(row.levels, learned)),
                -sum(row.levels.values()),
                -row.created,
                row.id,
            ),
        )
        self.assertEqual([pair.candidate for pair in ranked], expected)
        shuffler.shuffle(opportunities)
        self.assertEqual(rank_opportunities(opportunities, learned), ranked)

    @given(candidate_lists, matrices, st.randoms())
    def test_rank_volunteers_is_a_total_order(
        self, volunteers: list[Candidate[int]], required: Levels, shuffler: random.Random
    ) -> None:
        """The same order the other way round."""
        ranked = rank_volunteers(volunteers, required)
        expected = sorted(
            (row for row in volunteers if naive_fraction(required, row.levels)),
            key=lambda row: (
                -naive_fraction(required, row.levels),
                len(naive_unmet(required, row.levels)),
                -row.created,
                row.id,
            ),
        )
        self.assertEqual([pair.candidate for pair in ranked], expected)
        shuffler.shuffle(volunteers)
        self.assertEqual(rank_volunteers(volunteers, required), ranked)

    @given(matrices, matrices)
    def test_both_directions_give_the_same_score(self, required: Levels, learned: Levels) -> None:
        """A volunteer sees the score that a project manager sees."""
        opportunity, volunteer = Candidate(1, required, 0), Candidate(2, learned, 0)
        self.assertEqual(
            [pair.score for pair in rank_opportunities([opportunity], learned)],
            [pair.score for pair in rank_volunteers([volunteer], required)],
        )

    @given(st.lists(matrices, max_size=4), st.lists(matrices, max_size=8))
    def test_coverage_counts_what_scores_say(self, requirements: list[Levels], learned: list[Levels]) -> None:
        """Those who overlap have a score, and those who meet everything have the full one."""
        counted = coverage(dict(enumerate(requirements)), learned)
        for key, required in enumerate(requirements):
            values = [score(required, levels).value or 0 for levels in learned]
            self.assertEqual(counted[key], (sum(value > 0 for value in values), values.count(1)))

    @given(st.integers(1, 1250), st.integers(1, 1250), st.integers(1, 1250), st.integers(1, 1250))
    def test_float_division_orders_as_fractions_do(self, a: int, b: int, c: int, d: int) -> None:
        """For all sums of 250 levels: equal fractions are equal floats, and others keep their order."""
        self.assertEqual((a / b > c / d, a / b == c / d), (a * d > c * b, a * d == c * b))


class MatchingPurityTests(SimpleTestCase):
    """Pure Python."""

    def test_module_imports_nothing_but_the_standard_library(self) -> None:
        """Neither Django nor anything else of this project is loaded with it."""
        source = "import sys; before = set(sys.modules); import ctj_api.matching; print(*set(sys.modules) - before)"
        done = subprocess.run(
            [sys.executable, "-c", source], cwd=settings.BASE_DIR, capture_output=True, text=True, check=True
        )
        loaded = {name.partition(".")[0] for name in done.stdout.split()}
        self.assertLessEqual(loaded - sys.stdlib_module_names, {"ctj_api"})
        self.assertEqual(
            {name for name in done.stdout.split() if name.startswith("ctj_api")}, {"ctj_api", "ctj_api.matching"}
        )
