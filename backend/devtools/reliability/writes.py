"""Concurrent writes, each with values of its own, and what must be there of them afterwards."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, NamedTuple

import psycopg

from devtools.benchmarks.client import Reply, Request, open_session, send, signed_in

from .servers import FOLDER, THREADS, Content, Server, until

PAUSE_SECONDS = 0.1
LEVELS = 5
NOBODY = ""
READS = ("/api/skills/", "/api/opportunities/", "/api/opportunities/?search=data", "/api/healthcheck/")
STORED, HALVES = ((FOLDER / "sql" / f"{name}.sql").read_bytes() for name in ("stored", "halves"))
WAITING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 6000026 AND NOT granted"

type Row = list[Any] | None


class Write(NamedTuple):
    """A request; one that writes has the key of what it writes, and the row that it leaves."""

    request: Request
    key: str = ""
    row: Row = None


class Load:
    """Requests of all kinds, mostly writes, of profiles, of listings, of accounts; and what must be stored of them."""

    def __init__(self, server: Server, allowed: Iterable[str] = ("503",)) -> None:
        self.acknowledged = 0
        self.refused = 0
        self.recoveries: list[float] = []
        self.is_over = False
        self.found: list[str] = []
        self._server = server
        self._allowed = {"200", "201", *allowed}
        self._newest = 0.0
        self._possible = {key: [row] for key, row in self._stored()}
        self._strange: list[str] = []

    def go_on(self, writes: int) -> None:
        """Wait until so many more writes are acknowledged."""
        wanted = self.acknowledged + writes
        until(lambda: self.acknowledged >= wanted, f"{writes} writes were not acknowledged")

    def recover(self, since: float) -> None:
        """Wait until a write that was sent later than a fault is acknowledged, and note how long that takes."""
        until(lambda: self._newest > since, "No write was acknowledged")
        self.recoveries.append(time.monotonic() - since)

    async def send(self, at_once: int) -> None:
        """Send one request after the other, over so many connections, until it is over."""
        numbers, content = count(1), self._server.content
        async with await open_session(self._server.port) as session, asyncio.TaskGroup() as tasks:

            async def keep_sending(volunteer: str) -> None:
                while not self.is_over:
                    write = write_of(content, volunteer, next(numbers))
                    reply = await send(session, write.request)
                    self.note(write, reply)
                    if not reply.is_success:
                        await asyncio.sleep(PAUSE_SECONDS)

            for volunteer in [*content.volunteers, *[NOBODY] * at_once][:at_once]:
                tasks.create_task(keep_sending(volunteer))

    def note(self, write: Write, reply: Reply) -> None:
        """Note what became of a request: what is not acknowledged may be done, or not."""
        self.refused += reply.status == "503"
        if reply.status not in self._allowed:
            self._strange.append(f"{write.request.method} {write.request.path}: {reply.status} {reply.body[:300]!r}")
        if write.key:
            possible = self._possible.setdefault(write.key, [None])
            if reply.is_success:
                possible.clear()
                self.acknowledged += 1
                self._newest = max(self._newest, reply.sent_at)
            possible.append(write.row)
        if reply.session:
            self._possible[reply.session] = [[]]

    def problems(self) -> list[str]:
        """Return what the database lacks of what was acknowledged, what it has by halves, and wrong answers."""
        rows = self._stored()
        stored = dict(rows)
        lost = [
            f"{key} is {stored.get(key)}, none of {len(possible)} that are possible"
            for key, possible in self._possible.items()
            if stored.get(key) not in possible
        ]
        lost += [f"{len(rows) - len(stored)} listings are there twice"] if len(rows) > len(stored) else []
        return [*self._strange, *lost, *halves(self._server)]

    def _stored(self) -> list[tuple[str, Row]]:
        with self._server.database() as database:
            return database.execute(STORED).fetchall()


@contextmanager
def writing(server: Server, at_once: int = 50, allowed: Iterable[str] = ("503",)) -> Iterator[Load]:
    """Have a load, so many requests at once, that goes on in a thread of its own; find its problems at the end."""
    load = Load(server, allowed)
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(asyncio.run, load.send(at_once))
        try:
            yield load
        finally:
            load.is_over = True
        sending.result()
    load.found = load.problems()


def kill_amid_writes(server: Server, processes: Iterable[int]) -> float:
    """Kill processes while transactions wait at the gate, half done, cut these off, and return when it was done.

    PostgreSQL would do what they wait for although nobody is there any more, as if they had been killed after it.
    """
    with server.database() as database:
        database.execute("SELECT pg_advisory_lock(6000026)")
        until(lambda: database.execute(WAITING).rowcount >= THREADS, "No writes waited at the gate")
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with suppress(psycopg.OperationalError):  # the database was killed
            for waiting in database.execute(WAITING).fetchall():
                database.execute("SELECT pg_terminate_backend(%s, 5000)", waiting)
    return time.monotonic()


def halves(server: Server) -> list[str]:
    """Return what is stored by halves of what is written together."""
    with server.database() as database:
        return [told for (told,) in database.execute(HALVES)]


def write_of(content: Content, volunteer: str, number: int) -> Write:
    """Return the request with this number: a sign-up, a read, a new listing, or a profile that is saved."""
    match number % 10:
        case 0:
            email, name = f"new{number}@example.org", f"New {number}"
            person = {"email": email, "first_name": name, "password": f"correct horse {number}"}
            request = Request("/api/auth/signup/", "POST", signed_in(""), person)
            return Write(request, email, [name, None, None, None, None])
        case 1:
            return Write(Request(READS[number // 10 % len(READS)]))
        case 5 | 6 | 7 | 8 | 9 if volunteer != NOBODY:
            body = answers_of(content, number)
            request = Request("/api/users/me/", "PUT", signed_in(content.volunteers[volunteer]), body)
            return Write(request, volunteer, ["", *body.values()])
        case _:
            return _listing(content, number)


def answers_of(content: Content, number: int) -> dict[str, Any]:
    """Return what a volunteer answers; each of the four answers tells ``number``."""
    start = f"{number % 1439 // 60:02}:{number % 1439 % 60:02}"
    slots = [{"day": "mon", "start": start, "end": "24:00"}]
    return {
        "community_of_practice": content.communities[number % len(content.communities)],
        "skills_learned_matrix": levels_of(content, number),
        "max_available_hours": number % 41,
        "meeting_availability": {"timezone": "America/Los_Angeles", "slots": slots},
    }


def levels_of(content: Content, number: int) -> dict[str, int]:
    """Return a matrix that tells ``number``, in digits from 1 to 5."""
    return {skill: number // LEVELS**place % LEVELS + 1 for place, skill in enumerate(content.skills[:8])}


def _listing(content: Content, number: int) -> Write:
    manager = list(content.managers)[number % len(content.managers)]
    body = {
        "project": content.projects[number % len(content.projects)],
        "role": content.roles[number % len(content.roles)],
        "body": f"Listing {number}",
        "min_hours_required": number % 41,
        "skills_required_matrix": levels_of(content, number),
        "status": "open",
    }
    request = Request("/api/opportunities/", "POST", signed_in(content.managers[manager]), body)
    return Write(request, f"Listing {number}", [number % 41, levels_of(content, number), manager])
