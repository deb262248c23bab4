"""The table, on the screen and in ``docs/reliability.md``."""

from dataclasses import dataclass
from datetime import UTC, datetime

from backend.environment import BASE_DIR
from devtools.benchmarks.report import _columns, _machine

from .scenario import Outcome, Scenario

PAGE = BASE_DIR.parent / "docs" / "reliability.md"
BEGIN = "<!-- The table: written by python -m devtools.reliability --write. -->"
END = "<!-- The end of the table. -->"
COMMAND = ".venv/bin/python -m devtools.reliability"
HEAD = ["Fault or attack", "Tried", "Lost", "Back after", "Command"]


@dataclass(frozen=True)
class Report:
    """All that a run has told; what was skipped has a reason instead of an outcome."""

    rows: list[tuple[Scenario, Outcome | str]]

    def screen(self) -> str:
        """Return the report as plain text."""
        return _columns([HEAD, *(_cells(*row) for row in self.rows)], is_markdown=False)

    def problems(self) -> list[str]:
        """Return what did not hold, each with the name of its scenario."""
        return [
            f"{scenario.name}: {problem}"
            for scenario, outcome in self.rows
            if isinstance(outcome, Outcome)
            for problem in outcome.problems
        ]

    def written_into(self, page: str) -> str:
        """Return the page with the table and its conditions between the markers."""
        before, begin, rest = page.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise ValueError(f"{PAGE} has no place for the table: {BEGIN} and {END}")
        table = _columns([HEAD, *([_escaped(cell) for cell in _cells(*row)] for row in self.rows)])
        conditions = f"Tried on {datetime.now(UTC):%Y-%m-%d}, on {_machine()}, by `{COMMAND} --write` in `backend/`."
        return f"{before}{begin}\n\n{conditions}\n\n{table}\n\n{end}{after}"


def _cells(scenario: Scenario, outcome: Outcome | str) -> list[str]:
    command = f"`{COMMAND} {scenario.name}`"
    if isinstance(outcome, str):
        return [scenario.title, f"skipped: {outcome}", "-", "-", command]
    return [scenario.title, outcome.tries, outcome.lost, outcome.recovery, command]


def _escaped(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")
