"""Migrations over many rows, and the version before them answering meanwhile.

The version before is the commit that precedes the newest migration. Where the history of Git has none, that half is
skipped and the row tells of the other, unless ``REQUIRE_HISTORY=true`` insists.
"""

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

from psycopg.sql import SQL, Identifier

from backend.environment import BASE_DIR, data_directory
from devtools.benchmarks.servers import ADDRESS, database, manage
from devtools.embedded_postgres import Cluster, temporary_folder
from devtools.reliability.ports import reserved_port
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, SkippedError, lost, worst
from devtools.reliability.servers import Content, connect, fill, launched
from devtools.reliability.writes import Load

APP = "ctj_api"
FIRST = "0003_communities_of_practice"  # what comes before makes the tables and has nothing to lose
PASSWORD = "a-long-enough-passphrase"  # nosec B105
REST_SECONDS = 2  # some requests with the schema as it is then
# Written by migrations and servers, not by people.
NOT_COMPARED = ["django_migrations", "django_session", "ctj_api_attemptcount", "ctj_change"]
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND NOT tablename = ANY (%s) ORDER BY tablename"
DIGEST = SQL("SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {} AS t")

type Digests = dict[str, tuple[int, int | None]]


def run(scale: Scale) -> Outcome:
    """Serve the version before while the newest migrations come and go, then go back over all rows, and forward."""
    rows, rounds = scale.pick(500, 30_000), scale.pick(1, 5)
    with temporary_folder(data_directory()) as (folder, _):
        data_dir, code, tried, problems, took = folder / "data", folder / "code", "", list[str](), list[float]()
        try:
            extract_version_before(code)
        except SkippedError as reason:
            code, tried = BASE_DIR, f"the version before was not served, as {reason}"
        with database(data_dir) as socket:
            content = fill(socket, code)
            sizes = (f"--opportunities={rows}", f"--volunteers={rows}", f"--password={PASSWORD}")
            manage("seed_demo", *sizes, code=code, SQL_HOST=str(socket))
        if code != BASE_DIR:
            tried, problems, took = serve_the_version_before(code, data_dir, content, rounds)
        with database(data_dir) as socket:
            told, changed = back_and_forward(socket)
    problems += changed
    tries = f"{rows:,} listings, {rows:,} volunteers; {tried}; {told}"
    return Outcome(tries, lost(problems), worst(took), tuple(problems))


def serve_the_version_before(
    code: Path, data_dir: Path, content: Content, rounds: int
) -> tuple[str, list[str], list[float]]:
    """Migrate and take that back while the version before answers; return what was done, what failed, and the times."""
    took = []
    migrate = partial(manage, "migrate", "--verbosity=0", SQL_HOST=str(Cluster(data_dir).socket))

    async def fault(_: Load) -> None:
        for number in range(rounds):
            took.append(await asyncio.to_thread(migrate))
            await asyncio.sleep(REST_SECONDS)
            if number < rounds - 1:
                await asyncio.to_thread(migrate, APP, migrations_of(code)[-1])

    with reserved_port() as port:
        daphne = (sys.executable, "-m", "daphne", "-b", ADDRESS, "-p", str(port), "backend.asgi:application")
        with launched(data_dir, content, ("env", f"--chdir={code}", *daphne), port) as server:
            load = Load(server, allowed=())
            problems = load.run(1, fault)
    requests = sum(load.statuses.values())
    return f"migrated {rounds} times under {requests:,} requests, the slowest {load.slowest:.2f} s", problems, took


def back_and_forward(socket: Path) -> tuple[str, list[str]]:
    """Go back to the first migrations and forward again; all that people wrote has to be equal."""
    before = _digests(socket)
    migrate = partial(manage, "migrate", "--verbosity=0", SQL_HOST=str(socket))
    back, forward = migrate(APP, FIRST), migrate()
    after = _digests(socket)
    changed = sorted(table for table in before.keys() | after.keys() if before.get(table) != after.get(table))
    rows = sum(number for number, _ in before.values())
    told = f"all migrations back to {FIRST[:4]} ({back:.1f} s) and forward ({forward:.1f} s) over {rows:,} rows"
    return told, [f"the rows of {table} are others after going back and forward" for table in changed]


def migrations_of(code: Path) -> list[str]:
    """Return the names of a version's migrations in their order."""
    return sorted(path.stem for path in (code / APP / "migrations").glob("0*.py"))


def extract_version_before(folder: Path) -> None:
    """Put the code of the commit that precedes the newest migration into ``folder``."""
    newest = f"{APP}/migrations/{migrations_of(BASE_DIR)[-1]}.py"
    try:
        added = _git("log", "--diff-filter=A", "--max-count=1", "--format=%H", "--", newest).decode().strip()
        with tarfile.open(fileobj=io.BytesIO(_git("archive", f"{added}~1" if added else "HEAD", "."))) as archive:
            archive.extractall(folder, filter="data")
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        reason = f"Git does not have it ({error}); a shallow clone gets the whole history by: git fetch --unshallow"
        if os.environ.get("REQUIRE_HISTORY") == "true":
            raise ReliabilityError(f"The version before can't be served, as {reason}") from error
        raise SkippedError(reason) from error


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=BASE_DIR, stdout=subprocess.PIPE, check=True).stdout


def _digests(socket: Path) -> Digests:
    """Return the number and a digest of the rows of each table, all columns included."""
    with connect(socket) as sql:
        tables = [table for (table,) in sql.execute(TABLES, [NOT_COMPARED])]
        return {table: sql.execute(DIGEST.format(Identifier(table))).fetchall()[0] for table in tables}
