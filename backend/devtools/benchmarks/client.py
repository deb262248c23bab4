"""The client of the benchmarks and of the trials: one request after the other, or over many connections."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import aiohttp

from serving.tests.ports import ADDRESS

from .measure import check

CSRF_TOKEN = "b" * 32
PASSWORD = "benchmarks"  # nosec B105
CUT_OFF = "cut off"


class Request(NamedTuple):
    """What is asked, as JSON; ``headers`` say by whom."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    body: Any = None


class Reply(NamedTuple):
    """What became of a request that was sent at a time of the loop: the status of the answer, or ``cut off``."""

    sent_at: float
    status: str = CUT_OFF
    headers: Mapping[str, str] = {}
    body: bytes = b""
    session: str = ""
    seconds: float = 0

    @property
    def is_success(self) -> bool:
        """Whether the server has done what was asked."""
        return self.status[0] in "23"


class Client:
    """Sends one request after the other, over a connection that is kept."""

    def __init__(self, port: int, opened: ExitStack) -> None:
        self._runner = opened.enter_context(asyncio.Runner())
        self._session = self._runner.run(open_session(port))
        opened.callback(lambda: self._runner.run(self._session.close()))

    def send(self, request: Request, status: str = "200") -> Reply:
        """Return the answer; raises ``BenchmarkError`` for a status that was not expected."""
        reply = self._runner.run(send(self._session, request))
        check(reply.status == status, f"{request.method} {request.path} gives {reply.status}: {reply.body[:500]!r}")
        return reply

    def get(self, path: str, headers: Mapping[str, str] | None = None, status: str = "200") -> Reply:
        """Return the answer to a GET."""
        return self.send(Request(path, headers=headers), status)

    def sign_in(self, email: str) -> dict[str, str]:
        """Return the headers of someone who is signed in, and may write."""
        body = {"email": email, "password": PASSWORD}
        return signed_in(self.send(Request("/api/auth/login/", "POST", signed_in(""), body)).session)


def signed_in(session: str) -> dict[str, str]:
    """Return the headers of someone who is signed in, and may write."""
    return {"Cookie": f"sessionid={session}; csrftoken={CSRF_TOKEN}", "X-CSRFToken": CSRF_TOKEN}


async def send(session: aiohttp.ClientSession, request: Request) -> Reply:
    """Send a request once and return what became of it."""
    loop = asyncio.get_running_loop()
    sent_at = loop.time()
    try:
        asked = session.request(request.method, request.path, headers=request.headers, json=request.body)
        async with asked as response:
            body = await response.read()
            cookie = response.cookies.get("sessionid")
            key = cookie.value if cookie else ""
            return Reply(sent_at, str(response.status), response.headers, body, key, loop.time() - sent_at)
    except (aiohttp.ClientError, TimeoutError):
        return Reply(sent_at, seconds=loop.time() - sent_at)


async def open_session(port: int) -> aiohttp.ClientSession:
    """Return what takes as many connections to a server as are needed."""
    return aiohttp.ClientSession(
        f"http://{ADDRESS}:{port}",
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=60),
    )


async def send_all(port: int, requests: Iterable[Request], connections: int) -> list[Reply]:
    """Send the requests in turn over so many connections, and return the replies."""
    waiting, replies = iter(requests), list[Reply]()

    async def keep_sending() -> None:
        for request in waiting:
            replies.append(await send(session, request))

    async with await open_session(port) as session:
        await asyncio.gather(*(keep_sending() for _ in range(connections)))
    return replies
