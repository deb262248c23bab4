"""The formula, the order and the indexes: worked cases, and properties over what Hypothesis draws."""

import json
import random
import subprocess
import sys
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from django.conf import settings
from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from ctj_api import matching
from ctj_api.matching import IndexRanking, Levels, OpportunityIndex, SkillStatus, VolunteerIndex, score

from . import matching_oracle as oracle
from .matching_oracle import Row, naive_fraction, naive_ranking, naive_unmet

VECTORS = json.loads((Path(__file__).parent / "matching_vectors.json").read_text(encoding="utf-8"))
SKILLS = [f"skill-{number}" for number in range(8)]
ANY = Fraction(0)

matrices = st.dictionaries(st.sampled_from(SKILLS), st.integers(1, 5))
large_matrices = st.dictionaries(st.integers(0, 400).map(str), st.integers(1, 5), max_size=250)
minimums = st.just(ANY) | st.fractions(0, 1, max_denominator=12)

# A write puts a candidate, or removes an id, known or not.
type Write = Row[int] | int
type AnyIndex = OpportunityIndex[int] | VolunteerIndex[int]
ids = st.integers(0, 12)
few_skills = st.dictionaries(st.sampled_from(SKILLS[:3]), st.integers(1, 5))
writes = st.lists(st.builds(Row, ids, few_skills, st.integers(0, 3)) | ids, max_size=30)


def write[Index: AnyIndex](index: Index, writes: Iterable[Write]) -> Index:
    """Bring the writes to an index, and return it."""
    for step in writes:
        if isinstance(step, int):
            index.remove([step])
        else:
            index.put(*step)
    return index


def both_ways(levels: Levels) -> list[tuple[AnyIndex, oracle.Pairing]]:
    """Return an empty index of each kind, with what the oracle needs to rank by ``levels``."""
    return [(OpportunityIndex(), oracle.with_volunteer(levels)), (VolunteerIndex(), oracle.with_opportunity(levels))]


def written(writes: list[Write]) -> list[Row[int]]:
    """Return what is stored after the writes."""
    last = {step if isinstance(step, int) else step.id: step for step in writes}
    return [step for step in last.values() if not isinstance(step, int)]


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
                for comparison in matching.compare(required, learned):
                    of_status[comparison.status].append(comparison.skill)
                self.assertEqual((of_status["below"], of_status["missing"]), (case["below"], case["missing"]))
                self.assertEqual(len(of_status["met"]), case["met"])

    def test_ranking_gives_the_order_that_was_worked_out(self) -> None:
        """Whatever order the opportunities come in."""
        case = VECTORS["ranking"]
        rows = [Row(row["id"], row["matrix"], row["created"]) for row in case["opportunities"]]
        for _ in range(20):
            random.shuffle(rows)
            index = OpportunityIndex[str]()
            for row in rows:
                index.put(*row)
            self.assertEqual(index.rank(case["volunteer"], ANY, None)[:], case["order"])


class MatchingPropertyTests(SimpleTestCase):
    """What holds for all matrices."""

    @given(matrices | large_matrices, matrices | large_matrices)
    def test_score_equals_a_naive_fraction(self, required: Levels, learned: Levels) -> None:
        """It is exact for all matrices, 1 exactly when all is met, 0 exactly when nothing overlaps."""
        result = score(required, learned)
        total, exact = sum(required.values()), naive_fraction(required, learned)
        self.assertEqual((result.required, Fraction(result.covered, result.required or 1)), (total, exact))
        self.assertEqual(result.value, float(exact) if required else None)
        self.assertEqual(result.required_count, len(required))
        self.assertEqual(result.met_count, len(required) - len(naive_unmet(required, learned)))
        if result.value is not None:
            self.assertEqual(result.value == 1, not naive_unmet(required, learned))
            self.assertEqual(result.value == 0, not set(required) & set(learned))

    @given(matrices, matrices)
    def test_compare_explains_the_score(self, required: Levels, learned: Levels) -> None:
        """What is compared adds up to the score, and each status says what the levels say."""
        comparisons = matching.compare(required, learned)
        result = score(required, learned)
        self.assertEqual([comparison.skill for comparison in comparisons], list(required))
        self.assertEqual(sum(comparison.required - comparison.gap for comparison in comparisons), result.covered)
        for comparison in comparisons:
            levels = required[comparison.skill], learned.get(comparison.skill, 0)
            self.assertEqual((comparison.required, comparison.have), levels)
            self.assertEqual(comparison.status == SkillStatus.MET, comparison.have >= comparison.required)
            self.assertEqual(comparison.status == SkillStatus.MISSING, comparison.skill not in learned)

    @given(st.integers(1, 1250), st.integers(1, 1250), st.integers(1, 1250), st.integers(1, 1250))
    def test_float_division_orders_as_fractions_do(self, a: int, b: int, c: int, d: int) -> None:
        """For all sums of 250 levels: equal fractions are equal floats, and others keep their order."""
        self.assertEqual((a / b > c / d, a / b == c / d), (a * d > c * b, a * d == c * b))


class IndexTests(SimpleTestCase):
    """The indexes give what the contract's order gives, after any writes."""

    @given(writes, few_skills, minimums, st.none() | st.sets(ids))
    def test_indexes_rank_as_the_naive_oracle_does(
        self, writes: list[Write], levels: Levels, minimum: Fraction, within: set[int] | None
    ) -> None:
        """The number, the scores, the whole order, and every slice of it."""
        rows = [row for row in written(writes) if within is None or row.id in within]
        for index, pairing in both_ways(levels):
            ranking = write(index, writes).rank(levels, minimum, within)
            self.assert_is_naive(ranking, rows, pairing, minimum)

    @given(writes, few_skills)
    def test_volunteer_index_counts_what_scores_say(self, writes: list[Write], required: Levels) -> None:
        """Those who overlap have a score, and those who meet everything have the full one."""
        scores = [naive_fraction(required, row.levels) for row in written(writes)]
        coverage = write(VolunteerIndex[int](), writes).coverage(required)
        self.assertEqual(coverage, (sum(value > 0 for value in scores), scores.count(Fraction(1))))

    @given(large_matrices, st.lists(large_matrices, max_size=12))
    def test_indexes_rank_the_largest_matrices(self, levels: Levels, others: list[Levels]) -> None:
        """Up to 250 skills on either side."""
        rows = [Row(number, other, 0) for number, other in enumerate(others)]
        for index, pairing in both_ways(levels):
            self.assert_is_naive(write(index, rows).rank(levels, ANY, None), rows, pairing)

    @given(writes, writes, few_skills)
    def test_ranking_tells_what_it_told_when_it_was_made(
        self, writes: list[Write], later: list[Write], learned: Levels
    ) -> None:
        """Whatever is written before it is counted and sliced, and when the index forgets who was removed."""
        index = write(OpportunityIndex[int](), writes)
        ranking = index.rank(learned, ANY, None)
        write(index, later)
        for _ in range(matching.MANY_REMOVED):
            index.put(0, {}, 0)
        self.assert_is_naive(ranking, written(writes), oracle.with_volunteer(learned))

    def test_index_that_is_rewritten_over_and_over_stays_small(self) -> None:
        """It forgets candidates that were replaced, and ranks the last one."""
        index = OpportunityIndex[int]()
        for level in range(3 * matching.MANY_REMOVED):
            index.put(1, {SKILLS[0]: level % 5 + 1}, 0)
        kept = [candidate for row in index._postings[SKILLS[0]].values() for candidate in row]
        self.assertLessEqual(len(kept), matching.MANY_REMOVED + 1)
        self.assertEqual((len(index), index.rank({SKILLS[0]: 1}, ANY, None)[:]), (1, [1]))

    def assert_is_naive(
        self,
        ranking: IndexRanking[int],
        rows: list[Row[int]],
        pairing: oracle.Pairing,
        minimum: Fraction = ANY,
    ) -> None:
        """Compare with what the oracle gives of the rows that are selected."""
        expected = naive_ranking(rows, pairing, minimum)
        self.assertEqual((len(ranking), ranking[:]), (len(expected), expected))
        exact = {row.id: score(*pairing(row.levels)).value for row in rows if row.id in expected}
        self.assertEqual({candidate.id: value for candidate, value in ranking.scores.items()}, exact)
        for start in range(len(expected) + 1):
            for size in (1, 3):
                self.assertEqual(ranking[start : start + size], expected[start : start + size])


class MatchingPurityTests(SimpleTestCase):
    """Pure Python."""

    def test_module_imports_nothing_but_the_standard_library(self) -> None:
        """Neither Django nor anything else of this project is loaded with it."""
        source = "import sys; before = set(sys.modules); import ctj_api.matching; print(*set(sys.modules) - before)"
        command = [sys.executable, "-c", source]
        loaded = subprocess.check_output(command, cwd=settings.BASE_DIR, text=True).split()
        foreign = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
        self.assertEqual(foreign, {"ctj_api", "ctj_api.matching"})
