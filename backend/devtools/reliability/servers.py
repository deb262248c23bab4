"""Servers to break: several processes, and a database that is supervised, as ``startServer.sh`` has them."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psycopg

from backend.environment import BASE_DIR, EMBEDDED_DATABASE, EMBEDDED_USER, data_directory
from devtools.benchmarks import servers
from devtools.benchmarks.servers import HEALTH, OURS, RUN_DATABASE, children, database
from devtools.embedded_postgres import Cluster, temporary_folder
from serving.tests.ports import reserved_port

from .scenario import ReliabilityError

PROCESSES = 2
THREADS = 4  # of each of them
WAIT_SECONDS = 90
PROCESS_SETTINGS = {"WEB_CONCURRENCY": str(PROCESSES), "REQUEST_THREADS": str(THREADS)}
FOLDER = Path(__file__).parent


def allow_files(count: int) -> None:
    """Let this process have so many connections; raises a ``ValueError`` where the system doesn't."""
    wanted, (soft, hard) = count + 200, resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


class Content(NamedTuple):
    """What the database holds when a server starts: sessions by e-mail address, and the ids of the catalog's rows."""

    volunteers: dict[str, str]
    managers: dict[str, str]
    skills: list[str]
    projects: list[str]
    roles: list[str]
    communities: list[str]


class Server(NamedTuple):
    """A server that runs; ``supervisor`` watches the database, and ends when the server does."""

    port: int
    cluster: Cluster
    content: Content
    supervisor: subprocess.Popen[bytes]
    log: Path

    def master(self) -> int:
        """Return the process id of Gunicorn, which starts and replaces the workers."""
        started = children(self.supervisor.pid)
        return next(pid for pid in started if "gunicorn" in Path(f"/proc/{pid}/cmdline").read_text())

    def workers(self) -> list[int]:
        """Return the process ids of those that serve."""
        return children(self.master())

    def database_processes(self) -> list[int]:
        """Return the process ids of PostgreSQL, the postmaster's first."""
        postmaster = self.cluster.process()
        if postmaster is None:
            raise ReliabilityError("There is no database to be killed.")
        return [postmaster, *children(postmaster)]

    def answers(self, path: str = HEALTH) -> bool:
        """Whether the server answers a GET, and soon."""
        return servers.answers(self.port, path)

    def database(self) -> psycopg.Connection:
        """Return a new connection to the server's database, each statement a transaction."""
        return connect(self.cluster.socket)


@contextmanager
def serving(**settings: str) -> Iterator[Server]:
    """Have a server with a database of its own, in a folder that goes away."""
    with temporary_folder(data_directory()) as (folder, _):
        data_dir = folder / "data"  # the folder itself counts as used
        with launched(data_dir, prepare(data_dir), more=settings) as server:
            yield server


@contextmanager
def launched(
    data_dir: Path, content: Content, command: tuple[str, ...] = OURS, port: int = 0, more: dict[str, str] | None = None
) -> Iterator[Server]:
    """Have a server with the database in ``data_dir``; at the end it is stopped, if it runs."""
    cluster = Cluster(data_dir)
    command = (*RUN_DATABASE, "env", f"SQL_HOST={cluster.socket}", *command)
    settings = PROCESS_SETTINGS | {"DATA_DIR": str(data_dir), "TMPDIR": str(data_dir.parent)} | (more or {})
    log = data_dir.with_suffix(".log")  # not on the disk of the data
    with ExitStack() as stack:
        port = port or stack.enter_context(reserved_port())
        process = stack.enter_context(servers.serving(command, port, log, **settings))
        yield Server(port, cluster, content, process, log)


def prepare(data_dir: Path) -> Content:
    """Put a copy of the database that is the same for all into ``data_dir``, and return what it holds."""
    template = data_directory() / "template"
    content = _fill_template(template)
    data_dir.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", template / "postgres", data_dir], check=True)
    return content


@cache
def _fill_template(template: Path) -> Content:
    """Make the database that all are copies of, with the gate, open, in front of the last write of a transaction."""
    template.mkdir()
    with database(template) as socket:
        content = fill(socket)
        with connect(socket) as sql:
            sql.execute((FOLDER / "sql" / "gate.sql").read_bytes())
        return content


def fill(socket: Path, code: Path = BASE_DIR) -> Content:
    """Fill a new database by this version of the code, and return what it holds."""
    environment = os.environ | {"SQL_HOST": str(socket), "PYTHONPATH": str(code)}
    command = (sys.executable, "-P", FOLDER / "inside.py")
    return Content(**json.loads(subprocess.check_output(command, cwd=code, env=environment)))


def connect(socket: Path) -> psycopg.Connection:
    """Return a connection to a database, each statement a transaction."""
    return psycopg.connect(
        host=str(socket), user=EMBEDDED_USER, dbname=EMBEDDED_DATABASE, autocommit=True, connect_timeout=5
    )


def until(condition: Callable[[], object], otherwise: str) -> None:
    """Wait until ``condition`` holds; raises ``ReliabilityError`` where it takes too long."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise ReliabilityError(f"{otherwise} within {WAIT_SECONDS} s.")
        time.sleep(0.01)
