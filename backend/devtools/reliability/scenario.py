"""What a scenario is: a fault or an attack, what must hold, and what came of trying it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from devtools.benchmarks.measure import BenchmarkError


class ReliabilityError(BenchmarkError):
    """Says why a trial is worthless: it could not be carried out as it was meant."""


class Scale(NamedTuple):
    """How much is tried."""

    is_small: bool

    def pick[T](self, small: T, full: T) -> T:
        """Return what belongs to this scale."""
        return small if self.is_small else full


class Outcome(NamedTuple):
    """What came of it: how often it was tried, what was lost, how soon all was well again; no problems: it held."""

    tries: str
    lost: str
    recovery: str
    problems: Sequence[str] = ()


class Scenario(NamedTuple):
    """A fault or an attack; ``name`` is the command's argument, ``title`` and ``expects`` are for people."""

    name: str
    title: str
    expects: str
    run: Callable[[Scale], Outcome]


def scenario(name: str, title: str) -> Callable[[Callable[[Scale], Outcome]], Scenario]:
    """Make a scenario of a function whose docstring says what must hold."""
    return lambda run: Scenario(name, title, run.__doc__ or "", run)


def lost(problems: Sequence[str]) -> str:
    """Return what the table says of what was lost."""
    return "; ".join(problems) or "nothing"


def worst(seconds: Sequence[float]) -> str:
    """Return what the table says of times to recover."""
    return f"{max(seconds):.1f} s (worst of {len(seconds)})" if seconds else "-"
