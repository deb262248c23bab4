"""PgBouncer in front of the tests' database."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from django.db import connection

from backend.environment import data_directory
from ctj_api.tests.common import wait_until
from devtools.embedded_postgres import Account, Cluster

from .ports import ADDRESS, reserved_port

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
CONFIGURATION = """
[databases]
* = host={HOST} port={PORT} user={USER} password='{password}'
[pgbouncer]
listen_addr = {address}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
{more}
"""


@contextmanager
def pooler(mode: str, more: str = "") -> Iterator[int]:
    """Run PgBouncer in one of its modes, as who may use the database's socket, and give its port."""
    used = connection.settings_dict
    is_embedded = used["HOST"].startswith("/")
    account = Cluster(data_directory()).account() if is_embedded else Account(os.geteuid())
    with TemporaryDirectory() as name, reserved_port() as port:
        folder = Path(name)
        folder.chmod(0o755)
        file = folder / "pgbouncer.ini"
        given = {"address": ADDRESS, "port": port, "mode": mode, "more": more}
        given["password"] = used["PASSWORD"] or "none is asked for"
        file.write_text(CONFIGURATION.format_map({**used, **given}))
        process = subprocess.Popen(
            [*account.prefix, str(PGBOUNCER), "--quiet", file],
            user=account.user,
            group=account.user,
            extra_groups=None if account.user is None else [],
        )
        try:
            wait_until(lambda: _takes_connections(port))
            yield port
        finally:
            process.kill()
            process.wait()


def _takes_connections(port: int) -> bool:
    try:
        socket.create_connection((ADDRESS, port)).close()
    except ConnectionRefusedError:
        return False
    return True
