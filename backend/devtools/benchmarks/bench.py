"""What every benchmark is given: how much is measured, and the databases and servers for it."""

import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

import psycopg
from psycopg.sql import SQL, Identifier

from backend.environment import BASE_DIR

from .client import PASSWORD, Client
from .report import say
from .servers import OURS, Server, serving

UNFINISHED = "benchmarks_unfinished"


@dataclass(frozen=True)
class Plan:
    """How many listings and volunteers each database has, and how often and for how many seconds things are measured."""

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
        self.opened = opened
        self.server = cache(self._serve)

    def client(self, size: int) -> Client:
        """Return a new client of the shared server with the database of this size."""
        return self.opened.enter_context(Client(self.server(size)))

    def sql(self, size: int) -> psycopg.Connection:
        """Return a new connection to the database of this size."""
        return self.opened.enter_context(connect(database_of(size)))

    def _serve(self, size: int, application: str = OURS, processes: int = 1) -> Server:
        return self.opened.enter_context(serving(database_of(size), application, processes))


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
        if not sql.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone():
            say(f"  seeding {size:,} listings and volunteers ...")
            sql.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(UNFINISHED)))
            sql.execute(SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(Identifier(UNFINISHED)))
            _seed(size)
            sql.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(UNFINISHED), Identifier(name)))
    return name


def _seed(size: int) -> None:
    """Fill the new database; debugging, since the demo is seeded in development only."""
    settings = os.environ | {"SQL_DATABASE": UNFINISHED, "DJANGO_DEBUG": "true"}
    sizes = (f"--opportunities={size}", f"--volunteers={size}")
    for command in (("migrate", "--verbosity=0"), ("seed_demo", *sizes, f"--password={PASSWORD}")):
        subprocess.run(
            [sys.executable, "manage.py", *command], check=True, cwd=BASE_DIR, env=settings, stdout=sys.stderr
        )
    with connect(UNFINISHED) as sql:
        sql.execute("UPDATE ctj_api_opportunity SET status = 'open' WHERE status <> 'open'")
        sql.execute("VACUUM ANALYZE")
