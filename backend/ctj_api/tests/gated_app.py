"""An ASGI application for the tests of the server processes, whose answers wait for a file to appear."""

import asyncio
import os
from pathlib import Path
from typing import Any

import django

django.setup()

GATE = Path(os.environ.get("GATE", "gate"))


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the number of the process; under ``/gate`` when the file is there."""
    await receive()
    if scope["path"] == "/gate":
        GATE.with_suffix(".entered").touch()
        while not GATE.exists():  # noqa: ASYNC110, ASYNC240 (a file tells of itself to nobody)
            await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


def warm_up() -> None:
    """Tell that this was called."""
    GATE.with_suffix(".warm").touch()


application.warm_up = warm_up  # type: ignore[attr-defined]
