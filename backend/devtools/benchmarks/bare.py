"""The listing without a framework, as an ASGI application: nothing is checked, counted or routed."""

import os
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import django

from .bench import connect
from .statements import listing

django.setup(set_prefix=False)  # the worker of the server wants it
connection = cache(connect)

type Message = dict[str, Any]


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer any request with the first hundred listings; nothing else waits for the loop."""
    if scope["type"] == "http":
        await receive()
        body = listing(connection(os.environ["SQL_DATABASE"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
