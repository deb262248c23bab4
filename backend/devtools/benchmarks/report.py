"""What the benchmarks and the trials of reliability share: their options, their tables and the pages with them."""

import argparse
import os
import platform
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from backend.environment import BASE_DIR

DOCS = BASE_DIR.parent / "docs"
BEGIN = "<!-- Written by the command, from here -->"
END = "<!-- to here. -->"


def parse(
    arguments: list[str], name: str, description: str, choices: Collection[str], page: Path
) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(prog=f"python -m devtools.{name}", description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *choices], help="default: all")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--small", action="store_true", help="small and short: only to see that they run")
    parser.add_argument("--write", action="store_true", help=f"write the tables of docs/{page.name}")
    if name == "benchmarks":
        parser.add_argument("--keep", action="store_true", help="keep the databases for the next run with --keep")
    options = parser.parse_args(arguments)
    if options.write and (options.names or options.small):
        parser.error("--write takes all of them at full size")
    return options


def say(text: str) -> None:
    """Tell whoever waits what is going on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(rows: list[list[str]]) -> str:
    """Return rows as a table of Markdown, the first one as its head."""
    lines = [" | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) for row in rows]
    rule = " | ".join("---" for _ in rows[0])
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))


def conditions(command: str) -> str:
    """Return when, where and by which command figures were taken."""
    return f"Taken on {datetime.now(UTC):%Y-%m-%d}, on {_machine()}, by `.venv/bin/python -m {command}` in `backend/`."


def write(page: Path, text: str) -> None:
    """Put ``text`` between the marks of a page; raises ``ValueError`` where it has none."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for the tables, between {BEGIN} and {END}.")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
    say(f"Written: {page}")


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{platform.system()} on {names[0] if names else platform.machine()}, {cores} cores, {gigabytes:.0f} GB"
