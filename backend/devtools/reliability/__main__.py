"""The command: ``python -m devtools.reliability [NAME...]``, in the folder of ``manage.py``."""

import http.client
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from unittest.mock import patch

import aiohttp
import psycopg

from backend.environment import data_directory
from devtools.benchmarks.measure import BenchmarkError
from devtools.benchmarks.report import DOCS, conditions, parse, say, table, write
from devtools.benchmarks.servers import SETTINGS
from devtools.embedded_postgres import ClusterError, temporary_folder

from .scenario import Outcome, ReliabilityError, Scale, Scenario, SkippedError
from .scenarios import SCENARIOS

PAGE = DOCS / "reliability.md"
COMMAND = "devtools.reliability"
HEAD = ["Fault or attack", "Tried", "Lost", "Back after", "Command"]
FAILURES = (
    ReliabilityError,
    BenchmarkError,
    ClusterError,
    ExceptionGroup,
    OSError,
    http.client.HTTPException,
    aiohttp.ClientError,
    psycopg.Error,
    subprocess.SubprocessError,
)


def main(arguments: list[str]) -> int:
    """Carry out the command line and return the exit code."""
    options = parse(arguments, "reliability", "Break things, and see what is lost.", SCENARIOS, PAGE)
    if options.list:
        sys.stdout.writelines(f"{name:17} {it.title}: {it.expects}\n" for name, it in SCENARIOS.items())
        return 0
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with temporary_folder(data_directory()) as (folder, _):
        key = {"DATA_DIR": str(folder), "DJANGO_SECRET_KEY": secrets.token_urlsafe(50), "SQL_HOST": ""}
        with patch.dict(os.environ, SETTINGS | key):
            outcomes = [_try(SCENARIOS[name], Scale(options.small)) for name in options.names or SCENARIOS]
    text = f"{conditions(f'{COMMAND} --write')}\n\n{table([HEAD, *(row for row, _ in outcomes)])}"
    sys.stdout.write(f"{text}\n")
    problems = [problem for _, problems in outcomes for problem in problems]
    for problem in problems:
        say(f"FAILED: {problem}")
    if options.write and not problems:
        write(PAGE, text)
    return 1 if problems else 0


def _try(scenario: Scenario, scale: Scale) -> tuple[list[str], list[str]]:
    """Return the row of a scenario, and what did not hold."""
    say(f"{scenario.name}: {scenario.expects} ...")
    began = time.monotonic()
    try:
        outcome = scenario.run(scale)
    except SkippedError as error:
        outcome = Outcome(f"skipped: {error}", "-", "-")
    except FAILURES as error:
        outcome = Outcome("broken off", "not known", "-", tuple(_texts(error)))
    say(f"  {'FAILED' if outcome.problems else outcome.tries}, in {time.monotonic() - began:.1f} s")
    command = f"`.venv/bin/python -m {COMMAND} {scenario.name}`"
    row = [scenario.title, outcome.tries, outcome.lost, outcome.recovery, command]
    return row, [f"{scenario.name}: {problem}" for problem in outcome.problems]


def _texts(error: BaseException) -> Iterator[str]:
    """Return a text for each error of a group, or for the only one."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _texts(part)
    else:
        yield f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
