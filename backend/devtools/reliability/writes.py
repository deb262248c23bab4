"""Concurrent writes, each with a value of its own, and what must be there of them afterwards."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp
import psycopg

from .servers import Account, Content, Server, until

AT_ONCE = 50
TIMEOUT_SECONDS = 60
PAUSE_SECONDS = 0.1
SKILLS_RATED = 8
LEVELS = 5
HOURS = 41
MINUTES = 1439
CUT_OFF = "cut off"
ANONYMOUS = Account("", "")
MANY_SIGNUPS = "1000000/1h"

PROFILES = """
    SELECT u.email, u.community_of_practice_id::text, m.levels, u.max_available_hours, u.meeting_availability
    FROM ctj_api_userprofile u LEFT JOIN ctj_api_skillmatrix m ON m.id = u.skills_learned_matrix_id
"""
LISTINGS = """
    SELECT o.body, o.min_hours_required, m.levels, u.email
    FROM ctj_api_opportunity o
    LEFT JOIN ctj_api_skillmatrix m ON m.id = o.skills_required_matrix_id
    LEFT JOIN ctj_api_userprofile u ON u.id = o.created_by_id
"""
ENTRIES = """
    SELECT u.email, count(*) FROM django_admin_log l JOIN ctj_api_userprofile u ON u.id::text = l.object_id
    WHERE l.action_flag = 2 GROUP BY u.email
"""
# What no transaction leaves: each query counts halves of what is written together.
HALVES = {
    "matrices without an owner": """
        SELECT count(*) FROM ctj_api_skillmatrix m
        WHERE NOT EXISTS (SELECT FROM ctj_api_opportunity o WHERE o.skills_required_matrix_id = m.id)
        AND NOT EXISTS (SELECT FROM ctj_api_userprofile u WHERE u.skills_learned_matrix_id = m.id)
    """,
    "listings without one entry of their addition in the history": """
        SELECT count(*) FROM ctj_api_opportunity o
        WHERE 1 <> (SELECT count(*) FROM django_admin_log l WHERE l.object_id = o.id::text AND l.action_flag = 1)
    """,
    "entries of the history without their listing": """
        SELECT count(*) FROM django_admin_log l JOIN django_content_type t ON t.id = l.content_type_id
        WHERE t.model = 'opportunity' AND l.action_flag = 1
        AND NOT EXISTS (SELECT FROM ctj_api_opportunity o WHERE o.id::text = l.object_id)
    """,
}


def answers(content: Content, number: int) -> dict[str, Any]:
    """Return what a volunteer answers; each of the four answers follows from ``number``."""
    return {
        "community_of_practice": content.communities[number % len(content.communities)],
        "skills_learned_matrix": levels(content, number),
        "max_available_hours": number % HOURS,
        "meeting_availability": {
            "timezone": "America/Los_Angeles",
            "slots": [{"day": "mon", "start": _clock(number % MINUTES), "end": "24:00"}],
        },
    }


def levels(content: Content, number: int) -> dict[str, int]:
    """Return a matrix that tells ``number``, in digits from 1 to 5."""
    return {skill: number // LEVELS**place % LEVELS + 1 for place, skill in enumerate(content.skills[:SKILLS_RATED])}


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

    async def send(self, method: str, path: str, account: Account, body: Any = None) -> Attempt:
        """Send a request once and return what became of it."""
        sent_at = asyncio.get_running_loop().time()
        try:
            async with self._session.request(method, path, headers=account.headers, json=body) as response:
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
        timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS),
    ) as session:
        yield Client(session)


@dataclass
class Profile:
    """What a volunteer's record may say: the answers last acknowledged, or those of a later attempt that was not."""

    possible: list[int | None] = field(default_factory=lambda: [None])
    acknowledged: int = 0
    unknown: int = 0

    def note(self, number: int, attempt: Attempt) -> None:
        """Note an attempt to save the answers that follow from ``number``."""
        if attempt.is_acknowledged:
            self.possible = [number]
            self.acknowledged += 1
        else:
            self.possible.append(number)
            self.unknown += 1


class Load:
    """Writes of all kinds: of profiles, of listings, of accounts. After one that fails, another one is tried."""

    def __init__(self, server: Server, at_once: int = AT_ONCE, allowed: Iterable[str] = ()) -> None:
        self.at_once = at_once
        self.acknowledged = 0
        self.statuses: Counter[str] = Counter()
        self._server = server
        self._content = server.content
        self._allowed = {"200", "201", "503", *allowed}
        self._numbers = count(1)
        self._profiles = {account.email: Profile() for account in server.content.volunteers}
        self._listings: dict[int, bool] = {}
        self._accounts: dict[int, Attempt] = {}
        self._last: list[Attempt] = []
        self._strange: list[str] = []

    async def run(self, wanted: int, fault: Callable[["Load"], Coroutine[None, None, None]]) -> None:
        """Write until so many writes are acknowledged and ``fault`` is over."""
        async with talking(self._server) as client, asyncio.TaskGroup() as tasks:
            fault_task = tasks.create_task(fault(self))
            for account in self._content.volunteers[: self.at_once]:
                tasks.create_task(
                    self._write_while(client, account, lambda: self.acknowledged < wanted or not fault_task.done())
                )

    async def reach(self, acknowledged: int) -> None:
        """Wait until so many writes are acknowledged."""
        await until(lambda: self.acknowledged >= acknowledged, f"{acknowledged} writes were not acknowledged")

    async def recovery(self) -> float:
        """Return the seconds until a write that is sent from now on is acknowledged."""
        began = asyncio.get_running_loop().time()
        return await until(lambda: any(attempt.sent_at > began for attempt in self._last), "No write was acknowledged")

    def problems(self) -> list[str]:
        """Return what the database lacks of what was acknowledged, what it has by halves, and wrong answers."""
        with self._server.database() as database:
            return [
                *self._strange,
                *self._profile_problems(database),
                *self._listing_problems(database),
                *self._account_problems(database),
                *halves(database),
            ]

    async def _write_while(self, client: Client, account: Account, is_wanted: Callable[[], bool]) -> None:
        while is_wanted():
            attempt = await self._write(client, account)
            self.statuses[attempt.status] += 1
            if attempt.status not in self._allowed:
                self._strange.append(f"a write was answered with {attempt.status}: {attempt.body[:300]!r}")
            if attempt.is_acknowledged:
                self.acknowledged += 1
                self._last = [*self._last[-self.at_once :], attempt]
            else:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _write(self, client: Client, account: Account) -> Attempt:
        number = next(self._numbers)
        match number % 10:
            case 0:
                return await self._sign_up(client, number)
            case 1 | 2 | 3 | 4:
                return await self._post(client, number)
            case _:
                return await self._save(client, account, number)

    async def _save(self, client: Client, account: Account, number: int) -> Attempt:
        attempt = await client.send("PUT", "/api/users/me/", account, answers(self._content, number))
        self._profiles[account.email].note(number, attempt)
        return attempt

    async def _post(self, client: Client, number: int) -> Attempt:
        content = self._content
        listing = {
            "project": content.projects[number % len(content.projects)],
            "role": content.roles[number % len(content.roles)],
            "body": f"Listing {number}",
            "min_hours_required": number % HOURS,
            "skills_required_matrix": levels(content, number),
        }
        attempt = await client.send("POST", "/api/opportunities/", self._manager(number), listing)
        self._listings[number] = attempt.is_acknowledged
        return attempt

    async def _sign_up(self, client: Client, number: int) -> Attempt:
        person = {"email": _email(number), "first_name": f"New {number}", "password": f"correct horse {number}"}
        attempt = await client.send("POST", "/api/auth/signup/", ANONYMOUS, person)
        self._accounts[number] = attempt
        return attempt

    def _manager(self, number: int) -> Account:
        return self._content.managers[number % len(self._content.managers)]

    def _profile_problems(self, database: psycopg.Connection) -> list[str]:
        stored = {email: profile for email, *profile in database.execute(PROFILES)}
        entries: dict[str, int] = dict(database.execute(ENTRIES).fetchall())
        problems = []
        for email, profile in self._profiles.items():
            acknowledged, *unknown = map(self._row, profile.possible)
            if stored[email] not in (acknowledged, *unknown):
                problems.append(f"{email} has {json.dumps(stored[email])}, none of {profile.possible}")
            written = entries.get(email, 0)
            changes = profile.acknowledged + (stored[email] in unknown)
            if not changes <= written <= profile.acknowledged + profile.unknown:
                problems.append(f"{email} has {written} entries in the history of {changes} changes")
        return problems

    def _row(self, number: int | None) -> list[Any]:
        return [None] * 4 if number is None else list(answers(self._content, number).values())

    def _listing_problems(self, database: psycopg.Connection) -> list[str]:
        stored: dict[str, list[list[Any]]] = {}
        for body, *rest in database.execute(LISTINGS):
            stored.setdefault(body, []).append(rest)
        problems = []
        for number, is_acknowledged in self._listings.items():
            found = stored.get(f"Listing {number}", [])
            whole = [number % HOURS, levels(self._content, number), self._manager(number).email]
            if found != [whole] and (found or is_acknowledged):
                problems.append(f"listing {number} is {found or 'lost'}")
        return problems

    def _account_problems(self, database: psycopg.Connection) -> list[str]:
        stored: dict[str, str] = dict(database.execute("SELECT email, first_name FROM ctj_api_userprofile").fetchall())
        sessions = {key for (key,) in database.execute("SELECT session_key FROM django_session")}
        problems = []
        for number, attempt in self._accounts.items():
            found = stored.get(_email(number))
            if found != f"New {number}" and (found is not None or attempt.is_acknowledged):
                problems.append(f"the account {_email(number)} is {found or 'lost'}")
            if attempt.is_acknowledged and attempt.session not in sessions:
                problems.append(f"the session of {_email(number)} is lost")
        return problems


def halves(database: psycopg.Connection) -> Iterator[str]:
    """Find halves of what is written together."""
    for what, query in HALVES.items():
        (number,) = database.execute(query.encode()).fetchall()[0]
        if number:
            yield f"{number} {what}"


def _email(number: int) -> str:
    return f"new{number}@example.org"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
