"""Migrates step by step, and tells as JSON how long each took: ``-m devtools.reliability.stepping MIGRATION...``."""

import json
import os
import sys
import time

import django
from django.core.management import call_command

APP = "ctj_api"


def main(names: list[str]) -> None:
    """Migrate to each of ``names`` in turn."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")
    django.setup(set_prefix=False)
    json.dump({name: _step(name) for name in names}, sys.stdout)


def _step(name: str) -> float:
    began = time.monotonic()
    call_command("migrate", APP, name, verbosity=0)
    return time.monotonic() - began


if __name__ == "__main__":
    main(sys.argv[1:])
