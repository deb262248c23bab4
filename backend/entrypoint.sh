#!/usr/bin/env bash
# Docker entrypoint for stage and production: waits for the database, migrates it and serves.
# DATABASE_WAIT_SECONDS (60) limits the wait, PORT (8000) is listened on by WEB_CONCURRENCY (1) processes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Bash holds a trap back until a command in the foreground ends, and the first process of a container gets no
# signal that it has no trap for.
interruptible() {
  "$@" &
  wait "$!"
}

stop() {
  trap '' INT TERM
  local job
  for job in $(jobs -p); do
    kill -TERM "$job" 2>/dev/null || true
  done
  wait
  exit 143
}

wait_for_database() {
  exec python - <<'END'
import os
import signal
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection

limit = float(os.environ.get("DATABASE_WAIT_SECONDS") or 60)
began = time.monotonic()
told = ""
while True:
    try:
        connection.ensure_connection()
        break
    except ImproperlyConfigured as error:
        sys.exit(f"entrypoint.sh: {error}")
    except OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        if time.monotonic() - began > limit:
            sys.exit(f"entrypoint.sh: the database did not answer within {limit:.0f} s: {reason}")
        if reason != told:
            print(f"entrypoint.sh: waiting for the database: {reason}", file=sys.stderr, flush=True)
            told = reason
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
trap stop INT TERM
interruptible wait_for_database
interruptible python manage.py migrate_once
HOST=0.0.0.0 exec python -m gunicorn --config python:backend.gunicorn_conf backend.asgi:application
