"""The command: ``python -m devtools.reliability [NAME...]``, in the folder of ``manage.py``."""

import os
import secrets
import sys
from collections.abc import Sequence
from unittest import SkipTest
from unittest.mock import patch

from backend.environment import data_directory
from devtools.benchmarks.report import DOCS, attempt, finish, parse, say, table
from devtools.benchmarks.servers import SETTINGS
from devtools.embedded_postgres import temporary_folder

from .scenario import Outcome, Scale
from .scenarios import SCENARIOS

PAGE = DOCS / "reliability.md"
HEAD = ["Fault or attack", "Tried", "Lost", "Back after", "Command"]


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line and return the exit code."""
    options = parse("reliability", arguments, {name: f"{it.title}: {it.expects}" for name, it in SCENARIOS.items()})
    rows = [HEAD]

    def run(name: str) -> Sequence[str]:
        scenario, command = SCENARIOS[name], f"`.venv/bin/python -m devtools.reliability {name}`"
        say(f"{name}: {scenario.expects} ...")
        outcome = Outcome("broken off", "not known", "-")
        try:
            outcome = scenario.run(Scale(options.small))
        except SkipTest as error:
            outcome = Outcome(f"skipped: {error}", "-", "-")
        finally:
            rows.append([scenario.title, outcome.tries, outcome.lost, outcome.recovery, command])
        return outcome.problems

    with temporary_folder(data_directory()) as (folder, _):
        key = {"DATA_DIR": str(folder), "DJANGO_SECRET_KEY": secrets.token_urlsafe(50), "SQL_HOST": ""}
        with patch.dict(os.environ, SETTINGS | key):
            problems = attempt(options.names, run)
    return finish(PAGE, table(rows), problems, is_written=options.write)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
