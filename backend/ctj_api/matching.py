"""How well a volunteer's skills cover what an opportunity requires. Pure Python, over ``{skill: level}`` mappings.

``score``, ``rank_opportunities`` and ``rank_volunteers`` are the definition; ``OpportunityIndex`` and
``VolunteerIndex`` give the same rankings of many candidates, without looking at each.

In both directions, with R what the opportunity requires and V what the volunteer has:

    score = sum over s in R of min(V.get(s, 0), R[s])  /  sum over s in R of R[s]

This is capped requirement coverage: Tversky's ratio model ("Features of Similarity", Psychological Review 84, 1977)
of the required and the learned levels with weight 1 for what is required and not there, and weight 0 for what is
there and not required. So 0 <= score <= 1; it is 1 exactly when every requirement is met and 0 exactly when nothing
overlaps; it never falls when V grows; surplus neither helps nor hides a gap; skills that R lacks don't matter.
"""

import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from heapq import nsmallest
from itertools import groupby
from math import ceil
from operator import itemgetter
from typing import NamedTuple

type Levels = Mapping[str, int]
# One bit for each slot of an index.
type Bitmap = int

FEW_SLOTS = 1000
_FILLED_OCTET = re.compile(rb"[^\0]")
_BITS_OF_OCTET = tuple(tuple(bit for bit in range(8) if octet >> bit & 1) for octet in range(256))


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


class _Numbers:
    """A number for each slot, 0 at first, kept bit by bit: the first bitmap holds the lowest bits of all numbers.

    This is the bit-sliced index of O'Neil and Quass ("Improved Query Performance with Variant Indexes", SIGMOD 1997).
    """

    def __init__(self) -> None:
        self._bits: list[Bitmap] = []

    def add(self, slots: Bitmap) -> None:
        """Add 1 to the numbers of ``slots``."""
        carry = slots
        for place, bits in enumerate(self._bits):
            self._bits[place], carry = bits ^ carry, bits & carry
        if carry:
            self._bits.append(carry)

    def split(self, slots: Bitmap) -> dict[int, Bitmap]:
        """Return number → those of ``slots`` that have it, without the numbers that none has."""
        parts = {0: slots} if slots else {}
        for place, bits in reversed(list(enumerate(self._bits))):
            halves: dict[int, Bitmap] = {}
            for number, part in parts.items():
                with_bit = part & bits
                halves[number | 1 << place] = with_bit
                halves[number] = part ^ with_bit
            parts = {number: part for number, part in halves.items() if part}
        return parts


@dataclass(frozen=True, slots=True)
class Selection[Id]:
    """Which of the candidates of an index are ranked: those of a score, and by their ids."""

    minimum: Fraction = Fraction(0)
    within: Collection[Id] | None = None
    without: Collection[Id] = ()


@dataclass(frozen=True, slots=True)
class IndexRanking[Id]:
    """Ids of candidates, best first, to be counted and sliced; only those of a slice are put in order.

    It is made of candidates by what they cover, by the total of which that is, and by how many skills they meet.
    """

    covered: dict[int, Bitmap]
    totals: dict[int, Bitmap]
    met: _Numbers
    minimum: Fraction
    required_count: Callable[[int], int]
    candidates: list[tuple[float, Id]]

    def __len__(self) -> int:
        if not self.minimum:
            return sum(slots.bit_count() for covered, slots in self.covered.items() if covered)
        return sum(self._part(total, covered).bit_count() for _, total, covered in self._fractions())

    def __getitem__(self, page: slice) -> list[Id]:
        start, stop, _ = page.indices(len(self))
        ids: list[Id] = []
        passed = 0
        for _, fractions in groupby(sorted(self._fractions()), key=itemgetter(0)):
            parts = {total: self._part(total, covered) for _, total, covered in fractions}
            size = sum(part.bit_count() for part in parts.values())
            if passed + size > start:
                best = nsmallest(stop - passed, self._keys(parts))
                ids += [key[-1] for key in best[max(start - passed, 0) :]]
            passed += size
            if passed >= stop:
                break
        return ids

    def _fractions(self) -> Iterator[tuple[float, int, int]]:
        """Return the scores that are admitted, negative for the order, each as total and what is covered of it."""
        for total in self.totals:
            least = max(ceil(self.minimum * total), 1)
            yield from ((-covered / total, total, covered) for covered in self.covered if least <= covered <= total)

    def _part(self, total: int, covered: int) -> Bitmap:
        return self.totals[total] & self.covered[covered]

    def _keys(self, parts: dict[int, Bitmap]) -> Iterator[tuple[int, int, float, Id]]:
        """Return the sort keys among equal scores: fewer unmet skills, fuller requirement, newest, id."""
        for total, part in parts.items():
            for met, slots in self.met.split(part).items():
                for slot in _slots(slots):
                    yield self.required_count(slot) - met, -total, *self.candidates[slot]


class _Index[Id]:
    """Skill → who has or requires it at which level: an inverted index of bitmaps, with a bit for each candidate.

    A candidate's bit is its slot. One that changes moves to a new slot and leaves a dead one behind: a slot never
    means anyone else, and a ranking goes on to tell what it told when it was made.
    """

    def __init__(self) -> None:
        self._slots: dict[Id, int] = {}
        self._candidates: list[tuple[float, Id]] = []
        self._counts = array("L")
        self._live: Bitmap = 0
        self._totals: dict[int, Bitmap] = {}
        self._reaching: dict[str, list[Bitmap]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def is_sparse(self) -> bool:
        """Whether most slots are dead, so that an index made anew would be smaller."""
        return len(self._candidates) > 2 * len(self._slots) + FEW_SLOTS

    def put(self, candidates: Iterable[Candidate[Id]]) -> None:
        """Add candidates, in the place of those with the same ids."""
        new: list[int] = []
        dead: list[int] = []
        totals: dict[int, list[int]] = {}
        rated: dict[tuple[str, int], list[int]] = {}
        for candidate in candidates:
            if candidate.id in self._slots:
                dead.append(self._slots[candidate.id])
            slot = self._add_slot(candidate)
            new.append(slot)
            totals.setdefault(sum(candidate.levels.values()), []).append(slot)
            for rating in candidate.levels.items():
                rated.setdefault(rating, []).append(slot)
        self._live = (self._live | _bitmap(new)) & ~_bitmap(dead)
        for total, slots in totals.items():
            self._totals[total] = self._totals.get(total, 0) | _bitmap(slots)
        for (skill, level), slots in rated.items():
            self._rate(skill, level, _bitmap(slots))

    def remove(self, ids: Iterable[Id]) -> None:
        """Forget candidates; it doesn't matter whether they are known."""
        slots = (self._slots.pop(id_, None) for id_ in ids)
        self._live &= ~_bitmap([slot for slot in slots if slot is not None])

    def _add_slot(self, candidate: Candidate[Id]) -> int:
        slot = len(self._candidates)
        self._slots[candidate.id] = slot
        self._candidates.append((-candidate.created, candidate.id))
        self._counts.append(len(candidate.levels))
        return slot

    def _rate(self, skill: str, level: int, slots: Bitmap) -> None:
        reaching = self._reaching.setdefault(skill, [])
        reaching.extend([0] * (level - len(reaching)))
        for below in range(level):
            reaching[below] |= slots

    def _at_least(self, skill: str, level: int) -> Bitmap:
        """Return who has or requires ``skill`` at ``level`` or above."""
        reaching = self._reaching.get(skill, [])
        return reaching[level - 1] if level <= len(reaching) else 0

    def _covered(self, levels: Levels) -> _Numbers:
        """Return the sums over ``levels`` of what both sides reach of them."""
        covered = _Numbers()
        for skill, level in levels.items():
            for reached in range(1, level + 1):
                covered.add(self._at_least(skill, reached))
        return covered

    def _ranking(
        self,
        levels: Levels,
        selection: Selection[Id],
        totals: dict[int, Bitmap],
        met: _Numbers,
        required_count: Callable[[int], int],
    ) -> IndexRanking[Id]:
        chosen = self._live if selection.within is None else self._live & self._bitmap_of(selection.within)
        return IndexRanking(
            covered=self._covered(levels).split(chosen & ~self._bitmap_of(selection.without)),
            totals=dict(totals),
            met=met,
            minimum=selection.minimum,
            required_count=required_count,
            candidates=self._candidates,
        )

    def _bitmap_of(self, ids: Iterable[Id]) -> Bitmap:
        return _bitmap([slot for id_ in ids if (slot := self._slots.get(id_)) is not None])


class OpportunityIndex[Id](_Index[Id]):
    """Opportunities by the skills that they require."""

    def rank(self, learned: Levels, selection: Selection[Id] | None = None) -> IndexRanking[Id]:
        """Return the ids that ``rank_opportunities`` gives, as far as ``selection`` admits them."""
        met = _Numbers()
        for skill, level in learned.items():
            met.add(self._at_least(skill, 1) & ~self._at_least(skill, level + 1))
        return self._ranking(learned, selection or Selection(), self._totals, met, self._counts.__getitem__)


class VolunteerIndex[Id](_Index[Id]):
    """Volunteers by the skills that they have."""

    def rank(self, required: Levels, selection: Selection[Id] | None = None) -> IndexRanking[Id]:
        """Return the ids that ``rank_volunteers`` gives, as far as ``selection`` admits them."""
        met = _Numbers()
        for skill, level in required.items():
            met.add(self._at_least(skill, level))
        totals = {sum(required.values()): self._live}
        return self._ranking(required, selection or Selection(), totals, met, lambda _: len(required))

    def coverage(self, required: Levels) -> Coverage:
        """Return how many volunteers overlap with ``required``, and how many of them meet all of it."""
        overlapping, complete = 0, self._live if required else 0
        for skill, level in required.items():
            overlapping |= self._at_least(skill, 1)
            complete &= self._at_least(skill, level)
        return Coverage((overlapping & self._live).bit_count(), complete.bit_count())


def _rank[Id](pairs: Iterable[Ranked[Id]]) -> list[Ranked[Id]]:
    return sorted((pair for pair in pairs if pair.score.covered), key=_order)


def _order[Id](pair: Ranked[Id]) -> tuple[float, int, int, float, Id]:
    """Return the key of the order: score, fewer unmet skills, fuller requirement, newest, id."""
    candidate, result = pair
    return -result.covered / result.required, result.unmet_count, -result.required, -candidate.created, candidate.id


def _bitmap(slots: Collection[int]) -> Bitmap:
    if not slots:
        return 0
    octets = bytearray(max(slots) // 8 + 1)
    for slot in slots:
        octets[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(octets, "little")


def _slots(bitmap: Bitmap) -> Iterator[int]:
    octets = bitmap.to_bytes(bitmap.bit_length() // 8 + 1, "little")
    for match in _FILLED_OCTET.finditer(octets):
        place = match.start()
        for bit in _BITS_OF_OCTET[octets[place]]:
            yield place * 8 + bit
