"""Taking times side by side, and what comes of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

MILLISECOND = 1e-3


class BenchmarkError(Exception):
    """What makes a benchmark worthless: the two sides don't give the same, or one gives nothing."""


class SkippedError(Exception):
    """Why a benchmark can't run here."""


class Unit(StrEnum):
    """What a number counts."""

    SECONDS = "s"
    PER_SECOND = "/s"
    MEGABYTES = "MB"

    def show(self, value: float) -> str:
        """Return a number as people read it."""
        if self == Unit.SECONDS:
            return f"{value:.2f} s" if value >= 1 else f"{value / MILLISECOND:.2f} ms"
        return f"{value:,.0f}{'' if self == Unit.PER_SECOND else ' '}{self}"


@dataclass(frozen=True)
class Target:
    """What the ratio is to be: so many times as good as the reference at least, or so many times its time at most."""

    limit: float
    is_most: bool = False
    unit: str = "x"

    def is_met(self, ratio: float) -> bool:
        """Whether the ratio is on the right side of the limit."""
        return ratio <= self.limit if self.is_most else ratio >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.is_most else '≥'} {self.limit:g} {self.unit}"


@dataclass(frozen=True)
class Comparison:
    """A row of the table: ours beside the reference."""

    subject: str
    reference: str
    ours: float
    theirs: float
    unit: Unit
    target: Target
    note: str = ""

    @property
    def ratio(self) -> float:
        """How the two compare, in the terms of the target."""
        if self.unit == Unit.MEGABYTES:
            return self.ours - self.theirs
        if self.unit == Unit.PER_SECOND or self.target.is_most:
            return self.ours / self.theirs
        return self.theirs / self.ours


def take_time(action: Callable[[], object]) -> float:
    """Return how long ``action`` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def alternate(rounds: int, *actions: Callable[[], object]) -> list[float]:
    """Return the median time of each action; they take turns, after one turn that doesn't count."""
    return alternate_figures(rounds, *(lambda action=action: take_time(action) for action in actions))


def alternate_figures(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """Return the median of what each of ``measures`` returns; they take turns, after one turn that doesn't count."""
    for measure in measures:
        measure()
    figures: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for taken, measure in zip(figures, measures, strict=True):
            taken.append(measure())
    return [median(taken) for taken in figures]


def check(is_so: bool, otherwise: str) -> None:
    """Raise ``BenchmarkError`` with the sentence where something is not so."""
    if not is_so:
        raise BenchmarkError(otherwise)
