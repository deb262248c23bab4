#!/usr/bin/env bash
# Docker entrypoint for stage and production: waits for the database, migrates it and serves.
# DATABASE_WAIT_SECONDS (60) limits the wait, PORT (8000) is listened on by WEB_CONCURRENCY (1) processes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Whatever is written until the server writes its own log comes out as lines of JSON; it ends after all others.
write_json_lines() {
  exec python -c '
import datetime, json, signal, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
sys.stdin.reconfigure(errors="replace")
for line in sys.stdin:
    if not line.startswith("{"):
        now = datetime.datetime.now(datetime.UTC).isoformat()
        said = {"event": line.strip(), "level": "info", "logger": "entrypoint", "timestamp": now}
        line = json.dumps(said) + "\n"
    sys.stderr.write(line)
    sys.stderr.flush()
'
}

exec 3>&1 4>&2 1> >(write_json_lines) 2>&1
json_lines=$!

write_all_lines() {
  exec 1>&3 2>&4 3>&- 4>&-
  wait "$json_lines" || true
}
trap write_all_lines EXIT

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
    wait "$job" || true
  done
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

limit = int(os.environ["DATABASE_WAIT_SECONDS"])
began = time.monotonic()
told = ""
while True:
    try:
        connection.ensure_connection()
        break
    except (ImproperlyConfigured, ValueError) as error:
        sys.exit(f"entrypoint.sh: {error}")
    except OperationalError as error:
        reason = " ".join(str(error).split())
        if reason != told:
            print(f"entrypoint.sh: waiting for the database: {reason}", file=sys.stderr, flush=True)
            told = reason
        if time.monotonic() - began > limit:
            sys.exit(f"entrypoint.sh: the database did not answer within {limit} s: {reason}")
        time.sleep(1)
END
}

# Ends with a message where a setting is no number within its limits.
check_number() {
  local name=$1 least=$2 most=$3 value=${!1}
  if [[ ! $value =~ ^(0|[1-9][0-9]{0,5})$ ]] || ((value < least || value > most)); then
    echo "entrypoint.sh: $name must be a number from $least to $most, not '$value'." >&2
    exit 1
  fi
}

export DATABASE_WAIT_SECONDS=${DATABASE_WAIT_SECONDS:-60} PORT=${PORT:-8000} WEB_CONCURRENCY=${WEB_CONCURRENCY:-1}
check_number DATABASE_WAIT_SECONDS 0 86400
check_number PORT 1 65535
check_number WEB_CONCURRENCY 1 99
trap stop INT TERM
interruptible wait_for_database
interruptible python manage.py migrate_once
trap - EXIT
write_all_lines
HOST=0.0.0.0 exec python -m gunicorn --config python:serving.gunicorn_conf backend.asgi:application
