"""A stand-in for PeopleDepot: a server with its traits, whose rows a test sets, changes and breaks."""

import json
import random
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

from django.test import override_settings

TOKEN = "eyJ-the-token-that-nobody-may-read"
NOT_FOUND = "<!doctype html>\n<html><head><title>Not Found</title></head><body><h1>Not Found</h1></body></html>"
AREAS = ("Development", "Project Management", "Design", "Professional Development")
TIMES = {"created_at": "2026-01-01T00:00:00.000001Z", "updated_at": "2026-01-02T00:00:00.000001Z"}
# What each list's rows have besides an id, before a test says more.
ROWS: dict[str, dict[str, Any]] = {
    "skills": {"name": "", "something_new": {"which": "is ignored"}},
    "practice-areas": {"name": "", "description": "", **TIMES},
    "modern-job-titles": {"title": "", "soc_detailed": str(UUID(int=49)), **TIMES},
    "projects": {"name": "", "description": "", "hide": True, "completed_on": None, "project_leads": [], **TIMES},
    "users": {"username": "", "email": "", "is_active": True, "time_zone": "America/Los_Angeles", **TIMES},
}

type Answer = Callable[["_Handler"], None]


class PeopleDepot(ThreadingHTTPServer):
    """A PeopleDepot as it comes, with four practice areas and nothing else; ``with`` starts and stops it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lists: dict[str, dict[UUID, dict[str, Any]]] = {name: {} for name in ROWS}
        for number, name in enumerate(AREAS, start=1):
            self.add("practice-areas", uuid=UUID(int=number), name=name)
        self.requests: list[str] = []
        self.failures: dict[str, list[Answer]] = {}
        self.stopped = threading.Event()

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.shutdown()
        self.thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that ended the connection."""

    @property
    def url(self) -> str:
        """The address, as ``PEOPLEDEPOT_URL`` has it."""
        return f"http://127.0.0.1:{self.server_port}"

    def settings(self, **more: Any) -> override_settings:
        """Return the settings under which catalogs come from here."""
        values = {"CATALOG_SOURCE": "peopledepot", "PEOPLEDEPOT_URL": self.url, "PEOPLEDEPOT_TOKEN": TOKEN}
        return override_settings(**values | more)

    def add(self, list_name: str, uuid: UUID | None = None, **values: Any) -> UUID:
        """Add a row to a list, such as ``skills``; a project is hidden unless the test says ``hide=False``."""
        id_ = uuid or uuid4()
        self.lists[list_name][id_] = {"uuid": str(id_), **ROWS[list_name], **values}
        return id_

    def change(self, list_name: str, uuid: UUID, **values: Any) -> None:
        """Change a row, such as its ``name``."""
        self.lists[list_name][uuid] |= values

    def delete(self, list_name: str, uuid: UUID) -> None:
        """Delete a row."""
        del self.lists[list_name][uuid]

    def recreate(self, list_name: str, uuid: UUID) -> UUID:
        """Delete a row and make it again: all is the same but the id, which is returned."""
        values = self.lists[list_name].pop(uuid)
        del values["uuid"]
        return self.add(list_name, **values)

    def fail(self, list_name: str, answer: Answer, times: int = 1000) -> None:
        """Give ``answer`` in place of the list ``list_name``, so many times."""
        self.failures[list_name] = [answer] * times


def say(status: int, body: bytes = b"{}", content_type: str = "application/json", **headers: str) -> Answer:
    """Return an answer; the underscores in the names of ``headers`` mean hyphens."""

    def answer(handler: "_Handler") -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def hang(handler: "_Handler") -> None:
    """Accept the request, and answer nothing until the test ends."""
    handler.server.stopped.wait()


def reset(handler: "_Handler") -> None:
    """End the connection without an answer."""
    handler.close_connection = True


def drip(start: bytes) -> Answer:
    """Return an answer that never ends: ``start``, then one blank after the other."""

    def answer(handler: "_Handler") -> None:
        handler.wfile.write(start)
        while not handler.server.stopped.wait(0.02):
            handler.wfile.write(b" ")

    return answer


class _Handler(BaseHTTPRequestHandler):
    server: PeopleDepot

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self._answer()(self)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def _answer(self) -> Answer:
        url = urlsplit(self.path)
        name = url.path.removeprefix("/api/v1/").rstrip("/")
        if failures := self.server.failures.get(name):
            return failures.pop()
        if f"/api/v1/{name}/" != url.path or name not in ROWS:
            if url.path == f"/api/v1/{name}":
                return say(301, b"", "text/html", Location=f"/api/v1/{name}/")
            return say(404, NOT_FOUND.encode(), "text/html; charset=utf-8")
        return self._refusal(name) or self._list(name, parse_qs(url.query))

    def _refusal(self, name: str) -> Answer | None:
        authorization = self.headers["Authorization"]
        if authorization == f"Bearer {TOKEN}" or (authorization is None and name == "practice-areas"):
            return None
        return say(401, b'{"detail": "Error decoding token."}', WWW_Authenticate='Bearer realm="api"')

    def _list(self, name: str, query: dict[str, list[str]]) -> Answer:
        rows = list(self.server.lists[name].values())
        if name == "users" and "username" in query:
            rows = [row for row in rows if row["username"] == query["username"][0]]
        random.shuffle(rows)
        return say(200, json.dumps(rows).encode())
