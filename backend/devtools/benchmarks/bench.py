"""What every benchmark is given: how much is measured, and the databases and servers for it."""

import os
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psycopg

from serving.tests.ports import reserved_port

from .client import PASSWORD, Client
from .measure import check
from .report import say
from .servers import OURS, manage, serving


class Plan(NamedTuple):
    """How many listings and volunteers the databases have, and how much is measured."""

    page: int
    many: int
    ranked: tuple[int, ...]
    rounds: int
    burst: int
    people: int
    clients: int


FULL = Plan(1_000, 100_000, (1_000, 10_000, 100_000), 15, 128, 25, 200)
SMALL = Plan(200, 200, (200,), 1, 32, 2, 5)


class Bench:
    """A run: its databases and servers are made when they are first asked for, and shared by the benchmarks."""

    def __init__(self, plan: Plan, folder: Path, opened: ExitStack) -> None:
        self.plan = plan
        self._folder = folder
        self._opened = opened
        self.server = cache(self._serve)

    def client(self, size: int, command: tuple[str, ...] = OURS, **settings: str) -> Client:
        """Return a new client of the server with the database of this size."""
        return Client(self.server(size, command, **settings)[0], self._opened)

    def sql(self, size: int) -> psycopg.Connection:
        """Return a new connection to the database of this size."""
        return self._opened.enter_context(connect(database_of(size)))

    def _serve(self, size: int, command: tuple[str, ...] = OURS, **settings: str) -> tuple[int, int]:
        """Return the port and the process of a server that runs until the end."""
        settings = {"SQL_DATABASE": database_of(size), "WEB_CONCURRENCY": "1", **settings}
        port = self._opened.enter_context(reserved_port())
        process = self._opened.enter_context(serving(command, port, self._folder / f"{port}.log", **settings))
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
    """Make the database of this size, all listings open, and return its name."""
    name = f"benchmarks_{size}"
    say(f"  seeding {size:,} listings and volunteers ...")
    with connect("postgres") as sql:
        check(sql.execute("SHOW fsync").fetchone() == ("on",), "PostgreSQL runs without fsync.")
        sql.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0".encode())
    manage("migrate", "--verbosity=0", SQL_DATABASE=name)
    sizes = (f"--opportunities={size}", f"--volunteers={size}")
    manage("seed_demo", *sizes, f"--password={PASSWORD}", SQL_DATABASE=name)
    with connect(name) as seeded:
        seeded.execute("UPDATE ctj_api_opportunity SET status = 'open' WHERE status <> 'open'")
        seeded.execute("VACUUM ANALYZE")
    return name
