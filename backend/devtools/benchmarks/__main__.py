"""The command: ``python -m devtools.benchmarks [NAME...]``, in the folder of ``manage.py``."""

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from backend.environment import data_directory
from devtools.embedded_postgres import temporary_folder

from . import rows
from .bench import FULL, SMALL, Bench
from .measure import Row
from .report import DOCS, attempt, finish, parse, table
from .servers import SETTINGS, database

PAGE = DOCS / "performance.md"
BENCHMARKS: dict[str, Callable[[Bench], Iterable[Row]]] = {
    "repeated": rows.repeated,
    "first-time": rows.first_time,
    "writes": rows.writes,
    "matches": rows.matches,
    "empty-view": rows.empty_view,
    "load": rows.load,
}


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line and return the exit code."""
    options = parse("benchmarks", arguments, {name: benchmark.__doc__ for name, benchmark in BENCHMARKS.items()})
    with temporary_folder(data_directory()) as (folder, _), ExitStack() as opened:
        os.environ |= SETTINGS | {"DJANGO_SETTINGS_MODULE": "devtools.benchmarks.settings"}
        os.environ["DJANGO_SECRET_KEY"] = secrets.token_urlsafe(50)
        os.environ["REQUIRE_HISTORY"] = "true"  # of the version to compare with
        os.environ["SQL_HOST"] = str(opened.enter_context(database(folder / "data")))
        text, problems = measure(Bench(SMALL if options.small else FULL, folder, opened), options.names)
    return finish(PAGE, text, problems, is_written=options.write)


def measure(bench: Bench, names: Iterable[str]) -> tuple[str, list[str]]:
    """Return the tables of the benchmarks with these names, and what went wrong with which of them."""
    tables: dict[tuple[str, ...], list[list[str]]] = {}

    def run(name: str) -> list[str]:
        for row in BENCHMARKS[name](bench):
            head = ("Benchmark", *row)
            tables.setdefault(head, [list(head)]).append([name, *row.values()])
        return []

    problems = attempt(names, run)
    return "\n\n".join(map(table, tables.values())), problems


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
