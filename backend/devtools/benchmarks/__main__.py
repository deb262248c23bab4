"""The command: ``python -m devtools.benchmarks [NAME...]``, in the folder of ``manage.py``."""

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPException

import psycopg

from backend.environment import data_directory, env
from devtools.embedded_postgres import Cluster, ClusterError, served, temporary_cluster, temporary_environment

from . import load
from .bench import Bench
from .data import MAINTENANCE, Databases, connect
from .measure import BenchmarkError, Comparison, SkippedError
from .plan import FULL, SMALL, Plan
from .report import PAGE, LoadReport, Report, say
from .rows import BENCHMARKS
from .servers import ADDRESS

LOAD = "load"
FAILURES = (BenchmarkError, OSError, HTTPException, psycopg.Error)
SERVER_SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "devtools.benchmarks.settings",
    "DJANGO_DEBUG": "false",
    "EMAIL_BACKEND": "console",
    "PASSWORD_RESET_URL": "https://jobs.example.org/reset-password",  # nosec B105: an address
    "DJANGO_ALLOWED_HOSTS": ADDRESS,
    "DJANGO_SSL_REDIRECT": "false",
    "DJANGO_BEHIND_PROXY": "false",
    "SQL_REPLICA_HOST": "",
}
DATABASE_SETTINGS = ("SQL_HOST", "SQL_PORT", "SQL_USER", "SQL_PASSWORD")
SERVER_OPTIONS = ("fsync", "synchronous_commit", "shared_buffers")


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line and return the exit code."""
    options = _parse(arguments)
    if options.list:
        sys.stdout.write("".join(f"{name}\n" for name in (*BENCHMARKS, LOAD)))
        return 0
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with _database(options.keep):
            report, failures = _run(options)
    except ClusterError as error:
        say(str(error))
        return 1
    sys.stdout.write(f"{report.screen()}\n")
    for name, failure in failures.items():
        say(f"FAILED: {name}: {failure}")
    if options.write and not failures:
        PAGE.write_text(report.markdown(), encoding="utf-8")
        say(f"Written: {PAGE}")
    return 1 if failures else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m devtools.benchmarks", description="Measure the backend side by side."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *BENCHMARKS, LOAD], help="default: all")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--small", action="store_true", help="small and short: only to see that they run")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(PAGE.parents[1])}")
    parser.add_argument("--keep", action="store_true", help="keep the databases for the next run with --keep")
    parser.add_argument("--level-seconds", type=float, metavar="S", help="how long each level of the load lasts")
    options = parser.parse_args(arguments)
    if options.write and (options.names or options.small):
        parser.error("--write takes all benchmarks at full size")
    return options


@contextmanager
def _database(is_kept: bool) -> Iterator[None]:
    """Have the environment lead to a server: that of SQL_HOST, or one that is started for this run."""
    os.environ |= SERVER_SETTINGS | {"DJANGO_SECRET_KEY": secrets.token_urlsafe(50)}
    if env.str("SQL_HOST", ""):
        os.environ |= {name: env.str(name, "") for name in DATABASE_SETTINGS}
        yield
    elif is_kept:
        cluster = Cluster(data_directory() / "benchmarks")
        with served(cluster):
            os.environ |= temporary_environment(cluster)
            yield
    else:
        with temporary_cluster(data_directory()) as (cluster, _):
            os.environ |= temporary_environment(cluster)
            yield


def _run(options: argparse.Namespace) -> tuple[Report, dict[str, str]]:
    """Return what the benchmarks told, and what went wrong with which of them."""
    plan = _plan(options)
    databases = Databases(plan, options.keep)
    failures: dict[str, str] = {}
    skipped: list[tuple[str, str]] = []
    rows: list[tuple[str, Comparison]] = []
    loaded: LoadReport | None = None
    bench = Bench(plan, databases)
    try:
        for name in options.names or [*BENCHMARKS, LOAD]:
            say(f"{name} ...")
            try:
                if name == LOAD:
                    loaded = load.run(bench)
                else:
                    rows += [(name, row) for row in BENCHMARKS[name](bench)]
            except SkippedError as error:
                skipped.append((name, str(error)))
            except FAILURES as error:
                failures[name] = f"{type(error).__name__}: {error}"
    finally:
        databases.drop()
    return Report(_command(options), plan, options.small, _describe_database(), rows, skipped, loaded), failures


def _plan(options: argparse.Namespace) -> Plan:
    plan = SMALL if options.small else FULL
    return plan if options.level_seconds is None else replace(plan, level_seconds=options.level_seconds)


def _command(options: argparse.Namespace) -> str:
    keep = " --keep" if options.keep else ""
    return f".venv/bin/python -m devtools.benchmarks --write{keep}"


def _describe_database() -> str:
    with connect(MAINTENANCE) as connection:
        version = connection.info.server_version // 10_000, connection.info.server_version % 10_000
        rows = [connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in SERVER_OPTIONS]
    settings = ", ".join(f"{name} {row[0]}" for name, row in zip(SERVER_OPTIONS, rows, strict=True) if row)
    return f"PostgreSQL {version[0]}.{version[1]} ({settings})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
