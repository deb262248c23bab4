"""An ASGI application for the tests of the wire, which tells what has come to it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import django

django.setup()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the request; under ``/api/defect`` fail, under ``/half`` in the middle of an answer.

    Under ``/status`` it has the status that the query names.
    Under ``/wait`` the answer comes when the file is there that the query names; another one tells that it waits.
    """
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    if scope["path"] == "/api/defect":
        raise ValueError("A defect")
    if scope["path"] == "/wait":
        gate = Path(scope["query_string"].decode())
        gate.with_suffix(f".{id(scope)}").touch()
        while not gate.exists():  # noqa: ASYNC110, ASYNC240 (a file tells nobody)
            await asyncio.sleep(0.01)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    told = {"method": scope["method"], "path": scope["path"], "headers": headers, "root_path": scope["root_path"]}
    if scope["path"] == "/long":
        told["long"] = "x" * int(scope["query_string"])
    answer = json.dumps(told | {"body": len(body), "query": scope["query_string"].decode()}).encode()
    length = (b"Content-Length", str(len(answer)).encode())
    status = int(scope["query_string"]) if scope["path"] == "/status" else 200
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    if scope["path"] == "/half":
        await send({"type": "http.response.body", "body": answer[:10], "more_body": True})
        raise ValueError("A defect")
    await send({"type": "http.response.body", "body": answer})
