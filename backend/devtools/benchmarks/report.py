"""The table, on the screen and in ``docs/performance.md``."""

import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from backend.environment import BASE_DIR

from .measure import Comparison, Unit
from .plan import Plan

PAGE = BASE_DIR.parent / "docs" / "performance.md"
GIGABYTE = 1 << 30
PACKAGES = ("Django", "djangorestframework", "daphne", "psycopg", "orjson")


@dataclass(frozen=True)
class Level:
    """How the server fared with so many clients at once; times in seconds."""

    clients: int
    throughput: float
    latencies: dict[str, float]
    medians: dict[str, float]
    refused: int
    failures: dict[str, int]


@dataclass(frozen=True)
class LoadReport:
    """How the server fared with more and more clients."""

    description: str
    levels: list[Level]


@dataclass(frozen=True)
class Report:
    """All that a run has told."""

    command: str
    plan: Plan
    is_small: bool
    database: str
    rows: list[tuple[str, Comparison]]
    skipped: list[tuple[str, str]]
    load: LoadReport | None

    def screen(self) -> str:
        """Return the report as plain text."""
        parts = [SMALL] if self.is_small else []
        parts += [_columns(_table(self.rows), is_markdown=False)] if self.rows else []
        parts += ["\n".join(f"{name}: {row.note}" for name, row in self.rows if row.note)]
        parts += [f"{name}: skipped, for {reason}" for name, reason in self.skipped]
        if self.load:
            parts += [self.load.description, _columns(_load_table(self.load), is_markdown=False)]
        return "\n\n".join(part for part in parts if part)

    def markdown(self) -> str:
        """Return the page of the documentation."""
        parts = [HEAD, self._conditions(), "## Side by side\n\n" + SIDE_BY_SIDE, _columns(_table(self.rows))]
        parts += ["\n".join(f"- `{name}`: {row.note}." for name, row in self.rows if row.note)]
        parts += [f"- `{name}` was skipped, for {reason}." for name, reason in self.skipped]
        if self.load:
            parts += ["## Under load", self.load.description, _columns(_load_table(self.load))]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _conditions(self) -> str:
        sizes = ", ".join(f"{size.opportunities:,} / {size.volunteers:,}" for size in dict.fromkeys(self.plan.sizes))
        return "\n".join(
            [
                "| | |",
                "|---|---|",
                f"| Command | `{self.command}` in `backend/` |",
                f"| Date | {datetime.now(UTC):%Y-%m-%d} |",
                f"| Machine | {_machine()} |",
                f"| Software | Python {platform.python_version()}, {self.database}, {_packages()} |",
                f"| Databases | the demo in sizes of listings / volunteers: {sizes}; all listings open |",
            ]
        )


HEAD = """# Performance

Written by the benchmarks (`backend/benchmarks/`); don't edit it. Times of one machine say little about another: what \
counts is the ratio of two things that were measured in turn in the same run."""
SIDE_BY_SIDE = """Medians; the two sides took turns. "x" is how many times as fast as the reference ours is where more \
is better (≥), and how many times as long it takes where less is (≤). To repeat one: \
`.venv/bin/python -m devtools.benchmarks NAME`, with the name in the first column; `load` is the table at the end."""

SMALL = "Little data and few repetitions: the benchmarks run, but their figures mean nothing."


def say(text: str) -> None:
    """Tell whoever waits what is going on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _table(rows: list[tuple[str, Comparison]]) -> list[list[str]]:
    head = ["Benchmark", "Ours", "", "Reference", "", "Ratio", "Target", "Met"]
    return [head, *(_cells(name, row) for name, row in rows)]


def _cells(name: str, row: Comparison) -> list[str]:
    show = row.unit.show
    ratio = f"{row.ratio:+,.0f} MB" if row.unit == Unit.MEGABYTES else f"{row.ratio:.2f} x"
    is_met = "yes" if row.target.is_met(row.ratio) else "**no**"
    return [name, row.subject, show(row.ours), row.reference, show(row.theirs), ratio, str(row.target), is_met]


def _load_table(load: LoadReport) -> list[list[str]]:
    kinds = sorted({kind for level in load.levels for kind in level.medians})
    medians = [f"p50 of {kind}" for kind in kinds]
    head = ["Clients", "Answers", "p50", "p95", "p99", *medians, "503 with Retry-After", "Other failures"]
    return [head, *(_load_cells(level, kinds) for level in load.levels)]


def _load_cells(level: Level, kinds: list[str]) -> list[str]:
    taken = [
        *(level.latencies.get(name) for name in ("p50", "p95", "p99")),
        *(level.medians.get(kind) for kind in kinds),
    ]
    times = ["" if time is None else Unit.SECONDS.show(time) for time in taken]
    failures = ", ".join(f"**{count} x {status}**" for status, count in level.failures.items()) or "none"
    return [str(level.clients), Unit.PER_SECOND.show(level.throughput), *times, str(level.refused), failures]


def _columns(table: list[list[str]], is_markdown: bool = True) -> str:
    if is_markdown:
        rule = ["---"] * len(table[0])
        return "\n".join(f"| {' | '.join(row)} |" for row in (table[0], rule, *table[1:]))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines).replace("**", "")


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGABYTE
    return f"{platform.system()} on {_processor()}, {cores} cores, {memory:.0f} GB"


def _processor() -> str:
    """Return the name of the processor as Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _packages() -> str:
    return ", ".join(f"{name} {version(name)}" for name in PACKAGES)
