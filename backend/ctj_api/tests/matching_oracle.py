"""The contract's formula and order, word by word and without an index, for tests to compare with."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple

from ctj_api.matching import Levels

# From the levels of a candidate to what is required and what is learned.
type Pairing = Callable[[Levels], tuple[Levels, Levels]]


class Row[Id](NamedTuple):
    """A candidate as it is put into an index."""

    id: Id
    levels: Levels
    created: float


def with_volunteer(learned: Levels) -> Pairing:
    """Return the pairing of opportunities with a volunteer."""
    return lambda required: (required, learned)


def with_opportunity(required: Levels) -> Pairing:
    """Return the pairing of volunteers with an opportunity."""
    return lambda learned: (required, learned)


def naive_fraction(required: Levels, learned: Levels) -> Fraction:
    """Return the score; 0 where nothing is required."""
    covered = sum(min(learned.get(skill, 0), level) for skill, level in required.items())
    return Fraction(covered, sum(required.values()) or 1)


def naive_unmet(required: Levels, learned: Levels) -> list[str]:
    """Return the skills that are required at a higher level than they are there."""
    return [skill for skill in required if learned.get(skill, 0) < required[skill]]


def naive_ranking[Id](rows: Iterable[Row[Id]], pairing: Pairing, minimum: Fraction = Fraction(0)) -> list[Id]:
    """Return the ids of those that overlap, best first."""

    def order(row: Row[Id]) -> tuple[Any, ...]:
        required, learned = pairing(row.levels)
        unmet = len(naive_unmet(required, learned))
        return -naive_fraction(required, learned), unmet, -sum(required.values()), -row.created, row.id

    return [row.id for row in sorted(rows, key=order) if 0 < naive_fraction(*pairing(row.levels)) >= minimum]
