#!/usr/bin/env bash
# Installs what is needed and serves the API in the foreground, until Ctrl-C or SIGTERM.
# Settings come from the environment or from .env: see docs/deployment-infra.md.
# It calls itself with --with-database for the half that needs the database.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
python=.venv/bin/python

fail() {
  printf 'startServer.sh: %s\n' "$*" >&2
  exit 1
}

stop() {
  trap '' INT TERM HUP
  local job
  for job in $(jobs -p); do
    kill -TERM "$job" 2>/dev/null || true
  done
  wait
  exit 0
}

# Bash holds a trap back until a command in the foreground ends, so none runs there for long.
interruptible() {
  "$@" &
  wait "$!"
}

step() {
  printf '%s ...\n' "$1"
  shift
  local began=$SECONDS
  interruptible "$@"
  if [ "$((SECONDS - began))" -gt 1 ]; then
    printf '  done in %s s\n' "$((SECONDS - began))"
  fi
}

write_development_settings() {
  if [ -e .env ] || [ -n "${DJANGO_SECRET_KEY+set}${DJANGO_DEBUG+set}" ]; then
    return
  fi
  echo 'Writing .env with settings for development.'
  (
    umask 077
    "$python" -c 'import secrets; print("DJANGO_SECRET_KEY=" + secrets.token_urlsafe(50) + "\nDJANGO_DEBUG=true")' \
      >.venv/new.env
  )
  mv .venv/new.env .env
}

print_settings() {
  "$python" - <<'END'
import sys

from django.core.exceptions import ImproperlyConfigured

try:
    from backend.environment import env
    from backend.settings import DEBUG
except (ImproperlyConfigured, OSError) as error:
    sys.exit(f"startServer.sh: {error}")
values = env.str("HOST", "") or "127.0.0.1", env.str("PORT", "") or "8000", env.str("WEB_CONCURRENCY", "") or "1"
print(*values, "debug" if DEBUG else "production", sep="\t")
END
}

read_settings() {
  local settings
  settings=$(trap '' INT && print_settings) || exit 1
  IFS=$'\t' read -r HOST PORT WEB_CONCURRENCY MODE <<<"$settings"
  export HOST PORT WEB_CONCURRENCY MODE
  case $PORT in
    '' | *[!0-9]* | ??????*) fail "PORT must be a number, at most 65535, not '$PORT'." ;;
  esac
  [ "$PORT" -le 65535 ] || fail "PORT must be a number, at most 65535, not '$PORT'."
  case $WEB_CONCURRENCY in
    [1-9] | [1-9][0-9]) ;;
    *) fail "WEB_CONCURRENCY must be a number of processes from 1 to 99, not '$WEB_CONCURRENCY'." ;;
  esac
}

can_connect() {
  (exec 3<>"/dev/tcp/$HOST/$PORT") 2>/dev/null
}

is_healthy() {
  (
    exec 3<>"/dev/tcp/$HOST/$PORT"
    printf 'GET /api/healthcheck/ HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    IFS=' ' read -r _ status _ <&3
    [ "$status" = 200 ]
  ) 2>/dev/null
}

write_schema() {
  local fresh=.venv/openapi-schema.$$.yml
  step 'Writing openapi-schema.yml' "$python" manage.py spectacular --validate --fail-on-warn --file "$fresh"
  if cmp -s "$fresh" openapi-schema.yml; then
    rm "$fresh"
  else
    mv "$fresh" openapi-schema.yml
  fi
}

announce() {
  local host=$HOST
  case $host in
    0.0.0.0) host=127.0.0.1 ;;
    *:*) host="[$host]" ;;
  esac
  local url=http://$host:$PORT
  printf 'Ready: API %s/api/, docs %s/api/docs/, admin %s/admin/ (Ctrl-C stops it)\n' "$url" "$url" "$url"
}

serve() {
  "$python" -m devtools.embedded_postgres run --end-with-parent -- ./startServer.sh --with-database &
  local server=$! status=0
  until is_healthy; do
    kill -0 "$server" 2>/dev/null || break
    sleep 0.2
  done
  if kill -0 "$server" 2>/dev/null; then
    announce
  fi
  wait "$server" || status=$?
  fail "ended without being asked to (status $status); the lines above say why."
}

trap stop INT TERM HUP
case "${1-}" in
  '')
    command -v python3 >/dev/null || fail 'there is no python3: install Python 3.12 or newer.'
    interruptible python3 -I devtools/bootstrap.py
    write_development_settings
    read_settings
    if can_connect; then
      fail "port $PORT of $HOST is in use: stop what listens there, or set PORT to another one."
    fi
    serve
    ;;
  --with-database)
    step 'Migrating the database' "$python" manage.py migrate_once --verbosity 0
    write_schema
    step 'Loading the catalog if there is none' "$python" manage.py load_catalog --if-empty
    if [ "$MODE" = production ]; then
      step 'Collecting static files' "$python" manage.py collectstatic --no-input --verbosity 0
    fi
    echo 'Starting the server ...'
    exec "$python" -u -m gunicorn --config python:serving.gunicorn_conf backend.asgi:application
    ;;
  *)
    fail 'it takes no arguments; settings come from the environment or from .env.'
    ;;
esac
