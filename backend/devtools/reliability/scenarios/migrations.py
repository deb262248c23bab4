"""Migrations over many rows, and the version before them answering meanwhile.

In a cluster of its own. The version before is the commit that precedes the newest migration. Where there is no history
of Git, that half is skipped and the row tells of the other, unless ``REQUIRE_HISTORY=true`` insists.
"""

import io
import json
import os
import re
import secrets
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener

import psycopg
from psycopg.sql import SQL, Identifier

from backend.environment import BASE_DIR, EMBEDDED_DATABASE, EMBEDDED_PORT, EMBEDDED_USER, data_directory
from ctj_api.tests.databases import LEFT_OUT
from devtools.embedded_postgres import Cluster, temporary_cluster, temporary_environment
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, Scenario, SkippedError, lost, worst

APP = "ctj_api"
FIRST = "0003_communities_of_practice"  # what comes before makes the tables and has nothing to lose
PASSWORD = "a-long-enough-passphrase"  # nosec B105
WHOLE_HISTORY = "A shallow clone gets the whole history by: git fetch --unshallow"
REST_SECONDS = 2  # some rounds of requests with the schema as it is then
TIMEOUT = 60
# As manage.py has it, where the environment says nothing.
WITHOUT_TIME_LIMITS = dict.fromkeys(("SQL_STATEMENT_TIMEOUT_MS", "SQL_LOCK_TIMEOUT_MS", "SQL_IDLE_TIMEOUT_MS"), "0")
# Made by migrations and servers, not by people.
NOT_WRITTEN = {*LEFT_OUT, "django_migrations"}


@dataclass(frozen=True)
class Version:
    """A state of the code, with a database."""

    code: Path
    environment: dict[str, str]

    def manage(self, *arguments: str) -> float:
        """Run a management command and return the seconds that it took."""
        began = time.monotonic()
        self._python("manage.py", *arguments)
        return time.monotonic() - began

    def step(self, names: Iterable[str]) -> dict[str, float]:
        """Migrate to each of ``names`` in turn, and return the seconds that each step took."""
        steps: dict[str, float] = json.loads(self._python("-m", "devtools.reliability.stepping", *names))
        return steps

    def migrations(self) -> list[str]:
        """Return the names of this application's migrations in their order."""
        return sorted(path.stem for path in (self.code / APP / "migrations").glob("0*.py"))

    def _python(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.code,
            env=self.environment | WITHOUT_TIME_LIMITS,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ReliabilityError(f"python {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    @contextmanager
    def server(self) -> Iterator[str]:
        """Have this version served, and give its origin."""
        command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", "0", "backend.asgi:application"]
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(command, cwd=self.code, env=self.environment, stdout=log, stderr=log)
            try:
                yield _origin(process, log.fileno())
            finally:
                process.terminate()
                process.wait(TIMEOUT)


@dataclass
class Tour:
    """People who read and write for as long as it lasts: each in a thread, each with cookies of their own."""

    origin: str
    refused: list[str] = field(default_factory=list)
    answered: int = 0
    slowest: float = 0
    posted: list[str] = field(default_factory=list)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Have everybody at work, each having been all the way round at least once at the end."""
        stop = Event()
        walks = (self.read, self.volunteer, self.manager, self.newcomers)
        threads = [Thread(target=self._walk, args=(walk(), stop)) for walk in walks]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def read(self) -> Callable[[], None]:
        """Return what somebody does who hasn't signed in."""
        ask = self._browser()

        def go_round() -> None:
            for path in ("opportunities/", "opportunities/?search=data", "skills/", "projects/", "healthcheck/"):
                ask("GET", path)

        return go_round

    def volunteer(self) -> Callable[[], None]:
        """Return what a volunteer does."""
        ask = self._signed_in("volunteer1@example.org")

        def go_round() -> None:
            for hours in (5, 10):
                ask("PATCH", "users/me/", {"max_available_hours": hours})
                ask("GET", "users/me/matches/")

        return go_round

    def manager(self) -> Callable[[], None]:
        """Return what a project manager does."""
        ask = self._signed_in("pm1@example.org")
        listing = {
            "project": ask("GET", "projects/")[0]["id"],
            "role": ask("GET", "roles/")[0]["id"],
            "body": "Help us to build it.",
            "min_experience_required": "junior",
            "min_hours_required": 6,
            "work_environment": "remote",
            "skills_required_matrix": {ask("GET", "skills/")[0]["id"]: 3},
            "status": "open",
        }

        def go_round() -> None:
            path = f"opportunities/{ask('POST', 'opportunities/', listing)['id']}/"
            self.posted.append(path.split("/")[1])
            ask("PUT", path, {**listing, "body": "Help us to finish it."})
            ask("GET", f"{path}matches/")

        return go_round

    def newcomers(self) -> Callable[[], None]:
        """Return what one newcomer after the other does."""
        ask = self._browser()
        numbers = count()

        def go_round() -> None:
            email = f"new{next(numbers)}-{time.time_ns()}@example.org"
            ask("POST", "auth/signup/", {"email": email, "password": PASSWORD, "first_name": "N", "last_name": "N"})
            ask("POST", "auth/logout/", {})

        return go_round

    def _walk(self, go_round: Callable[[], None], stop: Event) -> None:
        try:
            go_round()
            while not stop.wait(0.05):
                go_round()
        except Exception as error:  # noqa: BLE001 (whatever ends a walk is a finding)
            self.refused.append(repr(error))

    def _signed_in(self, email: str) -> Callable[..., Any]:
        ask = self._browser()
        ask("POST", "auth/login/", {"email": email, "password": PASSWORD})
        return ask

    def _browser(self) -> Callable[..., Any]:
        opener = build_opener(HTTPCookieProcessor(CookieJar()))

        def send(method: str, path: str, body: Any = None) -> Any:
            headers = {"Content-Type": "application/json"}
            if body is not None:
                headers["X-CSRFToken"] = send("GET", "auth/csrf/")["csrf_token"]
            data = None if body is None else json.dumps(body).encode()
            request = Request(f"{self.origin}/api/{path}", data, headers, method=method)  # nosec B310
            return self._answer(opener.open, request)

        return send

    def _answer(self, send: Callable[..., Any], request: Request) -> Any:
        began = time.monotonic()
        try:
            with send(request, timeout=TIMEOUT) as response:
                text = response.read()
        except HTTPError as error:
            with error:
                self.refused.append(f"{request.method} {request.full_url}: {error.code} {error.read(200)!r}")
            raise
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)
        self.answered += 1
        return json.loads(text) if text else None


def run(scale: Scale) -> Outcome:
    """Serve the version before while the newest migrations come and go, then go back over all rows, and forward."""
    rows, rounds = scale.pick(500, 100_000), scale.pick(1, 5)
    with temporary_cluster(data_directory()) as (cluster, _), tempfile.TemporaryDirectory() as folder:
        now = Version(BASE_DIR, _environment(cluster))
        tried, problems, took = "", list[str](), list[float]()
        try:
            before = version_before(now, Path(folder))
        except SkippedError as reason:
            _seed(now, rows)
            tried = f"the version before was not served, as {reason}"
        else:
            _seed(before, rows)
            tried, problems, took = serve_the_version_before(before, now, cluster, rounds)
        told, changed = back_and_forward(now, cluster)
    return Outcome(
        f"{rows:,} listings, {rows:,} volunteers; {tried}; {told}",
        lost(problems + changed),
        worst(took),
        (*problems, *changed),
    )


def serve_the_version_before(
    before: Version, now: Version, cluster: Cluster, rounds: int
) -> tuple[str, list[str], list[float]]:
    """Migrate and take that back while the version before answers; return what was done, what failed, and the times."""
    took = []
    with before.server() as origin:
        tour = Tour(origin)
        with tour.going_on():
            for _ in range(rounds):
                took.append(now.manage("migrate"))
                time.sleep(REST_SECONDS)
                now.manage("migrate", APP, before.migrations()[-1])
            took.append(now.manage("migrate"))
            time.sleep(REST_SECONDS)
    problems = [f"refused: {request}" for request in tour.refused[:5]]
    if missing := len(tour.posted) - _count_listings(cluster, tour.posted):
        problems.append(f"{missing} of {len(tour.posted)} acknowledged listings are gone")
    tried = f"migrated {len(took)} times under {tour.answered} requests, the slowest {tour.slowest:.2f} s"
    return tried, problems, took


def back_and_forward(now: Version, cluster: Cluster) -> tuple[str, list[str]]:
    """Go back to the first migrations and forward again, one by one; all that people wrote has to be equal."""
    names = now.migrations()
    names = names[names.index(FIRST) :]
    before = _digests(cluster)
    back = now.step(reversed(names[:-1]))
    forward = now.step(names[1:])
    after = _digests(cluster)
    changed = sorted(table for table in before.keys() | after.keys() if before.get(table) != after.get(table))
    longest = max(forward, key=lambda name: forward[name])
    rows = sum(number for number, _ in before.values())
    told = (
        f"{len(names) - 1} migrations back ({sum(back.values()):.1f} s) and forward ({sum(forward.values()):.1f} s, "
        f"{longest} {forward[longest]:.1f} s) over {rows:,} rows"
    )
    return told, [f"the rows of {table} are others after going back and forward" for table in changed]


def version_before(now: Version, folder: Path) -> Version:
    """Put the version before into ``folder``; raises ``SkippedError`` where there is none, unless one is required."""
    try:
        return Version(code_before(now.migrations()[-1], folder), now.environment)
    except SkippedError as reason:
        if os.environ.get("REQUIRE_HISTORY") == "true":
            raise ReliabilityError(f"The version before can't be served, as {reason}. {WHOLE_HISTORY}") from None
        raise


def code_before(migration: str, folder: Path) -> Path:
    """Put the code of the commit that precedes ``migration`` into ``folder``, and return where its ``manage.py`` is."""
    path = f"{APP}/migrations/{migration}.py"
    added = _git("log", "--diff-filter=A", "--max-count=1", "--format=%H", "--", path).decode().strip()
    with tarfile.open(fileobj=io.BytesIO(_git("archive", f"{added}~1" if added else "HEAD", "."))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=BASE_DIR, capture_output=True, check=True)
    except FileNotFoundError:
        raise SkippedError("there is no git") from None
    except subprocess.CalledProcessError as error:
        raise SkippedError(f"git {arguments[0]} says: {error.stderr.decode().strip()}") from None
    return done.stdout


def _environment(cluster: Cluster) -> dict[str, str]:
    """Return the settings of a development server, which alone may be seeded."""
    settings = {"DJANGO_DEBUG": "true", "DJANGO_SECRET_KEY": secrets.token_urlsafe(50), "SIGNUP_RATE": "1000000/1h"}
    return {**os.environ, **temporary_environment(cluster), **settings}


def _count_listings(cluster: Cluster, ids: list[str]) -> int:
    query = "SELECT count(*) FROM ctj_api_opportunity WHERE id = ANY(%s::uuid[])"
    with _connected(cluster) as connection:
        row = connection.execute(query, [ids]).fetchone()
    return row[0] if row else 0


def _seed(version: Version, rows: int) -> None:
    version.manage("migrate")
    version.manage("load_catalog", "--if-empty")
    version.manage("seed_demo", f"--opportunities={rows}", f"--volunteers={rows}", f"--password={PASSWORD}")


def _origin(process: subprocess.Popen[bytes], log: int) -> str:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(rb"Listening on TCP address ([\d.]+:\d+)", os.pread(log, 100_000, 0)):
            return f"http://{found[1].decode()}"
        time.sleep(0.1)
    process.kill()
    raise ReliabilityError(f"The version before does not start: {os.pread(log, 2000, 0).decode()}")


def _connected(cluster: Cluster) -> psycopg.Connection:
    return psycopg.connect(host=str(cluster.socket), port=EMBEDDED_PORT, user=EMBEDDED_USER, dbname=EMBEDDED_DATABASE)


def _digests(cluster: Cluster) -> dict[str, tuple[int, int]]:
    """Return the number and a digest of the rows of each table, all columns included."""
    with _connected(cluster) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {table: _digest(connection, table) for (table,) in tables if table not in NOT_WRITTEN}


def _digest(connection: psycopg.Connection, table: str) -> tuple[int, int]:
    query = SQL("SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {} AS t")
    row = connection.execute(query.format(Identifier(table))).fetchone()
    return row or (0, 0)


SCENARIO = Scenario(
    "migrations",
    "Migrations over many rows, under the load of the version before",
    "that version refuses nothing, and every row is equal after going back and forward",
    run,
)
