#!/usr/bin/env bash
# Installs what is needed and runs the tests: backend/runTests.sh [pytest arguments]
# Without arguments it runs all of them, in as many processes as there are processors, four at most.
# They use a PostgreSQL of their own, or the one that SQL_HOST in the environment names, and nothing from .env.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

command -v python3 >/dev/null || {
  echo 'runTests.sh: there is no python3: install Python 3.12 or newer.' >&2
  exit 1
}
stop() {
  trap '' INT TERM HUP
  local job
  for job in $(jobs -p); do
    kill -TERM "$job" 2>/dev/null || true
  done
  wait
  exit 143
}

trap stop INT TERM HUP
python3 -I devtools/bootstrap.py &
wait "$!"
trap - INT TERM HUP

DJANGO_SECRET_KEY=$(.venv/bin/python -c 'import secrets; print(secrets.token_urlsafe(50))')
export DJANGO_SECRET_KEY
export DJANGO_DEBUG=false
export DJANGO_ALLOWED_HOSTS=testserver,localhost
export DJANGO_SSL_REDIRECT=false
export DJANGO_BEHIND_PROXY=false
export EMAIL_BACKEND=console
export PASSWORD_RESET_URL=https://jobs.example.org/reset-password

[ $# -gt 0 ] || set -- --numprocesses=auto --maxprocesses=4
if [ -n "${SQL_HOST-}" ]; then
  exec .venv/bin/python -m pytest "$@"
fi
exec .venv/bin/python -m devtools.embedded_postgres run --temporary -- .venv/bin/python -m pytest "$@"
