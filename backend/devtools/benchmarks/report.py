"""What the benchmarks and the trials of reliability share: options, tables, failures, and the pages of the docs."""

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from subprocess import SubprocessError

import psycopg

from backend.environment import BASE_DIR
from devtools.embedded_postgres import ClusterError

from .measure import BenchmarkError

DOCS = BASE_DIR.parent / "docs"
BEGIN = "<!-- Written by the command, from here -->"
END = "<!-- to here. -->"
FAILURES = (BenchmarkError, ClusterError, ExceptionGroup, HTTPException, OSError, psycopg.Error, SubprocessError)


def parse(name: str, arguments: Sequence[str], choices: Mapping[str, object]) -> argparse.Namespace:
    """Return the options of a command line, or list the names with what is told of each, and exit."""
    parser = argparse.ArgumentParser(prog=f"python -m devtools.{name}")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *choices], help="default: all")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--small", action="store_true", help="small and short: only to see that they run")
    parser.add_argument("--write", action="store_true", help="write the tables of the page")
    options = parser.parse_args(arguments)
    if options.list:
        sys.stdout.writelines(f"{name:20} {told}\n" for name, told in choices.items())
        sys.exit()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if options.write and (options.names or options.small):
        parser.error("--write takes all of them at full size")
    options.names = options.names or list(choices)
    return options


def attempt(names: Iterable[str], trial: Callable[[str], Iterable[str]]) -> list[str]:
    """Try all names, and return the problems that the trials tell, and the failures that broke them off."""
    problems = []
    for name in names:
        began = time.monotonic()
        try:
            problems += [f"{name}: {problem}" for problem in trial(name)]
        except FAILURES as error:
            told = repr(error) if isinstance(error, ExceptionGroup) else f"{type(error).__name__}: {error}"
            problems.append(f"{name}: {told}")
        say(f"{name}: {time.monotonic() - began:.1f} s")
    return problems


def finish(page: Path, text: str, problems: list[str], *, is_written: bool) -> int:
    """Print the tables and the problems, write the page where there are none, and return the exit code."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    describe = ("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    commit = subprocess.run(describe, cwd=BASE_DIR, capture_output=True, text=True, check=False).stdout.strip()
    taken = f"Taken on {datetime.now(UTC):%Y-%m-%d} of the commit `{commit}`, on {machine}, by `--write`."
    text = f"{taken}\n\n{text}"
    sys.stdout.write(f"{text}\n")
    for problem in problems:
        say(f"FAILED: {problem}")
    if is_written and not problems:
        before, rest = page.read_text(encoding="utf-8").split(f"{BEGIN}\n")
        _, after = rest.split(END)
        page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    return 1 if problems else 0


def say(text: str) -> None:
    """Tell whoever waits what is going on."""
    sys.stderr.write(f"{text}\n")


def table(rows: list[list[str]]) -> str:
    """Return rows as a table of Markdown, the first one as its head."""
    lines = [" | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) for row in rows]
    rule = " | ".join("---" for _ in rows[0])
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))
