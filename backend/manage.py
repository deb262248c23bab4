#!/usr/bin/env python
"""Django's command line, with a missing setting told in one line."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from serving.processes import exit_on_signals


def main() -> None:
    """Run the command that ``sys.argv`` names; a wrong configuration ends it with exit code 1."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")
    for name in ("SQL_STATEMENT_TIMEOUT_MS", "SQL_LOCK_TIMEOUT_MS", "SQL_IDLE_TIMEOUT_MS"):
        os.environ.setdefault(name, "0")
    exit_on_signals()
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")


if __name__ == "__main__":
    main()
