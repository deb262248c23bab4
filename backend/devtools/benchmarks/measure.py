"""Measures two things in turn, and compares them."""

import time
from collections.abc import Callable
from enum import StrEnum
from statistics import median
from typing import NamedTuple

SHARES = (50, 95, 99)


class BenchmarkError(Exception):
    """Says why a comparison is worthless: the two sides give different answers, or one gives none."""


class Unit(StrEnum):
    """What a figure counts."""

    SECONDS = "s"
    PER_SECOND = "/s"
    MEGABYTES = "MB"

    def show(self, value: float) -> str:
        """Return a figure as people read it."""
        if self == Unit.SECONDS:
            return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.2f} ms"
        return f"{value:,.0f} {self}"


class Comparison(NamedTuple):
    """A row of the table: ours beside the reference, and the limit of their ratio (at least, or at most)."""

    subject: str
    reference: str
    ours: float
    theirs: float
    limit: float
    is_most: bool = False
    unit: Unit = Unit.SECONDS

    @property
    def ratio(self) -> float:
        """How many times as good ours is, or with ``is_most`` how many times as long (of memory: how much more)."""
        if self.unit == Unit.MEGABYTES:
            return self.ours - self.theirs
        return self.ours / self.theirs if self.unit == Unit.PER_SECOND or self.is_most else self.theirs / self.ours

    def cells(self) -> list[str]:
        """Return the row as texts, a missed target in bold."""
        unit = "MB" if self.unit == Unit.MEGABYTES else "x"
        target = f"{'≤' if self.is_most else '≥'} {self.limit:g} {unit}"
        is_met = self.ratio <= self.limit if self.is_most else self.ratio >= self.limit
        figures = [self.unit.show(self.ours), self.reference, self.unit.show(self.theirs)]
        return [self.subject, *figures, f"{self.ratio:.2f} {unit}", target, "yes" if is_met else "**no**"]


def take_time(action: Callable[[], object]) -> float:
    """Return how many seconds ``action`` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def alternate(rounds: int, *actions: Callable[[], object]) -> list[float]:
    """Return the median time of each action; they take turns, after one turn that doesn't count."""
    return alternate_figures(rounds, *(lambda action=action: take_time(action) for action in actions))


def alternate_figures(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """Return the median of what each of ``measures`` returns; they take turns, after one turn that doesn't count."""
    turns = [[measure() for measure in measures] for _ in range(rounds + 1)]
    return [median(figures) for figures in zip(*turns[1:], strict=True)]


def percentiles(times: list[float]) -> list[float]:
    """Return the smallest of ``times`` that 50, 95 and 99 per cent of them don't exceed; none of none."""
    ordered = sorted(times)
    return [ordered[-(-len(ordered) * share // 100) - 1] for share in SHARES] if ordered else []


def check(is_so: bool, otherwise: str) -> None:
    """Raise ``BenchmarkError`` with the sentence where something is not so."""
    if not is_so:
        raise BenchmarkError(otherwise)
