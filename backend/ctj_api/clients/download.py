"""Reads answers of other servers, within limits of time and size."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

import httpx2

MAX_BYTES = 65_536
FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, OSError, TypeError, ValueError)


async def receive(
    method: str, url: str, seconds: float, max_bytes: int, **request: Any
) -> tuple[httpx2.Response, bytes]:
    """Return an answer, whole in time, and its body; raises ``ValueError`` for more bytes, or httpx2's errors."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    body = bytearray()
    async with (
        asyncio.timeout(seconds),
        httpx2.AsyncClient(headers=headers, timeout=seconds, follow_redirects=False) as client,
        client.stream(method, url, **request) as response,
    ):
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > max_bytes:
                raise ValueError("too long")
    return response, bytes(body)


async def download(method: str, url: str, seconds: float, **request: Any) -> dict[str, Any]:
    """Return the small object in JSON that an address answers with; raises one of ``FAILURES`` for anything else."""
    response, body = await receive(method, url, seconds, MAX_BYTES, **request)
    if response.status_code != HTTPStatus.OK:
        raise ValueError(f"status {response.status_code}")
    return dict(json.loads(body))
