"""Servers, started for a benchmark and stopped after it: one Daphne, or several as ``startServer.sh`` has them."""

import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from backend.environment import BASE_DIR

from .data import environment
from .measure import BenchmarkError

OURS = "backend.asgi:application"
STOCK = "devtools.benchmarks.references.stock:application"
BARE = "devtools.benchmarks.references.bare:application"

ADDRESS = "127.0.0.1"
PROCESS_PATH = "/benchmarks/process/"
BACKLOG = 1024
START_SECONDS = 60
STOP_SECONDS = 20
PATIENCE_SECONDS = 0.5
LOG_LINES = 15


@dataclass(frozen=True)
class Server:
    """Where a server listens, and its processes."""

    port: int
    processes: tuple[int, ...]

    def private_memory(self) -> int:
        """Return the bytes of memory that the processes share with no other one."""
        return sum(_private_memory(process) for process in self.processes)


@contextmanager
def serving(application: str, database: str) -> Iterator[Server]:
    """Have ``application`` served by one Daphne, without a log of its requests."""
    with _started("daphne -v 0 --fd {}", application, database, 1) as server:
        yield server


@contextmanager
def serving_as_started(database: str, processes: int) -> Iterator[Server]:
    """Have the project served by so many processes, under Gunicorn as ``startServer.sh`` starts them."""
    command = f"gunicorn --config python:serving.gunicorn_conf --workers {processes} --bind fd://{{}}"
    with _started(command, OURS, database, processes) as server:
        yield server


@contextmanager
def _started(command: str, application: str, database: str, processes: int) -> Iterator[Server]:
    with (
        socket.create_server((ADDRESS, 0), backlog=BACKLOG) as listener,
        tempfile.TemporaryFile() as log,
        running(_start(command, application, database, listener, log)) as process,
    ):
        port: int = listener.getsockname()[1]
        try:
            yield Server(port, _wait_until_all_answer(port, process, processes))
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}\nThe end of the server's log:\n{_tail(log)}") from error


def _start(
    command: str, application: str, database: str, listener: socket.socket, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    descriptor = listener.fileno()
    return subprocess.Popen(
        [sys.executable, "-m", *command.format(descriptor).split(), application],
        cwd=BASE_DIR,
        env=environment(database),
        pass_fds=[descriptor],
        stdout=log,
        stderr=log,
    )


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process that is stopped at the end, if it runs."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_all_answer(port: int, parent: subprocess.Popen[bytes], processes: int) -> tuple[int, ...]:
    """Return the ids of the processes; each has answered a request by then."""
    answered: set[int] = set()
    deadline = time.monotonic() + START_SECONDS
    while len(answered) < processes:
        if parent.poll() is not None:
            raise BenchmarkError("A server ended at its start.")
        if time.monotonic() > deadline:
            raise BenchmarkError(f"A server has not answered within {START_SECONDS} s.")
        with suppress(TimeoutError):
            answered.add(_ask_for_process(port))
    return tuple(answered)


def _ask_for_process(port: int) -> int:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", PROCESS_PATH)
        return int(connection.getresponse().read())
    finally:
        connection.close()


def _private_memory(process: int) -> int:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    sizes = dict(line.split(":", 1) for line in lines[1:])
    return sum(int(sizes[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")) * 1024


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-LOG_LINES:])
