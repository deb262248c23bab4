"""How well a volunteer's skills cover what an opportunity requires, and who is ranked first by it.

Pure Python over ``{skill: level}`` mappings. With R what the opportunity requires and V what the volunteer has:

    score = sum over s in R of min(V.get(s, 0), R[s])  /  sum over s in R of R[s]

``docs/matching.md`` says what follows from it, and ``docs/decisions/0008-matching-formula.md`` where it comes from.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from heapq import nlargest, nsmallest
from itertools import chain
from typing import NamedTuple

type Levels = Mapping[str, int]
MANY_REMOVED = 1000


class SkillStatus(StrEnum):
    """How what a volunteer has of one skill compares with what is required."""

    MET = "met"
    BELOW = "below"
    MISSING = "missing"


class SkillComparison(NamedTuple):
    """One required skill: its level, and the level that the volunteer has, 0 for none."""

    skill: str
    required: int
    have: int

    @property
    def gap(self) -> int:
        """How many levels are wanting; 0 where the requirement is met."""
        return max(self.required - self.have, 0)

    @property
    def status(self) -> SkillStatus:
        """Whether the requirement is met, partly met, or not met at all."""
        if self.gap == 0:
            return SkillStatus.MET
        return SkillStatus.BELOW if self.have else SkillStatus.MISSING


class Score(NamedTuple):
    """The sums of the formula, and how many of the required skills are met."""

    covered: int
    required: int
    met_count: int
    required_count: int

    @property
    def value(self) -> float | None:
        """The score, from 0 to 1; ``None`` where nothing is required."""
        return self.covered / self.required if self.required else None


class Coverage(NamedTuple):
    """How many volunteers overlap with a requirement, and how many of them meet all of it."""

    overlapping: int
    complete: int


@dataclass(eq=False, slots=True)
class Candidate[Id]:
    """Who or what is ranked: its id, when it was made, and how much it requires, which is nothing for a volunteer."""

    id: Id
    created: float
    required: int = 0
    required_count: int = 0


def score(required: Levels, learned: Levels) -> Score:
    """Return how much of ``required`` is covered by ``learned``."""
    gaps = [skill.gap for skill in compare(required, learned)]
    total = sum(required.values())
    return Score(total - sum(gaps), total, gaps.count(0), len(gaps))


def compare(required: Levels, learned: Levels) -> list[SkillComparison]:
    """Return each required skill beside what is there of it, in the order of ``required``."""
    return [SkillComparison(skill, level, learned.get(skill, 0)) for skill, level in required.items()]


@dataclass(frozen=True, slots=True)
class IndexRanking[Id]:
    """Ids of candidates, best first, of which only those of a slice are put in order."""

    scores: dict[Candidate[Id], float]
    met: list[list[Candidate[Id]]]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, page: slice) -> list[Id]:
        start, stop, _ = page.indices(len(self))
        if start >= stop:
            return []
        best = nlargest(stop, self.scores.values())
        highest, lowest = best[start], best[-1]
        passed = best.index(highest)
        shown = {candidate for candidate, value in self.scores.items() if lowest <= value <= highest}
        met = Counter(filter(shown.__contains__, chain.from_iterable(self.met)))

        def order(candidate: Candidate[Id]) -> tuple[float, int, int, float, Id]:
            unmet = candidate.required_count - met[candidate]
            return -self.scores[candidate], unmet, -candidate.required, -candidate.created, candidate.id

        return [candidate.id for candidate in nsmallest(stop - passed, shown, key=order)[start - passed :]]


class Index[Id]:
    """The postings of candidates, who are replaced and never changed, so that a ranking stays as it was made."""

    def __init__(self) -> None:
        self._postings: dict[str, dict[int, list[Candidate[Id]]]] = {}
        self._candidates: dict[Id, Candidate[Id]] = {}
        self._removed: set[Candidate[Id]] = set()

    def __len__(self) -> int:
        return len(self._candidates)

    def remove(self, ids: Iterable[Id]) -> None:
        """Forget candidates, known or not."""
        self._removed.update(self._candidates.pop(id_) for id_ in ids if id_ in self._candidates)
        if len(self._removed) > MANY_REMOVED:
            for levels in self._postings.values():
                for level, row in levels.items():
                    levels[level] = [candidate for candidate in row if candidate not in self._removed]
            self._removed.clear()

    def _put(self, candidate: Candidate[Id], levels: Levels) -> None:
        self.remove([candidate.id])
        self._candidates[candidate.id] = candidate
        for skill, level in levels.items():
            self._postings.setdefault(skill, {}).setdefault(level, []).append(candidate)

    def _shared(self, levels: Levels) -> Iterator[tuple[int, int, list[Candidate[Id]]]]:
        """Return each of ``levels`` with a level of the same skill here, and the candidates at that one."""
        for skill, level in levels.items():
            for level_here, candidates in self._postings.get(skill, {}).items():
                yield level, level_here, candidates

    def _covered(self, levels: Levels, within: Container[Id] | None) -> dict[Candidate[Id], int]:
        """Return the candidates that overlap with ``levels``, each with the sum of what both sides reach of them."""
        covered: dict[Candidate[Id], int] = {}
        for level, level_here, candidates in self._shared(levels):
            reached = min(level, level_here)
            for candidate in candidates:
                covered[candidate] = covered.get(candidate, 0) + reached
        for candidate in self._removed:
            covered.pop(candidate, None)
        if within is None:
            return covered
        return {candidate: points for candidate, points in covered.items() if candidate.id in within}


class OpportunityIndex[Id](Index[Id]):
    """Opportunities by the skills that they require."""

    def put(self, id_: Id, required: Levels, created: float) -> None:
        """Add an opportunity, in the place of the one with the same id; ``created`` grows with time."""
        self._put(Candidate(id_, created, sum(required.values()), len(required)), required)

    def rank(self, learned: Levels, minimum: Fraction, within: Container[Id] | None) -> IndexRanking[Id]:
        """Return the opportunities ``within`` some, or of all, that have at least the ``minimum`` score, best first."""
        least, whole = minimum.as_integer_ratio()
        covered = self._covered(learned, within).items()
        scores = {each: points / each.required for each, points in covered if points * whole >= least * each.required}
        return IndexRanking(scores, [row for have, level, row in self._shared(learned) if have >= level])


class VolunteerIndex[Id](Index[Id]):
    """Volunteers by the skills that they have."""

    def put(self, id_: Id, learned: Levels, created: float) -> None:
        """Add a volunteer, in the place of the one with the same id; ``created`` grows with time."""
        self._put(Candidate(id_, created), learned)

    def rank(self, required: Levels, minimum: Fraction, within: Container[Id] | None) -> IndexRanking[Id]:
        """Return the volunteers ``within`` some, or of all, that have at least the ``minimum`` score, best first."""
        least, whole = minimum.as_integer_ratio()
        total = sum(required.values())
        covered = self._covered(required, within).items()
        scores = {each: points / total for each, points in covered if points * whole >= least * total}
        return IndexRanking(scores, [row for level, have, row in self._shared(required) if have >= level])

    def coverage(self, required: Levels) -> Coverage:
        """Return how many volunteers overlap with ``required``, and how many of them meet all of it."""
        covered = list(self._covered(required, within=None).values())
        return Coverage(len(covered), covered.count(sum(required.values())))
