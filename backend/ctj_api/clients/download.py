"""Fetches small documents in JSON from other servers, within limits."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

import httpx2

MAX_BYTES = 65_536
FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, OSError, TypeError, ValueError)


async def download(method: str, url: str, seconds: float, **request: Any) -> dict[str, Any]:
    """Return the object that an address answers with; raises one of ``FAILURES`` for anything else.

    The limit of time covers all of it, from the connection to the last byte. No redirect is followed.
    """
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    body = b""
    async with (
        asyncio.timeout(seconds),
        httpx2.AsyncClient(headers=headers, timeout=seconds, follow_redirects=False) as client,
        client.stream(method, url, **request) as response,
    ):
        if response.status_code != HTTPStatus.OK:
            raise ValueError(f"status {response.status_code}")
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError("too long")
    return dict(json.loads(body))
