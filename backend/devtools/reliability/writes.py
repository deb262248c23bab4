"""Concurrent writes, each with values of its own, and what must be there of them afterwards."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import aiohttp
import psycopg

from .servers import Account, Content, Server, until

AT_ONCE = 50
PAUSE_SECONDS = 0.1
LEVELS = 5
CUT_OFF = "cut off"
ANONYMOUS = Account("", "")
READS = ("/api/skills/", "/api/opportunities/", "/api/opportunities/?search=data", "/api/healthcheck/")
# Each account by its address and each listing by its body, with all that the writes write.
STORED = """
    SELECT u.email, jsonb_build_array(
        u.first_name, u.community_of_practice_id, m.levels, u.max_available_hours, u.meeting_availability
    ) FROM ctj_api_userprofile u LEFT JOIN ctj_api_skillmatrix m ON m.id = u.skills_learned_matrix_id
    UNION ALL
    SELECT o.body, jsonb_build_array(o.min_hours_required, m.levels, u.email)
    FROM ctj_api_opportunity o
    LEFT JOIN ctj_api_skillmatrix m ON m.id = o.skills_required_matrix_id
    LEFT JOIN ctj_api_userprofile u ON u.id = o.created_by_id
"""
# What no transaction leaves: each query counts halves of what is written together.
HALVES = {
    "matrices without an owner": """
        SELECT count(*) FROM ctj_api_skillmatrix m
        WHERE NOT EXISTS (SELECT FROM ctj_api_opportunity o WHERE o.skills_required_matrix_id = m.id)
        AND NOT EXISTS (SELECT FROM ctj_api_userprofile u WHERE u.skills_learned_matrix_id = m.id)
    """,
    "listings without one entry of their addition in the history": """
        SELECT count(*) FROM ctj_api_opportunity o WHERE o.body LIKE 'Listing %'
        AND 1 <> (SELECT count(*) FROM django_admin_log l WHERE l.object_id = o.id::text AND l.action_flag = 1)
    """,
    "entries of the history without their listing": """
        SELECT count(*) FROM django_admin_log l JOIN django_content_type t ON t.id = l.content_type_id
        WHERE t.model = 'opportunity' AND l.action_flag = 1
        AND NOT EXISTS (SELECT FROM ctj_api_opportunity o WHERE o.id::text = l.object_id)
    """,
}

type Row = list[Any] | None


class Request(NamedTuple):
    """A request; one that writes has the key of what it writes, and the row that it leaves."""

    method: str
    path: str
    account: Account = ANONYMOUS
    body: Any = None
    key: str = ""
    row: Row = None


@dataclass(frozen=True)
class Attempt:
    """A request that was sent at ``sent_at``, and the status that it was answered with, or ``cut off``."""

    sent_at: float
    status: str
    body: bytes = b""
    session: str | None = None

    @property
    def is_acknowledged(self) -> bool:
        """Whether the server has said that it is done."""
        return self.status.startswith("2")


class Client:
    """Sends requests, over as many connections as it takes."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, request: Request) -> Attempt:
        """Send a request once and return what became of it."""
        sent_at = asyncio.get_running_loop().time()
        headers = request.account.headers
        try:
            async with self._session.request(
                request.method, request.path, headers=headers, json=request.body
            ) as response:
                cookie = response.cookies.get("sessionid")
                content = await response.read()
                return Attempt(sent_at, str(response.status), content, cookie.value if cookie else None)
        except (aiohttp.ClientError, TimeoutError):
            return Attempt(sent_at, CUT_OFF)


@asynccontextmanager
async def talking(server: Server) -> AsyncIterator[Client]:
    """Have a client of the server."""
    async with aiohttp.ClientSession(
        server.url,
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(60),
    ) as session:
        yield Client(session)


def send_at_once(server: Server, requests: Iterable[Request]) -> list[Attempt]:
    """Send all requests at once, and return what became of them, in their order."""

    async def send() -> list[Attempt]:
        async with talking(server) as client:
            return await asyncio.gather(*map(client.send, requests))

    return asyncio.run(send())


class Load:
    """Requests of all kinds, mostly writes: of profiles, of listings, of accounts."""

    def __init__(self, server: Server, at_once: int = AT_ONCE, allowed: Iterable[str] = ("503",)) -> None:
        self.at_once = at_once
        self.acknowledged = 0
        self.statuses: Counter[str] = Counter()
        self.slowest = 0.0
        self._server = server
        self._allowed = {"200", "201", *allowed}
        self._numbers = count(1)
        self._newest = 0.0
        self._possible: dict[str, list[Row]] = {}
        self._sessions: set[str] = set()
        self._strange: list[str] = []

    async def run(self, wanted: int, fault: Callable[["Load"], Coroutine[None, None, None]]) -> None:
        """Write until so many writes are acknowledged and ``fault`` is over."""
        async with talking(self._server) as client, asyncio.TaskGroup() as tasks:
            fault_task = tasks.create_task(fault(self))
            for account in self._server.content.volunteers[: self.at_once]:
                tasks.create_task(
                    self._keep_sending(client, account, lambda: self.acknowledged < wanted or not fault_task.done())
                )

    async def reach(self, acknowledged: int) -> None:
        """Wait until so many writes are acknowledged."""
        await until(lambda: self.acknowledged >= acknowledged, f"{acknowledged} writes were not acknowledged")

    async def recovery(self) -> float:
        """Return the seconds until a write that is sent from now on is acknowledged."""
        began = asyncio.get_running_loop().time()
        return await until(lambda: self._newest > began, "No write was acknowledged")

    def note(self, request: Request, attempt: Attempt) -> None:
        """Note what became of a request: what is not acknowledged may be done, or not."""
        self.statuses[attempt.status] += 1
        if attempt.status not in self._allowed:
            self._strange.append(f"{request.method} {request.path} gave {attempt.status}: {attempt.body[:300]!r}")
        if not request.key:
            return
        possible = self._possible.setdefault(request.key, [None])
        if attempt.is_acknowledged:
            possible.clear()
            self.acknowledged += 1
            self._newest = max(self._newest, attempt.sent_at)
            self._sessions |= {attempt.session} if attempt.session else set()
        possible.append(request.row)

    def problems(self) -> list[str]:
        """Return what the database lacks of what was acknowledged, what it has by halves, and wrong answers."""
        with self._server.database() as database:
            rows = database.execute(STORED).fetchall()
            sessions = {key for (key,) in database.execute("SELECT session_key FROM django_session")}
            halves = list(halves_in(database))
        stored: dict[str, Row] = dict(rows)
        lost = [
            f"{key} is {stored.get(key)}, none of {possible}"
            for key, possible in self._possible.items()
            if stored.get(key) not in possible
        ]
        lost += [f"{len(rows) - len(stored)} listings are there twice"] if len(rows) > len(stored) else []
        lost += [f"{len(self._sessions - sessions)} sessions are lost"] if self._sessions - sessions else []
        return [*self._strange, *lost, *halves]

    async def _keep_sending(self, client: Client, account: Account, is_wanted: Callable[[], bool]) -> None:
        while is_wanted():
            request = request_of(self._server.content, account, next(self._numbers))
            attempt = await client.send(request)
            self.slowest = max(self.slowest, asyncio.get_running_loop().time() - attempt.sent_at)
            self.note(request, attempt)
            if not attempt.is_acknowledged:
                await asyncio.sleep(PAUSE_SECONDS)


def request_of(content: Content, account: Account, number: int) -> Request:
    """Return the request with this number: a sign-up, a read, a new listing, or a profile that is saved."""
    match number % 10:
        case 0:
            email, name = f"new{number}@example.org", f"New {number}"
            person = {"email": email, "first_name": name, "password": f"correct horse {number}"}
            return Request("POST", "/api/auth/signup/", ANONYMOUS, person, email, [name, None, None, None, None])
        case 1:
            return Request("GET", READS[number // 10 % len(READS)])
        case 2 | 3 | 4:
            return _listing(content, number)
        case _:
            answers = answers_of(content, number)
            return Request("PUT", "/api/users/me/", account, answers, account.email, ["", *answers.values()])


def answers_of(content: Content, number: int) -> dict[str, Any]:
    """Return what a volunteer answers; each of the four answers tells ``number``."""
    start = f"{number % 1439 // 60:02}:{number % 1439 % 60:02}"
    return {
        "community_of_practice": content.communities[number % len(content.communities)],
        "skills_learned_matrix": levels_of(content, number),
        "max_available_hours": number % 41,
        "meeting_availability": {
            "timezone": "America/Los_Angeles",
            "slots": [{"day": "mon", "start": start, "end": "24:00"}],
        },
    }


def levels_of(content: Content, number: int) -> dict[str, int]:
    """Return a matrix that tells ``number``, in digits from 1 to 5."""
    return {skill: number // LEVELS**place % LEVELS + 1 for place, skill in enumerate(content.skills[:8])}


def halves_in(database: psycopg.Connection) -> Iterator[str]:
    """Find halves of what is written together."""
    for what, query in HALVES.items():
        [(number,)] = database.execute(query.encode()).fetchall()
        if number:
            yield f"{number} {what}"


def _listing(content: Content, number: int) -> Request:
    manager = content.managers[number % len(content.managers)]
    body = {
        "project": content.projects[number % len(content.projects)],
        "role": content.roles[number % len(content.roles)],
        "body": f"Listing {number}",
        "min_hours_required": number % 41,
        "skills_required_matrix": levels_of(content, number),
        "status": "open",
    }
    row = [number % 41, body["skills_required_matrix"], manager.email]
    return Request("POST", "/api/opportunities/", manager, body, body["body"], row)
