"""The databases: the demo in several sizes, each made from the next smaller one, with every listing open."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from secrets import token_hex

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from backend.environment import BASE_DIR

from .measure import BenchmarkError
from .plan import Plan, Size
from .report import say

SEEDED = "benchmarks: seeded"
MAINTENANCE = "postgres"


def connect(database: str) -> psycopg.Connection:
    """Return a connection with the settings of the project's own, each statement a transaction."""
    return psycopg.connect(
        host=os.environ["SQL_HOST"],
        port=os.environ.get("SQL_PORT", ""),
        user=os.environ["SQL_USER"],
        password=os.environ.get("SQL_PASSWORD", ""),
        dbname=database,
        options="-c random_page_cost=1.1",
        autocommit=True,
        prepare_threshold=None,
    )


def environment(database: str) -> dict[str, str]:
    """Return the environment of a process that uses ``database``."""
    return os.environ | {"SQL_DATABASE": database}


@dataclass
class Databases:
    """The databases of a run, made when they are first asked for."""

    plan: Plan
    is_kept: bool
    _made: dict[Size, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._prefix = "benchmarks" if self.is_kept else f"benchmarks_{token_hex(4)}"

    def get(self, size: Size) -> str:
        """Return the name of the database of this size."""
        if size not in self._made:
            name = f"{self._prefix}_{size.opportunities}_{size.volunteers}"
            if self._is_seeded(name):
                _manage(name, "migrate", "--verbosity=0")
            else:
                self._make(name, size)
            self._made[size] = name
        return self._made[size]

    @contextmanager
    def copy(self, size: Size) -> Iterator[str]:
        """Have a copy of a database, to write to; it is dropped afterwards."""
        name = f"{self._prefix}_{token_hex(4)}"
        self._create(name, self.get(size))
        try:
            yield name
        finally:
            self._drop(name)

    def drop(self) -> None:
        """Drop the databases, unless they are kept for the next run."""
        for name in [] if self.is_kept else self._made.values():
            self._drop(name)

    def _make(self, name: str, size: Size) -> None:
        """Make the database from the next smaller one, which the demo of its size contains."""
        smaller = self.plan.sizes[: self.plan.sizes.index(size)]
        template = self.get(smaller[-1]) if smaller else None
        say(f"Seeding {size.opportunities:,} opportunities and {size.volunteers:,} volunteers ...")
        self._drop(name)
        self._create(name, template)
        if template is None:
            _manage(name, "migrate", "--verbosity=0")
        sizes = (f"--opportunities={size.opportunities}", f"--volunteers={size.volunteers}")
        _manage(name, "seed_demo", *sizes, "--password=benchmarks")
        with connect(name) as connection:
            connection.execute("UPDATE ctj_api_opportunity SET status = 'open' WHERE status <> 'open'")
            connection.execute("VACUUM ANALYZE")
            connection.execute(SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(name), Literal(SEEDED)))

    def _is_seeded(self, name: str) -> bool:
        query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        with connect(MAINTENANCE) as connection:
            return connection.execute(query, [name]).fetchone() == (SEEDED,)

    def _create(self, name: str, template: str | None) -> None:
        with connect(MAINTENANCE) as connection:
            create = SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'")
            connection.execute(create.format(Identifier(name), Identifier(template or "template0")))

    def _drop(self, name: str) -> None:
        with connect(MAINTENANCE) as connection:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def _manage(database: str, *arguments: str) -> None:
    """Run a command of ``manage.py``; debugging, since the demo is seeded in development only."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        check=False,
        cwd=BASE_DIR,
        env=environment(database) | {"DJANGO_DEBUG": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise BenchmarkError(f"manage.py {arguments[0]} failed:\n{done.stdout}")
