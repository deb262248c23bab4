"""An ASGI application for the tests of the server processes, whose answers wait for a file to appear."""

import asyncio
import os
from pathlib import Path
from typing import Any, cast

import django

django.setup()

GATE = Path(os.environ.get("GATE", "gate"))


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the number of the process; under ``/gate`` when the file is there.

    Under ``/accepts`` answer with how many connections are taken at once.
    """
    await receive()
    if scope["path"] == "/gate":
        GATE.with_suffix(".entered").touch()
        while not GATE.exists():  # noqa: ASYNC110, ASYNC240 (a file tells of itself to nobody)
            await asyncio.sleep(0.01)
    answer = connections_at_once() if scope["path"] == "/accepts" else os.getpid()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(answer).encode()})


def connections_at_once() -> int:
    """Return what is left of Twisted's own number, which it changes as it learns how many come."""
    from twisted.internet import tcp  # noqa: PLC0415 (not before the fork: it opens files as it is loaded)

    port = tcp.Port(0, cast("Any", None))
    port.numberAccepts = 100
    return int(port.numberAccepts)


def warm_up() -> None:
    """Tell that this was called."""
    GATE.with_suffix(".warm").touch()


application.warm_up = warm_up  # type: ignore[attr-defined]
