"""What a scenario is: a fault or an attack, what must hold, and what came of trying it."""

from collections.abc import Callable
from dataclasses import dataclass

from devtools.benchmarks.measure import BenchmarkError


class ReliabilityError(BenchmarkError):
    """Says why a trial is worthless: it could not be carried out as it was meant."""


class SkippedError(Exception):
    """Says why a scenario can't be tried here."""


@dataclass(frozen=True)
class Scale:
    """How much is tried."""

    is_small: bool

    def pick[T](self, small: T, full: T) -> T:
        """Return what belongs to this scale."""
        return small if self.is_small else full


@dataclass(frozen=True)
class Outcome:
    """What came of it: how often it was tried, what was lost, how soon all was well again; no problems: it held."""

    tries: str
    lost: str
    recovery: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """A fault or an attack; ``name`` is the command's argument, ``title`` and ``expects`` are for people."""

    name: str
    title: str
    expects: str
    run: Callable[[Scale], Outcome]


def lost(problems: tuple[str, ...] | list[str]) -> str:
    """Return what the table says of what was lost."""
    return "; ".join(problems) or "nothing"


def worst(seconds: list[float]) -> str:
    """Return what the table says of times to recover."""
    times = f" (worst of {len(seconds)})" if len(seconds) > 1 else ""
    return f"{max(seconds):.1f} s{times}" if seconds else "-"
