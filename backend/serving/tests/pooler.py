"""PgBouncer in front of the tests' database."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
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
"""


@contextmanager
def pooler(settings: str) -> Iterator[int]:
    """Run PgBouncer as the user who may enter the folder of the database's socket, and give its port."""
    used = connection.settings_dict
    is_embedded = used["HOST"].startswith("/")
    account = Cluster(data_directory()).account() if is_embedded else Account(os.geteuid())
    with TemporaryDirectory() as folder, reserved_port() as port:
        Path(folder).chmod(0o755)
        file = Path(folder) / "pgbouncer.ini"
        address = {"address": ADDRESS, "port": port, "password": used["PASSWORD"] or "none is asked for"}
        file.write_text(CONFIGURATION.format_map(used | address) + settings)
        command = [*account.prefix, str(PGBOUNCER), "--quiet", str(file)]
        process = subprocess.Popen(command, user=account.user, group=account.user)
        try:
            wait_until(lambda: _answers(port))
            yield port
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(host=ADDRESS, port=port, dbname="postgres").close()
        return True
    return False
