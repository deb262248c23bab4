"""The processes that are measured: PostgreSQL with ``fsync`` on, and the project under Gunicorn, as in production."""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.environment import BASE_DIR, EMBEDDED_DATABASE, EMBEDDED_USER
from devtools.embedded_postgres import Cluster

from .measure import BenchmarkError, check

ADDRESS = "127.0.0.1"
OURS = "backend.asgi:application"
STOCK = "django.core.asgi:get_asgi_application()"
RUN_DATABASE = (sys.executable, "-m", "devtools.embedded_postgres", "run", "--end-with-parent", "--")
GUNICORN = (sys.executable, "-u", "-m", "gunicorn", "--config", "python:serving.gunicorn_conf")
START_SECONDS = 60
STOP_SECONDS = 20
# Those of production, logs and metrics included, whatever the environment or a developer's .env says.
SETTINGS = {
    "DJANGO_DEBUG": "false",
    "DJANGO_ALLOWED_HOSTS": f"{ADDRESS},localhost",
    "DJANGO_SSL_REDIRECT": "false",
    "DJANGO_BEHIND_PROXY": "false",
    "TRUSTED_PROXIES": "",
    "EMAIL_BACKEND": "console",
    "PASSWORD_RESET_URL": "https://jobs.example.org/reset-password",  # nosec B105: an address
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "INFO",
    "SQL_PORT": "",
    "SQL_USER": EMBEDDED_USER,
    "SQL_PASSWORD": "",  # nosec B105: none
    "SQL_DATABASE": EMBEDDED_DATABASE,
}


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    port: int
    gunicorn: int

    def private_memory(self) -> int:
        """Return how many bytes of memory its processes share with no other process, as Linux tells it."""
        return sum(_private_memory(process) for process in children(self.gunicorn))


@contextmanager
def running(command: tuple[str, ...], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Have a command run in the folder of the project; at the end it is stopped, if it still runs."""
    process = subprocess.Popen(command, cwd=BASE_DIR, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def database(data_dir: Path) -> Iterator[Path]:
    """Have the PostgreSQL of a folder run, with all that makes it durable, and yield the folder of its socket."""
    command = (*RUN_DATABASE, sys.executable, "-c", "print(flush=True); input()")
    environment = os.environ | {"DATA_DIR": str(data_dir), "SQL_HOST": ""}
    with running(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        check(bool(process.stdout and process.stdout.readline()), "The database does not start.")
        yield Cluster(data_dir).socket


@contextmanager
def serving(name: str, application: str = OURS, processes: int = 1) -> Iterator[Server]:
    """Have an application served by so many processes, with the database of this name."""
    with socket.create_server((ADDRESS, 0), backlog=1024) as listener, tempfile.TemporaryFile() as log:
        port: int = listener.getsockname()[1]
        command = (*GUNICORN, f"--workers={processes}", f"--bind=fd://{listener.fileno()}", application)
        settings = os.environ | {"SQL_DATABASE": name, "DJANGO_SETTINGS_MODULE": "devtools.benchmarks.settings"}
        with running(command, env=settings, pass_fds=[listener.fileno()], stdout=log, stderr=log) as process:
            listener.close()  # so that nobody waits for a server that has ended
            try:
                _wait_for_answer(port)
                yield Server(port, process.pid)
            except (BenchmarkError, OSError) as error:
                log.seek(0)
                raise BenchmarkError(f"{error}\nThe end of the server's log:\n{log.read()[-3000:].decode()}") from error


def children(process: int) -> list[int]:
    """Return the ids of the processes that a process has started, as Linux tells them."""
    lists = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    return [int(child) for text in lists for child in text.split()]


def _wait_for_answer(port: int) -> None:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=START_SECONDS)
    connection.request("GET", "/api/healthcheck/")
    check(connection.getresponse().status == http.client.OK, "The server is not healthy.")
    connection.close()


def _private_memory(process: int) -> int:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    sizes = dict(line.split(":", 1) for line in lines[1:])
    return sum(int(sizes[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")) * 1024
