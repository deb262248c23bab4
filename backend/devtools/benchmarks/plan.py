"""How large the data is, and how often and long things are measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """How many rows a database has."""

    opportunities: int
    volunteers: int


@dataclass(frozen=True)
class Plan:
    """A run: the sizes of its databases, smallest first, and its repetitions."""

    few: Size
    page: Size
    medium: Size
    many: Size
    rounds: int
    slow_rounds: int
    people: int
    windows: int
    window_seconds: float
    level_seconds: float
    levels: tuple[int, ...]

    @property
    def sizes(self) -> tuple[Size, ...]:
        """All sizes, smallest first."""
        return (self.few, self.page, self.medium, self.many)


FULL = Plan(
    few=Size(100, 30),
    page=Size(1_000, 100),
    medium=Size(10_000, 1_000),
    many=Size(100_000, 100_000),
    rounds=60,
    slow_rounds=5,
    people=10,
    windows=5,
    window_seconds=2,
    level_seconds=6,
    levels=(1, 5, 20, 50, 100, 200),
)
SMALL = Plan(
    few=Size(120, 30),
    page=Size(120, 30),
    medium=Size(120, 30),
    many=Size(400, 400),
    rounds=3,
    slow_rounds=1,
    people=2,
    windows=1,
    window_seconds=0.3,
    level_seconds=0.5,
    levels=(1, 5),
)
