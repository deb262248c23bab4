"""A client of many connections, in a process of its own: ``python -m devtools.benchmarks.throughput``.

It reads from standard input what to send, as ``client.drive`` writes it, and writes what came back.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from statistics import median
from typing import Any

import aiohttp

TIMEOUT_SECONDS = 60
PERCENTILES = (50, 95, 99)


class Driver:
    """Counts the answers and takes their times."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._base: str = plan["base"]
        self._connections: int = plan["connections"]
        self._seconds: float = plan["seconds"]
        self._requests: Iterator[dict[str, Any]] = cycle(plan["requests"])
        self._counts: Counter[str] = Counter()
        self._times: dict[str, list[float]] = {}

    async def run(self) -> dict[str, Any]:
        """Send until the time is over, wait for the last answers, and return what there was."""
        began = time.monotonic()
        async with aiohttp.ClientSession(
            self._base,
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS),
            auto_decompress=False,
        ) as session:
            await asyncio.gather(*(self._send(session, began + self._seconds) for _ in range(self._connections)))
        seconds = time.monotonic() - began
        return {
            "seconds": seconds,
            "counts": self._counts,
            "latencies": percentiles([time for times in self._times.values() for time in times]),
            "medians": {kind: median(times) for kind, times in sorted(self._times.items())},
        }

    async def _send(self, session: aiohttp.ClientSession, end: float) -> None:
        while (began := time.monotonic()) < end:
            request = next(self._requests)
            try:
                status, is_success = await self._answer(session, request)
            except (aiohttp.ClientError, TimeoutError) as error:
                status, is_success = type(error).__name__, False
            self._counts[status] += 1
            if is_success:
                self._times.setdefault(request["kind"], []).append(time.monotonic() - began)

    async def _answer(self, session: aiohttp.ClientSession, request: dict[str, Any]) -> tuple[str, bool]:
        async with session.request(
            request["method"], request["path"], headers=request["headers"], data=request["body"]
        ) as response:
            await response.read()
            retry = " with Retry-After" if "Retry-After" in response.headers else ""
            return f"{response.status}{retry}", response.ok


def percentiles(times: list[float]) -> dict[str, float]:
    """Return the times that so many per cent of ``times`` don't exceed."""
    ordered = sorted(times)
    return {f"p{share}": ordered[-(-len(ordered) * share // 100) - 1] for share in PERCENTILES} if ordered else {}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(Driver(json.load(sys.stdin)).run())))
