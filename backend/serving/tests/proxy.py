"""Caddy in front of a server, with the Caddyfile of production, for tests and scenarios."""

import os
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import SkipTest

from backend.environment import BASE_DIR

from .ports import ADDRESS, reserved_port, running

CADDYFILE = BASE_DIR / "Caddyfile"
PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs; ``process`` is Caddy's process id."""

    port: int
    folder: Path
    process: int

    def connect(self, *protocols: str) -> ssl.SSLSocket:
        """Return a connection over TLS, which offers the protocols, such as ``h2``."""
        authority = self.folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        context = ssl.create_default_context(cafile=authority)
        context.set_alpn_protocols(protocols)
        connection = socket.create_connection((ADDRESS, self.port), PATIENCE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(connection, server_hostname="localhost")

    def is_there(self) -> bool:
        """Whether the proxy takes connections."""
        try:
            self.connect().close()
        except OSError:
            return False
        return True


@contextmanager
def proxy_to(port: int, **settings: str) -> Iterator[Proxy]:
    """Run Caddy in front of the server on a port; ``settings`` are the Caddyfile's variables."""
    caddy = shutil.which("caddy")
    if caddy is None:
        raise SkipTest("Caddy is not installed.")
    with TemporaryDirectory() as folder, reserved_port() as https_port, reserved_port() as http_port:
        environment = {
            "XDG_DATA_HOME": folder,
            "XDG_CONFIG_HOME": folder,
            "API_ADDRESS": f"{ADDRESS}:{port}",
            "HTTP_PORT": str(http_port),
            "HTTPS_PORT": str(https_port),
            **settings,
        }
        command = [caddy, "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"]
        log = (Path(folder) / "log").open("wb")
        with log, running(command, env=os.environ | environment, stdout=log) as process:
            proxy = Proxy(https_port, Path(folder), process.pid)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not proxy.is_there():
                assert time.monotonic() < deadline, "Caddy does not start."
                time.sleep(0.02)
            yield proxy
