#!/usr/bin/env python
"""Django's command line, with a missing setting or database told without a traceback."""

import os
import shlex
import sys
import threading

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError

from backend.environment import env
from serving.processes import exit_on_signals


def main() -> None:
    """Run the command that ``sys.argv`` names; a wrong configuration ends it with exit code 1."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")
    for name in ("SQL_STATEMENT_TIMEOUT_MS", "SQL_LOCK_TIMEOUT_MS", "SQL_IDLE_TIMEOUT_MS"):
        os.environ.setdefault(name, "0")
    exit_on_signals()
    threading.excepthook = end_like_the_main_thread
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")
    except OperationalError as error:
        if not is_unconnected(error):
            raise
        sys.exit(advice_for(error))


def end_like_the_main_thread(failure: threading.ExceptHookArgs) -> None:
    """End ``runserver``, which asks the database in a thread, with the same advice as any other command."""
    if is_unconnected(failure.exc_value):
        sys.stderr.write(f"{advice_for(failure.exc_value)}\n")
        os._exit(1)
    threading.__excepthook__(failure)


def is_unconnected(error: BaseException | None) -> bool:
    """Whether PostgreSQL was not reached, rather than refused a statement: only a statement's errors have a code."""
    cause = error.__cause__ if isinstance(error, OperationalError) else None
    return isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None


def advice_for(error: BaseException | None) -> str:
    """Return what to do where no database answers."""
    if host := env.str("SQL_HOST", ""):
        return (
            f"manage.py: {error}\nSee that PostgreSQL runs on {host} (SQL_HOST), with this database, user and password."
        )
    command = shlex.join(["manage.py", *sys.argv[1:]])
    return (
        f"manage.py: {error}\nStart the server, or run the command with the embedded database, in backend:\n"
        f"    .venv/bin/python -m devtools.embedded_postgres run -- .venv/bin/python {command}\n"
        "or set SQL_HOST to the host of another PostgreSQL."
    )


if __name__ == "__main__":
    main()
