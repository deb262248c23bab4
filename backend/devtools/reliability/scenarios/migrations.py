"""Migrations over many rows, and the version before them, which precedes the newest migration, answering meanwhile."""

import os
import subprocess
import sys
import time
import tomllib
from functools import partial
from pathlib import Path
from unittest import SkipTest

from psycopg.sql import SQL, Identifier

from backend.environment import BASE_DIR, data_directory
from devtools.benchmarks.client import PASSWORD
from devtools.benchmarks.servers import database, manage
from devtools.embedded_postgres import Cluster, temporary_folder
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, lost, scenario, worst
from devtools.reliability.servers import connect, fill, launched
from devtools.reliability.writes import writing

APP = "ctj_api"
FIRST = "0003_communities_of_practice"  # what comes before makes the tables and has nothing to lose
# Written by migrations and servers, not by people.
NOT_COMPARED = ["django_migrations", "django_session", "ctj_api_attemptcount", "ctj_change"]
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND NOT tablename = ANY (%s) ORDER BY tablename"
# No version before migration 0019 can keep these times.
DIGEST = SQL(
    "SELECT count(*), sum(hashtextextended((to_jsonb(t) - '{{opened_at, filled_at}}'::text[])::text, 0)) FROM {} AS t"
)


@scenario("migrations", "Migrations over many rows, under the load of the version before")
def migrate_under_load(scale: Scale) -> Outcome:
    """No request is refused by that version, and every row is equal after going back and forward."""
    rows, moves, writes = scale.pick((500, 1, 50), (30_000, 9, 200))
    with temporary_folder(data_directory()) as (folder, _):
        data_dir, code = folder / "data", folder / "code"
        extract_version_before(code)
        _install_former_packages(code)
        with database(data_dir) as socket:
            content = fill(socket, code)
            sizes = (f"--opportunities={rows}", f"--volunteers={rows}", f"--password={PASSWORD}")
            manage("seed_demo", *sizes, code=code, SQL_HOST=str(socket))
        migrate = partial(manage, "migrate", "--verbosity=0", SQL_HOST=str(Cluster(data_dir).socket))
        serve = ("env", f"--chdir={code}", "sh", "-c", 'exec "$0" -m daphne -p "$PORT" backend.asgi:application')
        with launched(data_dir, content, (*serve, sys.executable)) as server, writing(server, allowed=()) as load:
            for number in range(moves):
                began = time.monotonic()
                migrate(*((APP, migrations_of(code)[-1]) if number % 2 else ()))
                load.recover(began)
                load.go_on(writes)
        with database(data_dir) as socket:
            before = _digests(socket)
            back, forward = migrate(APP, FIRST), migrate()
            changed = sorted({table for table, _ in before.items() ^ _digests(socket).items()})
    problems = load.found + [f"the rows of {table} are others after going back and forward" for table in changed]
    count = sum(number for number, _ in before.values())
    tries = f"the newest migrated {moves} times under {load.acknowledged:,} writes; all back to {FIRST[:4]}"
    tries += f" ({back:.1f} s) and forward ({forward:.1f} s) over {count:,} rows"
    return Outcome(tries, lost(problems), worst(load.recoveries), problems)


def migrations_of(code: Path) -> list[str]:
    """Return the names of a version's migrations in their order."""
    return sorted(path.stem for path in (code / APP / "migrations").glob("0*.py"))


def extract_version_before(folder: Path, module: str = "") -> None:
    """Put the code of the commit that precedes a module, or the newest migration, into ``folder``."""
    newest = module or f"{APP}/migrations/{migrations_of(BASE_DIR)[-1]}.py"
    folder.mkdir(exist_ok=True)
    try:
        added = _git("log", "--follow", "--diff-filter=A", "-1", "--format=%H", "--", newest).decode().strip()
        archive = _git("archive", f"{added}~1" if added else "HEAD", ".")
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        reason = f"Git lacks the version before ({error}); a shallow clone gets it by: git fetch --unshallow"
        raise (ReliabilityError if os.environ.get("REQUIRE_HISTORY") == "true" else SkipTest)(reason) from error
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)


def _install_former_packages(code: Path) -> None:
    """Install beside a former version the packages that this one no longer has."""
    locks = [tomllib.loads((folder / "poetry.lock").read_text())["package"] for folder in (code, BASE_DIR)]
    former, current = ({each["name"]: each["version"] for each in lock if "main" in each["groups"]} for lock in locks)
    gone = [f"{name}=={version}" for name, version in former.items() if name not in current]
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", code)
    if gone:
        subprocess.run([*pip, *gone], check=True)


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=BASE_DIR, stdout=subprocess.PIPE, check=True).stdout


def _digests(socket: Path) -> dict[str, tuple[int, int | None]]:
    """Return the number and a digest of the rows of each table, all columns included."""
    with connect(socket) as sql:
        tables = [table for (table,) in sql.execute(TABLES, [NOT_COMPARED])]
        return {table: sql.execute(DIGEST.format(Identifier(table))).fetchall()[0] for table in tables}
