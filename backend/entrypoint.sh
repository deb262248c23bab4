#!/usr/bin/env bash
# Docker entrypoint for stage and production: waits for the database, migrates it and serves.
# DATABASE_WAIT_SECONDS (60) limits the wait, PORT (8000) is listened on by WEB_CONCURRENCY (1) processes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

wait_for_database() {
  python - <<'END'
import os
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection

limit = float(os.environ.get("DATABASE_WAIT_SECONDS") or 60)
began = time.monotonic()
while True:
    try:
        connection.ensure_connection()
        break
    except ImproperlyConfigured as error:
        sys.exit(f"entrypoint.sh: {error}")
    except OperationalError as error:
        if time.monotonic() - began > limit:
            sys.exit(f"entrypoint.sh: the database did not answer within {limit:.0f} s: {error}")
        time.sleep(1)
END
}

case ${WEB_CONCURRENCY:=1} in
  [1-9] | [1-9][0-9]) export WEB_CONCURRENCY ;;
  *)
    echo "entrypoint.sh: WEB_CONCURRENCY must be a number of processes from 1 to 99, not '$WEB_CONCURRENCY'." >&2
    exit 1
    ;;
esac
wait_for_database
python manage.py migrate --no-input
HOST=0.0.0.0 exec python -m gunicorn --config python:backend.gunicorn_conf backend.asgi:application
