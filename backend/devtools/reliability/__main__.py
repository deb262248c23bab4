"""The command: ``python -m devtools.reliability [NAME...]``, in the folder of ``manage.py``."""

import argparse
import http.client
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import aiohttp
import psycopg

from backend.environment import EMBEDDED_DATABASE, EMBEDDED_USER, data_directory
from devtools.benchmarks.measure import BenchmarkError
from devtools.benchmarks.report import say
from devtools.benchmarks.servers import ADDRESS
from devtools.embedded_postgres import ClusterError, temporary_folder

from .report import PAGE, Report
from .scenario import FULL, SMALL, Outcome, ReliabilityError, Scale, Scenario, SkippedError
from .scenarios import SCENARIOS

FAILURES = (
    ReliabilityError,
    BenchmarkError,
    ClusterError,
    OSError,
    http.client.HTTPException,
    aiohttp.ClientError,
    psycopg.Error,
    subprocess.SubprocessError,
)
# What keeps out what a developer's environment and .env say. The servers are the production's, but for their database.
LIMITS = {
    "REQUEST_WAIT_SECONDS": "10",
    "REQUEST_MAX_BYTES": "2621440",
    "REQUEST_HEAD_SECONDS": "10",
    "REQUEST_READ_SECONDS": "30",
    "RESPONSE_STALL_SECONDS": "30",
    "KEEP_ALIVE_SECONDS": "75",
    "CONNECTIONS_MAX": "2000",
    "SQL_STATEMENT_TIMEOUT_MS": "30000",
    "SQL_LOCK_TIMEOUT_MS": "5000",
    "SQL_IDLE_TIMEOUT_MS": "60000",
    "LOGIN_RATE": "5/15m",
    "LOGIN_ACCOUNT_RATE": "50/15m",
    "LOGIN_ADDRESS_RATE": "50/15m",
    "SIGNUP_RATE": "60/1h",
    "PASSWORD_RESET_RATE": "20/1h",  # nosec B105: a rate
    "PASSWORD_MAIL_RATE": "3/1h",  # nosec B105: a rate
}
SETTINGS = LIMITS | {
    "DJANGO_DEBUG": "false",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "INFO",
    "EMAIL_BACKEND": "console",
    "PASSWORD_RESET_URL": "https://jobs.example.org/reset-password",  # nosec B105: an address
    "DJANGO_ALLOWED_HOSTS": f"{ADDRESS},localhost",
    "DJANGO_SSL_REDIRECT": "false",
    "DJANGO_BEHIND_PROXY": "false",
    "TRUSTED_PROXIES": "",
    "HOST": ADDRESS,
    "SQL_HOST": "",
    "SQL_PORT": "",
    "SQL_USER": EMBEDDED_USER,
    "SQL_PASSWORD": "",  # nosec B105: none
    "SQL_DATABASE": EMBEDDED_DATABASE,
    "SQL_REPLICA_HOST": "",
}


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line and return the exit code."""
    options = _parse(arguments)
    if options.list:
        width = max(map(len, SCENARIOS))
        sys.stdout.writelines(f"{name:{width}}  {it.title}: {it.expects}\n" for name, it in SCENARIOS.items())
        return 0
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with _place():
        report = Report([_try(SCENARIOS[name], _scale(options)) for name in options.names or SCENARIOS])
    sys.stdout.write(f"{report.screen()}\n")
    for problem in report.problems():
        say(f"FAILED: {problem}")
    if options.write and not report.problems():
        PAGE.write_text(report.written_into(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        say(f"Written: {PAGE}")
    return 1 if report.problems() else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m devtools.reliability", description="Break things, and see what is lost."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *SCENARIOS], help="default: all")
    parser.add_argument("--list", action="store_true", help="print the names, and what must hold")
    parser.add_argument("--small", action="store_true", help="each of them shortly")
    parser.add_argument("--write", action="store_true", help=f"write the table of {PAGE.relative_to(PAGE.parents[1])}")
    options = parser.parse_args(arguments)
    if options.write and (options.names or options.small):
        parser.error("--write takes all scenarios at full size")
    return options


def _scale(options: argparse.Namespace) -> Scale:
    return SMALL if options.small else FULL


@contextmanager
def _place() -> Iterator[None]:
    """Have the environment lead to a folder for this run alone, which goes away with all databases in it."""
    with temporary_folder(data_directory()) as (folder, _):
        before = dict(os.environ)
        os.environ |= SETTINGS | {"DATA_DIR": str(folder), "DJANGO_SECRET_KEY": secrets.token_urlsafe(50)}
        try:
            yield
        finally:
            os.environ.clear()
            os.environ |= before


def _try(scenario: Scenario, scale: Scale) -> tuple[Scenario, Outcome | str]:
    say(f"{scenario.name}: {scenario.expects} ...")
    began = time.monotonic()
    try:
        outcome = scenario.run(scale)
    except SkippedError as error:
        say(f"  skipped: {error}")
        return scenario, str(error)
    except (*FAILURES, ExceptionGroup) as error:
        outcome = Outcome("broken off", "not known", "-", tuple(_texts(error)))
    say(f"  {'FAILED' if outcome.problems else 'held'}, in {time.monotonic() - began:.1f} s")
    return scenario, outcome


def _texts(error: Exception) -> Iterator[str]:
    """Return a text for each error of a group, or for the only one."""
    if isinstance(error, ExceptionGroup):
        for part in error.exceptions:
            yield from _texts(part)
    else:
        yield f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
