"""How well a volunteer's skills cover what an opportunity requires. Pure Python, over ``{skill: level}`` mappings.

In both directions, with R what the opportunity requires and V what the volunteer has:

    score = sum over s in R of min(V.get(s, 0), R[s])  /  sum over s in R of R[s]

This is capped requirement coverage: Tversky's ratio model ("Features of Similarity", Psychological Review 84, 1977)
of the required and the learned levels with weight 1 for what is required and not there, and weight 0 for what is
there and not required. So 0 <= score <= 1; it is 1 exactly when every requirement is met and 0 exactly when nothing
overlaps; it never falls when V grows; surplus neither helps nor hides a gap; skills that R lacks don't matter.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

type Levels = Mapping[str, int]


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
        """The score, from 0 to 1; ``None`` where nothing is required.

        Division rounds correctly, so that equal fractions give the same float, and different ones with
        denominators below 2**26 give different floats in the same order.
        """
        return self.covered / self.required if self.required else None

    @property
    def unmet_count(self) -> int:
        """How many of the required skills are not met."""
        return self.required_count - self.met_count

    def reaches(self, minimum: Fraction) -> bool:
        """Return whether the exact score is at least ``minimum``."""
        return self.covered >= minimum * self.required


@dataclass(frozen=True, slots=True)
class Candidate[Id]:
    """Someone or something to rank: its id, its levels, and when it was made, as a number that grows with time."""

    id: Id
    levels: Levels
    created: float


class Ranked[Id](NamedTuple):
    """A candidate with its score."""

    candidate: Candidate[Id]
    score: Score


class Coverage(NamedTuple):
    """How many of those who were compared overlap with a requirement, and how many of them meet all of it."""

    overlapping: int
    complete: int


def score(required: Levels, learned: Levels) -> Score:
    """Return how much of ``required`` is covered by ``learned``."""
    covered = met = 0
    for skill, level in required.items():
        have = learned.get(skill, 0)
        if have >= level:
            covered += level
            met += 1
        else:
            covered += have
    return Score(covered, sum(required.values()), met, len(required))


def compare(required: Levels, learned: Levels) -> list[SkillComparison]:
    """Return each required skill beside what is there of it, in the order of ``required``."""
    return [SkillComparison(skill, level, learned.get(skill, 0)) for skill, level in required.items()]


def rank_opportunities[Id](opportunities: Iterable[Candidate[Id]], learned: Levels) -> list[Ranked[Id]]:
    """Return the opportunities that overlap with what a volunteer has, best first."""
    return _rank(Ranked(opportunity, score(opportunity.levels, learned)) for opportunity in opportunities)


def rank_volunteers[Id](volunteers: Iterable[Candidate[Id]], required: Levels) -> list[Ranked[Id]]:
    """Return the volunteers that overlap with what an opportunity requires, best first."""
    return _rank(Ranked(volunteer, score(required, volunteer.levels)) for volunteer in volunteers)


def coverage[Key](requirements: Mapping[Key, Levels], learned: Iterable[Levels]) -> dict[Key, Coverage]:
    """Return for each of many requirements how many of ``learned`` overlap with it, and how many meet all of it.

    Each of ``learned`` is compared only with the requirements that it shares a skill with.
    """
    by_skill: dict[str, list[tuple[Key, int]]] = {}
    for key, required in requirements.items():
        for skill, level in required.items():
            by_skill.setdefault(skill, []).append((key, level))
    overlapping: Counter[Key] = Counter()
    complete: Counter[Key] = Counter()
    for levels in learned:
        met: dict[Key, int] = {}
        for skill, have in levels.items():
            for key, level in by_skill.get(skill, ()):
                met[key] = met.get(key, 0) + (have >= level)
        overlapping.update(met.keys())
        complete.update(key for key, number in met.items() if number == len(requirements[key]))
    return {key: Coverage(overlapping[key], complete[key]) for key in requirements}


def _rank[Id](pairs: Iterable[Ranked[Id]]) -> list[Ranked[Id]]:
    return sorted((pair for pair in pairs if pair.score.covered), key=_order)


def _order[Id](pair: Ranked[Id]) -> tuple[float, int, int, float, Id]:
    """Return the key of the order: score, fewer unmet skills, fuller requirement, newest, id."""
    candidate, result = pair
    return -result.covered / result.required, result.unmet_count, -result.required, -candidate.created, candidate.id
