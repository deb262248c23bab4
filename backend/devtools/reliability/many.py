"""Many requests at once, by one client process."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp

from .scenario import ReliabilityError

CLIENT_SECONDS = 60
CUT_OFF = 0


@dataclass(frozen=True)
class Reply:
    """The status of an answer, 0 where the connection was cut, and its body, parsed."""

    status: int
    body: Any = None


type Send = Callable[[aiohttp.ClientSession], Awaitable[Reply]]


def send_all(sends: Iterable[Send], at_once: int) -> list[Reply]:
    """Send all, so many at once, and return the replies in their order."""
    return asyncio.run(_send_all(list(sends), at_once))


async def _send_all(sends: list[Send], at_once: int) -> list[Reply]:
    places = asyncio.Semaphore(at_once)
    timeout = aiohttp.ClientTimeout(total=CLIENT_SECONDS)
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(
        timeout=timeout, connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def send_one(send: Send) -> Reply:
            async with places:
                return await send(session)

        return await asyncio.gather(*map(send_one, sends))


def request(method: str, url: str, headers: dict[str, str], body: Any) -> Send:
    """Return what sends a request; one that is cut off is a reply, too."""

    async def send(session: aiohttp.ClientSession) -> Reply:
        try:
            async with session.request(method, url, headers=headers, json=body) as response:
                return Reply(response.status, await response.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return Reply(CUT_OFF)

    return send


def allow_files(count: int) -> None:
    """Let this process have so many connections; raises ``ReliabilityError`` where the system doesn't."""
    import resource  # noqa: PLC0415 (there is none on Windows)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ReliabilityError(f"This process may have {hard} files and connections; {wanted} are needed.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
