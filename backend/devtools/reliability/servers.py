"""Servers to break: several processes and a durable, supervised embedded database, as ``startServer.sh`` has them.

All of them start with a copy of one database, which holds the catalog, and accounts that are signed in.
"""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import psycopg

from backend.environment import BASE_DIR, EMBEDDED_DATABASE, EMBEDDED_USER, data_directory
from devtools.benchmarks.client import signed_in
from devtools.benchmarks.report import say
from devtools.benchmarks.servers import ADDRESS, running
from devtools.embedded_postgres import Cluster, temporary_folder

from .ports import reserved_port
from .scenario import ReliabilityError

PROCESSES = 2
THREADS = 4  # of each of them
WAIT_SECONDS = 90
PATIENCE_SECONDS = 5
LOG_LINES = 25
GUNICORN = (
    sys.executable,
    "-u",
    "-m",
    "gunicorn",
    "--config",
    "python:serving.gunicorn_conf",
    "backend.asgi:application",
)
HEALTH = "/api/healthcheck/"
RUN = (sys.executable, "-m", "devtools.embedded_postgres", "run", "--end-with-parent", "--")


@dataclass(frozen=True)
class Account:
    """Someone who is signed in."""

    email: str
    session: str

    @property
    def headers(self) -> dict[str, str]:
        """What they send to be known, and to be allowed to write."""
        return signed_in(self.session)


@dataclass(frozen=True)
class Content:
    """What the database holds when a server starts: accounts, and the ids of the catalog's rows."""

    volunteers: list[Account]
    managers: list[Account]
    skills: list[str]
    projects: list[str]
    roles: list[str]
    communities: list[str]


@dataclass(frozen=True)
class Server:
    """A server that runs: ``supervisor`` watches the database and ends when Gunicorn, its only child, does."""

    port: int
    cluster: Cluster
    content: Content
    supervisor: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The start of every address."""
        return f"http://{ADDRESS}:{self.port}"

    @property
    def log(self) -> Path:
        """What the server and its supervisor have printed."""
        return _log(self.cluster.data_dir)

    def master(self) -> int:
        """Return the process id of Gunicorn, which starts and replaces the workers."""
        return next(process for process in _children(self.supervisor.pid) if _is_gunicorn(process))

    def workers(self) -> set[int]:
        """Return the process ids of those that serve."""
        return set(_children(self.master()))

    def is_healthy(self) -> bool:
        """Whether the server answers, and its database does."""
        return self.answers(HEALTH)

    def answers(self, path: str) -> bool:
        """Whether the server answers a GET, and soon."""
        connection = http.client.HTTPConnection(ADDRESS, self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        """Have a connection to the server's database, each statement a transaction."""
        with connect(self.cluster) as connection:
            yield connection


@contextmanager
def serving(**settings: str) -> Iterator[Server]:
    """Have a server with a database of its own, in a folder that goes away."""
    with temporary_folder(data_directory()) as (folder, _):
        data_dir = folder / "data"  # the folder itself counts as used
        content = prepare(data_dir)
        with launched(data_dir, content, **settings) as server:
            yield server


@contextmanager
def launched(data_dir: Path, content: Content, **settings: str) -> Iterator[Server]:
    """Have a server with the database in ``data_dir``; at the end it is stopped, if it runs."""
    cluster = Cluster(data_dir)
    with reserved_port() as port, started(server_command(cluster), data_dir, port, **settings) as process:
        server = Server(port, cluster, content, process)
        try:
            _wait_until_served(server)
            yield server
        except Exception:
            say(f"The end of the server's log:\n{tail(server.log)}")
            raise


def server_command(cluster: Cluster) -> tuple[str, ...]:
    """Return what ``startServer.sh`` comes to in the end, with the settings of production."""
    return (*RUN, "env", f"SQL_HOST={cluster.socket}", *GUNICORN)


@contextmanager
def started(command: tuple[str, ...], data_dir: Path, port: int, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have ``command`` run with the settings of a server; at the end it is stopped, if it runs."""
    environment = {
        "DATA_DIR": str(data_dir),
        "TMPDIR": str(data_dir.parent),  # what killed processes leave there goes with the data
        "PORT": str(port),
        "WEB_CONCURRENCY": str(PROCESSES),
        "REQUEST_THREADS": str(THREADS),
        **settings,
    }
    with _log(data_dir).open("ab") as log:
        process = subprocess.Popen(
            command, cwd=BASE_DIR, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    with running(process):
        yield process


def prepare(data_dir: Path) -> Content:
    """Put a copy of the database that is the same for all into ``data_dir``, and return what it holds."""
    template = data_directory() / "template"
    told = template / "content.json"
    if not told.exists():
        say("  preparing the database ...")
        _make_template(Cluster(template), told)
    data_dir.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", template / "postgres", data_dir], check=True)
    content = json.loads(told.read_text())
    volunteers, managers = ([Account(*pair) for pair in content[kind].items()] for kind in ("volunteers", "managers"))
    rows = content["rows"]
    return Content(volunteers, managers, rows["skill"], rows["project"], rows["role"], rows["communityofpractice"])


def connect(cluster: Cluster) -> psycopg.Connection:
    """Return a connection to the cluster's database, each statement a transaction."""
    return psycopg.connect(
        host=str(cluster.socket), user=EMBEDDED_USER, dbname=EMBEDDED_DATABASE, autocommit=True, connect_timeout=5
    )


def is_free(port: int) -> bool:
    """Whether a server may listen on ``port``."""
    with suppress(OSError), socket.create_server((ADDRESS, port)):
        return True
    return False


async def until(condition: Callable[[], bool], otherwise: str, seconds: float = WAIT_SECONDS) -> float:
    """Return after how many seconds ``condition`` holds; raises ``ReliabilityError`` where it takes too long."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        if loop.time() - began > seconds:
            raise ReliabilityError(f"{otherwise} within {seconds:g} s.")
        await asyncio.sleep(0.01)
    return loop.time() - began


def kill(process: int) -> None:
    """Kill a process as a crash would."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def tail(log: Path) -> str:
    """Return the last lines of a file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def _log(data_dir: Path) -> Path:
    """Return a file that is not on the disk of the data, which may be a full one."""
    return data_dir.with_suffix(".log")


def _make_template(cluster: Cluster, told: Path) -> None:
    cluster.data_dir.mkdir()
    fill = ("env", f"SQL_HOST={cluster.socket}", sys.executable, "-m", "devtools.reliability.inside")
    done = subprocess.run(
        [*RUN, *fill],
        check=False,
        cwd=BASE_DIR,
        env=os.environ | {"DATA_DIR": str(cluster.data_dir), "DJANGO_SETTINGS_MODULE": "backend.settings"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ReliabilityError(f"The database could not be prepared:\n{done.stderr.strip()}")
    told.write_text(done.stdout)


def _wait_until_served(server: Server) -> None:
    def is_served() -> bool:
        if server.supervisor.poll() is not None:
            raise ReliabilityError(f"The server ended at its start:\n{tail(server.log)}")
        return server.is_healthy() and len(server.workers()) == PROCESSES

    asyncio.run(until(is_served, "The server does not answer"))


def _children(process: int) -> list[int]:
    with suppress(OSError):
        lists = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
        return [int(child) for text in lists for child in text.split()]
    return []


def _is_gunicorn(process: int) -> bool:
    with suppress(OSError):
        return b"gunicorn" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False
