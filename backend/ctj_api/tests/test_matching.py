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
    FEW_SLOTS,
    Candidate,
    IndexRanking,
    Levels,
    OpportunityIndex,
    Ranked,
    Selection,
    SkillStatus,
    VolunteerIndex,
    compare,
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

# A write puts some candidates at once, or removes some ids, known or not.
type Write = list[Candidate[int]] | set[int]
ids = st.integers(0, 12)
overlapping_matrices = st.dictionaries(st.sampled_from(SKILLS[:3]), st.integers(1, 5))
writes = st.lists(
    st.lists(st.builds(Candidate, ids, overlapping_matrices, st.integers(0, 3)), max_size=8) | st.sets(ids, max_size=4),
    max_size=8,
)
selections = st.builds(
    Selection,
    st.just(Fraction(0)) | st.fractions(0, 1, max_denominator=12),
    st.none() | st.sets(ids),
    st.sets(ids, max_size=3),
)


def write(index: OpportunityIndex[int] | VolunteerIndex[int], writes: list[Write]) -> None:
    """Bring the writes to an index."""
    for step in writes:
        if isinstance(step, set):
            index.remove(step)
        else:
            index.put(step)


def written(writes: list[Write]) -> list[Candidate[int]]:
    """Return what is stored after the writes."""
    stored: dict[int, Candidate[int]] = {}
    for step in writes:
        if isinstance(step, set):
            stored = {id_: row for id_, row in stored.items() if id_ not in step}
        else:
            stored.update({row.id: row for row in step})
    return list(stored.values())


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

    @given(st.integers(1, 1250), st.integers(1, 1250), st.integers(1, 1250), st.integers(1, 1250))
    def test_float_division_orders_as_fractions_do(self, a: int, b: int, c: int, d: int) -> None:
        """For all sums of 250 levels: equal fractions are equal floats, and others keep their order."""
        self.assertEqual((a / b > c / d, a / b == c / d), (a * d > c * b, a * d == c * b))


class IndexTests(SimpleTestCase):
    """The indexes give what the plain rankings give, after any writes."""

    @given(writes, overlapping_matrices, selections, st.integers(1, 4))
    def test_opportunity_index_ranks_as_the_definition_does(
        self, writes: list[Write], learned: Levels, selection: Selection[int], size: int
    ) -> None:
        """The number, the whole order, and every page of it."""
        index, stored = OpportunityIndex[int](), written(writes)
        write(index, writes)
        self.assert_same_ranking(index.rank(learned, selection), rank_opportunities(stored, learned), selection, size)

    @given(writes, overlapping_matrices, selections, st.integers(1, 4))
    def test_volunteer_index_ranks_as_the_definition_does(
        self, writes: list[Write], required: Levels, selection: Selection[int], size: int
    ) -> None:
        """The same, the other way round."""
        index, stored = VolunteerIndex[int](), written(writes)
        write(index, writes)
        self.assert_same_ranking(index.rank(required, selection), rank_volunteers(stored, required), selection, size)

    @given(writes, st.lists(overlapping_matrices, max_size=4))
    def test_volunteer_index_counts_what_scores_say(self, writes: list[Write], requirements: list[Levels]) -> None:
        """Those who overlap have a score, and those who meet everything have the full one."""
        index, stored = VolunteerIndex[int](), written(writes)
        write(index, writes)
        for required in requirements:
            values = [score(required, row.levels).value or 0 for row in stored]
            self.assertEqual(index.coverage(required), (sum(value > 0 for value in values), values.count(1)))

    @given(large_matrices, st.lists(large_matrices, max_size=12))
    def test_indexes_rank_the_largest_matrices(self, levels: Levels, others: list[Levels]) -> None:
        """Up to 250 skills on either side."""
        rows = [Candidate(number, other, 0) for number, other in enumerate(others)]
        opportunities, volunteers = OpportunityIndex[int](), VolunteerIndex[int]()
        opportunities.put(rows)
        volunteers.put(rows)
        for ranking, plain in (
            (opportunities.rank(levels), rank_opportunities(rows, levels)),
            (volunteers.rank(levels), rank_volunteers(rows, levels)),
        ):
            self.assertEqual(ranking[: len(ranking)], [pair.candidate.id for pair in plain])

    @given(writes, writes, overlapping_matrices)
    def test_ranking_tells_what_it_told_when_it_was_made(
        self, writes: list[Write], later: list[Write], learned: Levels
    ) -> None:
        """Whatever is written before it is counted and sliced."""
        index = OpportunityIndex[int]()
        write(index, writes)
        ranking = index.rank(learned)
        write(index, later)
        expected = [pair.candidate.id for pair in rank_opportunities(written(writes), learned)]
        self.assertEqual((len(ranking), ranking[: len(expected)]), (len(expected), expected))

    def test_ranking_is_counted_while_others_write(self) -> None:
        """A new sum of levels, in the middle of it."""
        index = OpportunityIndex[int]()
        index.put(Candidate(number, {SKILLS[0]: number}, 0) for number in (1, 2))
        scores = index.rank({SKILLS[0]: 5}, Selection(Fraction(1, 2)))._fractions()
        next(scores)
        index.put([Candidate(3, {SKILLS[0]: 3}, 0)])
        self.assertEqual(len(list(scores)), 2)

    def test_index_admits_a_minimum_exactly(self) -> None:
        """Two of five is less than a half, and three of six is not."""
        skill = SKILLS[0]
        index = OpportunityIndex[int]()
        index.put([Candidate(1, {skill: 3, SKILLS[1]: 2}, 0), Candidate(2, {skill: 3, SKILLS[1]: 3}, 0)])
        for learned, minimum, expected in ((2, "1/2", []), (3, "1/2", [1, 2]), (3, "3/5", [1]), (3, "601/1000", [])):
            with self.subTest(learned=learned, minimum=minimum):
                self.assertEqual(index.rank({skill: learned}, Selection(Fraction(minimum)))[:9], expected)

    def test_index_that_is_rewritten_over_and_over_says_so(self) -> None:
        """So that whoever keeps it can make it anew."""
        index = OpportunityIndex[int]()
        row = Candidate(1, {SKILLS[0]: 1}, 0.0)
        index.put([row])
        self.assertFalse(index.is_sparse)
        for _ in range(FEW_SLOTS + 2):
            index.put([row])
        self.assertTrue(index.is_sparse)
        self.assertEqual((len(index), len(index.rank({SKILLS[0]: 1}))), (1, 1))

    def assert_same_ranking(
        self, ranking: IndexRanking[int], plain: list[Ranked[int]], selection: Selection[int], size: int
    ) -> None:
        """Compare with the plain ranking, narrowed by hand."""
        expected = [
            pair.candidate.id
            for pair in plain
            if Fraction(pair.score.covered, pair.score.required) >= selection.minimum
            and (selection.within is None or pair.candidate.id in selection.within)
            and pair.candidate.id not in selection.without
        ]
        self.assertEqual((len(ranking), ranking[: len(ranking) + 1]), (len(expected), expected))
        for start in range(len(expected) + 1):
            self.assertEqual(ranking[start : start + size], expected[start : start + size])


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
