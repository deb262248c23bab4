"""Servers for tests: Gunicorn with its configuration, as ``startServer.sh`` starts it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings

from serving.tests.ports import reserved_port, running

PATIENCE_SECONDS = 20
TEST_APPLICATION = "serving.tests.server_app:application"


@dataclass
class Server:
    """A server that was started; ``folder`` is its TMPDIR, ``gate`` what its requests under ``/gate`` wait for."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    folder: Path

    @property
    def gate(self) -> Path:
        """The file that requests under ``/gate`` wait for."""
        return self.folder / "gate"

    @property
    def log(self) -> str:
        """What the server has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def get(self, path: str, **headers: str) -> str:
        """Return the body of an answer to a new connection; raises ``OSError`` where nobody answers."""
        client = HTTPConnection(self.host, self.port, timeout=PATIENCE_SECONDS)
        try:
            client.request("GET", path, headers={"Host": "localhost", **headers})
            return client.getresponse().read().decode()
        finally:
            client.close()

    def answers(self, path: str) -> bool:
        """Whether the server answers."""
        with suppress(OSError):
            return self.get(path) != ""
        return False


def gunicorn_after(code: str) -> tuple[str, str]:
    """Return how to launch Gunicorn in a process that runs ``code`` before."""
    return "-c", f"{code}\nimport runpy\nrunpy.run_module('gunicorn', run_name='__main__')"


@contextmanager
def started(
    *arguments: str,
    application: str = TEST_APPLICATION,
    host: str = "127.0.0.1",
    launch: tuple[str, ...] = ("-m", "gunicorn"),
    **environment: str,
) -> Iterator[Server]:
    """Start a server without waiting for it, and kill what is left of it in the end."""
    with TemporaryDirectory() as name, reserved_port() as port, (Path(name) / "log").open("wb") as log:
        folder = Path(name)
        given = {"HOST": host, "PORT": str(port), "TMPDIR": name, "GATE": str(folder / "gate"), **environment}
        command = [sys.executable, *launch, "--config", "python:serving.gunicorn_conf", *arguments, application]
        with running(command, cwd=settings.BASE_DIR, env=os.environ | given, stdout=log) as process:
            yield Server(process, host, port, folder)
