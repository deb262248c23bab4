"""An ASGI application for the tests of the server processes; what it has no path for, the project answers."""

import asyncio
import gc
import json
import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

GATE = Path(os.environ.get("GATE", "gate"))
LARGE = 4 * 2**20
served_large = 0


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with what the path names, or fail as it says."""
    if scope["type"] != "http" or scope["path"] not in OUR_PATHS:
        from backend.asgi import application as project  # noqa: PLC0415 (slow to load, and most tests don't need it)

        await project(scope, receive, send)
        return
    body = await read(receive)
    if scope["path"] == "/fail-in-twisted":
        fail_in_twisted()
    if scope["path"] == "/fail-in-daphne":
        fail_in_daphne()
    if scope["path"] == "/raise":
        raise ValueError("Raised before the answer")
    if scope["path"] == "/gate":
        GATE.with_suffix(".entered").touch()
        while not GATE.exists():  # noqa: ASYNC110, ASYNC240 (a file tells of itself to nobody)
            await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Process", str(os.getpid()).encode())]})
    if scope["path"] == "/break-off":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("Raised in the middle of the answer")
    await send({"type": "http.response.body", "body": answer(scope, body).encode()})


def fail_in_twisted() -> None:
    """Have a call of the event loop fail."""
    from serving import daphne_server  # noqa: PLC0415 (not before the fork: it opens files as it is loaded)

    reactor: Any = daphne_server.reactor
    reactor.callLater(0, lambda: 1 / 0)


def fail_in_daphne() -> None:
    """Log a failure as Daphne logs its own."""
    try:
        os.environ["OF SOMEBODY"]
    except KeyError:
        logging.getLogger("daphne.http_protocol").error(traceback.format_exc())  # noqa: TRY400 (as Daphne does)


async def read(receive: Any) -> bytes:
    """Return the request's body."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    return body


def answer(scope: dict[str, Any], body: bytes) -> str:
    """Return the request for ``/echo``, a number for other paths."""
    if scope["path"] == "/echo":
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        return json.dumps({"headers": headers, "body": len(body)})
    if scope["path"] == "/large":
        global served_large  # noqa: PLW0603 (one process answers)
        served_large += 1
        return "x" * LARGE
    return str(NUMBERS.get(scope["path"], os.getpid)())


def connections_at_once() -> int:
    """Return how many connections Twisted accepts at once, a number that it changes as it learns how many come."""
    from twisted.internet import tcp  # noqa: PLC0415 (not before the fork: it opens files as it is loaded)

    port: Any = object.__new__(tcp.Port)
    port.numberAccepts = 100
    return int(port.numberAccepts)


def tracked_connections() -> int:
    """Return how many requests Daphne's server keeps track of."""
    from serving.daphne_server import Server  # noqa: PLC0415 (as above)

    (server,) = (candidate for candidate in gc.get_objects() if type(candidate) is Server)
    return len(server.connections)


def warm_up() -> None:
    """Tell that this was called."""
    GATE.with_suffix(".warm").touch()


NUMBERS: dict[str, Callable[[], int]] = {
    "/accepts": connections_at_once,
    "/tracked": tracked_connections,
    "/served-large": lambda: served_large,
    "/process": os.getpid,
}
OUR_PATHS = {*NUMBERS, "/gate", "/echo", "/large", "/raise", "/break-off", "/fail-in-daphne", "/fail-in-twisted"}
application.warm_up = warm_up  # type: ignore[attr-defined]
