"""The command: ``python -m devtools.benchmarks [NAME...]``, in the folder of ``manage.py``."""

import os
import platform
import secrets
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path

import aiohttp
import psycopg

from backend.environment import data_directory
from devtools.embedded_postgres import ClusterError, temporary_folder

from . import load, ranking, rows
from .bench import FULL, SMALL, Bench, connect
from .measure import BenchmarkError, Comparison
from .report import DOCS, conditions, parse, say, table, write
from .servers import SETTINGS, database

PAGE = DOCS / "performance.md"
HEAD = ["Benchmark", "Ours", "", "Reference", "", "Ratio", "Target", "Met"]
PACKAGES = ("Django", "djangorestframework", "daphne", "gunicorn", "psycopg", "orjson")
OPTIONS = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
FAILURES = (BenchmarkError, ClusterError, OSError, HTTPException, psycopg.Error, aiohttp.ClientError)
BENCHMARKS: dict[str, Callable[[Bench], Iterable[Comparison]]] = {
    benchmark.__name__.replace("_", "-"): benchmark
    for benchmark in (
        rows.empty_view,
        rows.list_orm,
        rows.list_bare,
        rows.skills_304,
        ranking.rank_opportunities,
        ranking.rank_volunteers,
        ranking.matches_request,
        ranking.matches_after_change,
        rows.search,
        rows.two_processes,
        rows.memory,
    )
}
LOAD = "load"


def main(arguments: list[str]) -> int:
    """Carry out the command line and return the exit code."""
    options = parse(arguments, "benchmarks", "Measure the backend side by side.", [*BENCHMARKS, LOAD], PAGE)
    if options.list:
        sys.stdout.write("".join(f"{name}\n" for name in (*BENCHMARKS, LOAD)))
        return 0
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    plan = SMALL if options.small else FULL
    with _folder(options.keep) as folder, ExitStack() as opened:
        os.environ |= SETTINGS | {"DJANGO_SECRET_KEY": secrets.token_urlsafe(50)}
        os.environ["SQL_HOST"] = str(opened.enter_context(database(folder)))
        text, failures = measure(Bench(plan, folder, opened), options.names or [*BENCHMARKS, LOAD])
        text = f"{conditions('devtools.benchmarks --write')} {_software()}\n\n{text}"
    sys.stdout.write(f"{text}\n")
    for failure in failures:
        say(f"FAILED: {failure}")
    if options.write and not failures:
        write(PAGE, text)
    return 1 if failures else 0


def measure(bench: Bench, names: list[str]) -> tuple[str, list[str]]:
    """Return the tables of the benchmarks with these names, and what went wrong with which of them."""
    compared: list[tuple[str, Comparison]] = []
    loads, failures = "", []
    for name in names:
        say(f"{name} ...")
        try:
            if name == LOAD:
                loads = table(load.run(bench))
            else:
                compared += [(name, row) for row in BENCHMARKS[name](bench)]
        except FAILURES as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
    comparisons = table([HEAD, *([name, *row.cells()] for name, row in compared)]) if compared else ""
    return "\n\n".join(part for part in (comparisons, loads) if part), failures


@contextmanager
def _folder(is_kept: bool) -> Iterator[Path]:
    """Have a folder for the databases, which goes away with them unless they are kept."""
    if is_kept:
        yield data_directory() / "benchmarks"
        return
    with temporary_folder(data_directory()) as (folder, _):
        yield folder / "data"


def _software() -> str:
    with connect("postgres") as sql:
        told = [sql.execute(f"SHOW {name}".encode()).fetchall()[0][0] for name in OPTIONS]
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    postgres = f"PostgreSQL {told[0]} (fsync {told[1]}, synchronous_commit {told[2]}, shared_buffers {told[3]})"
    return f"Python {platform.python_version()}, {postgres}, {packages}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
