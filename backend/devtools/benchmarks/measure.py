"""Measures two things in turn, and compares them."""

import time
from collections.abc import Callable
from statistics import mean, median

type Action = Callable[[], object]
type Row = dict[str, str]


class BenchmarkError(Exception):
    """Says why a comparison is worthless: the two sides give different answers, or one gives none."""


def check(is_so: bool, otherwise: str) -> None:
    """Raise ``BenchmarkError`` with the sentence where something is not so."""
    if not is_so:
        raise BenchmarkError(otherwise)


def take_time(action: Action) -> float:
    """Return how many seconds ``action`` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def alternate(rounds: int, *pairs: tuple[Action, Action]) -> tuple[float, float]:
    """Return the median times of the two sides that take turns, after one turn that doesn't count; means over pairs."""
    medians = []
    for pair in pairs:
        turns = [[take_time(action) for action in pair] for _ in range(rounds + 1)]
        medians.append([median(times) for times in zip(*turns[1:], strict=True)])
    ours, theirs = map(mean, zip(*medians, strict=True))
    return ours, theirs


def compare(subject: str, reference: str, figures: tuple[float, float], limit: float, is_most: bool = False) -> Row:
    """Return a row of the table: ours beside the reference, and whether the ratio keeps the limit (0: none)."""
    ours, theirs = figures
    ratio = ours / theirs if is_most else theirs / ours
    is_met = ratio <= limit if is_most else ratio >= limit
    return {
        "What": subject,
        "Ours": show(ours),
        "Reference": reference,
        "Theirs": show(theirs),
        "Ratio": f"{ratio:.2f} x",
        "Target": f"{'≤' if is_most else '≥'} {limit:g} x" if limit else "none",
        "Met": "yes" if is_met else "**no**",
    }


def show(seconds: float) -> str:
    """Return a time as people read it."""
    return f"{seconds * 1000:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
