"""The command: ``python -m devtools.benchmarks [NAME...]``, in the folder of ``manage.py``."""

import os
import platform
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from backend.environment import data_directory
from devtools.embedded_postgres import temporary_folder

from . import load, ranking, rows
from .bench import FULL, SMALL, Bench, connect
from .measure import Comparison
from .report import DOCS, attempt, finish, parse, table
from .servers import SETTINGS, database

PAGE = DOCS / "performance.md"
HEAD = ["Benchmark", "Ours", "", "Reference", "", "Ratio", "Target", "Met"]
PACKAGES = ("Django", "djangorestframework", "daphne", "gunicorn", "psycopg", "orjson")
OPTIONS = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
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


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line and return the exit code."""
    options = parse("benchmarks", arguments, [*BENCHMARKS, LOAD])
    if options.list:
        sys.stdout.write("".join(f"{name}\n" for name in options.names))
        return 0
    with _folder(options.keep) as folder, ExitStack() as opened:
        os.environ |= SETTINGS | {"DJANGO_SECRET_KEY": secrets.token_urlsafe(50)}
        os.environ["SQL_HOST"] = str(opened.enter_context(database(folder)))
        text, problems = measure(Bench(SMALL if options.small else FULL, opened), options.names)
        text = f"{_software()}\n\n{text}"
    return finish(PAGE, text, problems, is_written=options.write)


def measure(bench: Bench, names: list[str]) -> tuple[str, list[str]]:
    """Return the tables of the benchmarks with these names, and what went wrong with which of them."""
    compared, loads = [HEAD], list[list[str]]()

    def run(name: str) -> list[str]:
        if name == LOAD:
            loads.extend(load.run(bench))
        else:
            compared.extend([name, *row.cells()] for row in BENCHMARKS[name](bench))
        return []

    problems = attempt(names, run)
    return "\n\n".join(table(rows) for rows in (compared, loads) if rows), problems


@contextmanager
def _folder(is_kept: bool) -> Iterator[Path]:
    """Have a folder for the databases, which goes away with them unless they are kept."""
    if is_kept:
        yield data_directory() / "benchmarks"
    else:
        with temporary_folder(data_directory()) as (folder, _):
            yield folder / "data"


def _software() -> str:
    with connect("postgres") as sql:
        told = [f"{name} {sql.execute(f'SHOW {name}'.encode()).fetchall()[0][0]}" for name in OPTIONS]
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    return f"Python {platform.python_version()}, {', '.join(packages)}, PostgreSQL with {', '.join(told)}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
