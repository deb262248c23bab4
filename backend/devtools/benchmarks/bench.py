"""What every benchmark is given: how much is measured, and the databases and servers for it."""

import os
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psycopg

from devtools.reliability.ports import reserved_port

from .client import Client
from .report import say
from .servers import OURS, manage, serving

UNFINISHED = "benchmarks_unfinished"
PASSWORD = "benchmarks"  # nosec B105


class Plan(NamedTuple):
    """How many listings and volunteers each database has, and how often and for how many seconds we measure."""

    few: int
    page: int
    medium: int
    many: int
    rounds: int
    slow_rounds: int
    people: int
    windows: int
    seconds: float
    levels: tuple[int, ...]


FULL = Plan(100, 1_000, 10_000, 100_000, 60, 5, 10, 5, 2, (1, 5, 20, 50, 100, 200))
SMALL = Plan(120, 120, 120, 400, 3, 1, 2, 1, 0.3, (1, 5))


class Bench:
    """A run: its databases and servers are made when they are first asked for, and shared by the benchmarks."""

    def __init__(self, plan: Plan, opened: ExitStack) -> None:
        self.plan = plan
        self._logs = Path(opened.enter_context(TemporaryDirectory()))
        self._opened = opened
        self.server = cache(self.another_server)

    def client(self, size: int, *command: tuple[str, ...]) -> Client:
        """Return a new client of the shared server with the database of this size."""
        client = Client(self.server(size, *command)[0])
        self._opened.callback(client.close)
        return client

    def sql(self, size: int) -> psycopg.Connection:
        """Return a new connection to the database of this size."""
        return self._opened.enter_context(connect(database_of(size)))

    def another_server(self, size: int, command: tuple[str, ...] = OURS, processes: int = 1) -> tuple[int, int]:
        """Return the port and the process of a server that no other benchmark uses."""
        settings = {
            "SQL_DATABASE": database_of(size),
            "DJANGO_SETTINGS_MODULE": "devtools.benchmarks.settings",
            "WEB_CONCURRENCY": str(processes),
        }
        port = self._opened.enter_context(reserved_port())
        process = self._opened.enter_context(serving(command, port, self._logs / f"{port}.log", **settings))
        return port, process.pid


def connect(database: str) -> psycopg.Connection:
    """Return a connection with the settings of the project's own, each statement a transaction."""
    return psycopg.connect(
        host=os.environ["SQL_HOST"],
        user=os.environ["SQL_USER"],
        dbname=database,
        options="-c random_page_cost=1.1 -c timezone=UTC",
        autocommit=True,
        prepare_threshold=None,
    )


@cache
def database_of(size: int) -> str:
    """Return the name of the database of this size, all listings open; it is made, unless it was kept."""
    name = f"benchmarks_{size}"
    with connect("postgres") as sql:
        if not sql.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            say(f"  seeding {size:,} listings and volunteers ...")
            sql.execute(f"DROP DATABASE IF EXISTS {UNFINISHED}".encode())
            sql.execute(f"CREATE DATABASE {UNFINISHED} ENCODING 'UTF8' TEMPLATE template0".encode())
            manage("migrate", "--verbosity=0", SQL_DATABASE=UNFINISHED)
            sizes = (f"--opportunities={size}", f"--volunteers={size}")
            manage("seed_demo", *sizes, f"--password={PASSWORD}", SQL_DATABASE=UNFINISHED)
            with connect(UNFINISHED) as seeded:
                seeded.execute("UPDATE ctj_api_opportunity SET status = 'open' WHERE status <> 'open'")
                seeded.execute("VACUUM ANALYZE")
            sql.execute(f"ALTER DATABASE {UNFINISHED} RENAME TO {name}".encode())
    return name
