"""The processes that are measured and broken: a durable PostgreSQL, and the project under Gunicorn."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from backend.environment import BASE_DIR
from devtools.embedded_postgres import Cluster
from serving.tests.ports import ADDRESS

from .measure import BenchmarkError, check

RUN_DATABASE = (sys.executable, "-m", "devtools.embedded_postgres", "run", "--end-with-parent", "--")
GUNICORN = (sys.executable, "-u", "-m", "gunicorn", "--config", "python:serving.gunicorn_conf")
OURS = (*GUNICORN, "backend.asgi:application")
BARE = (*GUNICORN, "devtools.benchmarks.bare:application")
STOCK = (*GUNICORN, "django.core.asgi:get_asgi_application()")
PLAIN = (
    *("env", "DJANGO_SETTINGS_MODULE=devtools.benchmarks.plain_settings", sys.executable, "-u", "-m", "gunicorn"),
    *("--threads=4", "--keep-alive=60", "django.core.wsgi:get_wsgi_application()"),
)
HEALTH = "/api/healthcheck/"
# Those of production, logs and metrics included, whatever the environment or a developer's .env says. The limits of
# attempts are tried by tests; here they would end the trials.
SETTINGS = dict(line.split("=", 1) for line in (Path(__file__).parent / "production.env").read_text().splitlines())


@contextmanager
def running(command: tuple[str, ...], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Have a command run in the folder of the project; at the end it is stopped, if it still runs."""
    with subprocess.Popen(command, cwd=BASE_DIR, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def database(data_dir: Path) -> Iterator[Path]:
    """Have the PostgreSQL of a folder run, with all that makes it durable, and give the folder of its socket."""
    command = (*RUN_DATABASE, sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()")
    environment = os.environ | {"DATA_DIR": str(data_dir), "SQL_HOST": ""}
    with running(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        check(bool(process.stdout and process.stdout.readline()), "The database does not start.")
        yield Cluster(data_dir).socket


@contextmanager
def serving(command: tuple[str, ...], port: int, log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have a server on a port, from its first answer on; at the end it is stopped, if it still runs."""
    environment = os.environ | settings | {"PORT": str(port)}
    with (
        log.open("ab") as file,
        running(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file) as process,
    ):
        deadline = time.monotonic() + 90
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"The server does not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)
        yield process


def manage(*arguments: str, code: Path = BASE_DIR, **settings: str) -> float:
    """Run a management command as in development, where alone the demo may be seeded; return the seconds it took."""
    began = time.monotonic()
    environment = os.environ | {"DJANGO_DEBUG": "true"} | settings
    subprocess.run((sys.executable, "manage.py", *arguments), check=True, cwd=code, env=environment, stdout=sys.stderr)
    return time.monotonic() - began


def answers(port: int, path: str = HEALTH) -> bool:
    """Whether the server on a port answers a GET, and soon."""
    connection = HTTPConnection(ADDRESS, port, timeout=5)
    with closing(connection), suppress(OSError, HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    return False


def children(process: int) -> list[int]:
    """Return the ids of the processes that a process has started, as Linux tells them."""
    lists = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    return [int(child) for text in lists for child in text.split()]
