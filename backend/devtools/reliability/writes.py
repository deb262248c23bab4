"""Concurrent writes, each with values of its own, and what must be there of them afterwards."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import chain, count, islice, repeat
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from devtools.benchmarks.client import Reply, Request, open_session, send, signed_in

from .servers import THREADS, Content, Server, until

AT_ONCE = 50
PAUSE_SECONDS = 0.1
LEVELS = 5
NOBODY = ""
READS = ("/api/skills/", "/api/opportunities/", "/api/opportunities/?search=data", "/api/healthcheck/")
STORED, HALVES, GATE = (
    (Path(__file__).parent / "sql" / f"{name}.sql").read_bytes() for name in ("stored", "halves", "gate")
)
WAITING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 6000026 AND NOT granted"
CUT_THEM_OFF = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
    WHERE locktype = 'advisory' AND objid = 6000026 AND NOT granted
"""

type Row = list[Any] | None


class Write(NamedTuple):
    """A request; one that writes has the key of what it writes, and the row that it leaves."""

    request: Request
    key: str = ""
    row: Row = None


class Load:
    """Requests of all kinds, mostly writes: of profiles, of listings, of accounts."""

    def __init__(self, server: Server, at_once: int = AT_ONCE, allowed: Iterable[str] = ("503",)) -> None:
        self.at_once = at_once
        self.acknowledged = 0
        self.statuses: Counter[str] = Counter()
        self.slowest = 0.0
        self._server = server
        self._allowed = {"200", "201", *allowed}
        self._newest = 0.0
        self._possible = {key: [row] for key, row in self._stored()}
        self._sessions: set[str] = set()
        self._strange: list[str] = []

    def run(self, wanted: int, fault: Callable[["Load"], Coroutine[None, None, None]]) -> list[str]:
        """Write until so many writes are acknowledged and ``fault`` is over; return the problems."""
        asyncio.run(self._run(wanted, fault))
        return self.problems()

    async def reach(self, acknowledged: int) -> None:
        """Wait until so many writes are acknowledged."""
        await until(lambda: self.acknowledged >= acknowledged, f"{acknowledged} writes were not acknowledged")

    async def recovery(self) -> float:
        """Return the seconds until a write that is sent from now on is acknowledged."""
        began = asyncio.get_running_loop().time()
        return await until(lambda: self._newest > began, "No write was acknowledged")

    def note(self, write: Write, reply: Reply) -> None:
        """Note what became of a request: what is not acknowledged may be done, or not."""
        self.statuses[reply.status] += 1
        if reply.status not in self._allowed:
            self._strange.append(f"{write.request.method} {write.request.path}: {reply.status} {reply.body[:300]!r}")
        if write.key:
            possible = self._possible.setdefault(write.key, [None])
            if reply.is_success:
                possible.clear()
                self.acknowledged += 1
                self._newest = max(self._newest, reply.sent_at)
                self._sessions |= {reply.session} - {""}
            possible.append(write.row)

    def problems(self) -> list[str]:
        """Return what the database lacks of what was acknowledged, what it has by halves, and wrong answers."""
        rows = self._stored()
        with self._server.database() as database:
            sessions = {key for (key,) in database.execute("SELECT session_key FROM django_session")}
            halves = [told for (told,) in database.execute(HALVES)]
        stored: dict[str, Row] = dict(rows)
        lost = [
            f"{key} is {stored.get(key)}, none of {len(possible)} that are possible"
            for key, possible in self._possible.items()
            if stored.get(key) not in possible
        ]
        lost += [f"{len(rows) - len(stored)} listings are there twice"] if len(rows) > len(stored) else []
        lost += [f"{len(self._sessions - sessions)} sessions are lost"] if self._sessions - sessions else []
        return [*self._strange, *lost, *halves]

    def _stored(self) -> list[tuple[str, Row]]:
        with self._server.database() as database:
            return database.execute(STORED).fetchall()

    async def _run(self, wanted: int, fault: Callable[["Load"], Coroutine[None, None, None]]) -> None:
        numbers = count(1)
        async with await open_session(self._server.port) as session, asyncio.TaskGroup() as tasks:
            fault_task = tasks.create_task(fault(self))

            async def keep_sending(volunteer: str) -> None:
                while self.acknowledged < wanted or not fault_task.done():
                    write = write_of(self._server.content, volunteer, next(numbers))
                    reply = await send(session, write.request)
                    self.slowest = max(self.slowest, asyncio.get_running_loop().time() - reply.sent_at)
                    self.note(write, reply)
                    if not reply.is_success:
                        await asyncio.sleep(PAUSE_SECONDS)

            volunteers = chain(self._server.content.volunteers, repeat(NOBODY))
            for volunteer in islice(volunteers, self.at_once):
                tasks.create_task(keep_sending(volunteer))


def put_gate(server: Server) -> None:
    """Put the gate, open, in front of the last write of a transaction."""
    with server.database() as database:
        database.execute(GATE)


@asynccontextmanager
async def gate_closed(server: Server) -> AsyncIterator[None]:
    """Have writes wait with their transactions half done; those that wait at the end are cut off.

    PostgreSQL would do what they wait for although nobody is there any more, as if they had been killed after it.
    """
    with server.database() as database:
        database.execute("SELECT pg_advisory_lock(6000026)")
        await until(lambda: len(database.execute(WAITING).fetchall()) >= THREADS, "No writes waited at the gate")
        yield
        with suppress(psycopg.OperationalError):  # the database was killed
            database.execute(CUT_THEM_OFF)


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
