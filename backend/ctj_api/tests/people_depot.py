"""A stand-in for PeopleDepot: a server with its traits, whose rows a test sets, changes and breaks."""

import json
import random
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

from django.test import override_settings

from .stand_in import Answer, Handler, StandIn, say

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


class PeopleDepot(StandIn):
    """A PeopleDepot as it comes, with four practice areas and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, dict[UUID, dict[str, Any]]] = {name: {} for name in ROWS}
        for number, name in enumerate(AREAS, start=1):
            self.add("practice-areas", uuid=UUID(int=number), name=name)
        self.failures: dict[str, list[Answer]] = {}

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

    def recreate(self, list_name: str, uuid: UUID, new: UUID) -> None:
        """Delete a row and make it again: all is the same but the id, which is ``new``."""
        self.lists[list_name][new] = self.lists[list_name].pop(uuid) | {"uuid": str(new)}

    def fail(self, list_name: str, answer: Answer, times: int = 1000) -> None:
        """Give ``answer`` in place of the list ``list_name``, so many times."""
        self.failures[list_name] = [answer] * times

    def answer_to(self, request: Handler) -> Answer:
        """Return a list, where the path, with its slash at the end, and the token are right."""
        url = urlsplit(request.path)
        name = url.path.removeprefix("/api/v1/").rstrip("/")
        if failures := self.failures.get(name):
            return failures.pop()
        if url.path == f"/api/v1/{name}":
            return say(301, b"", "text/html", Location=f"/api/v1/{name}/")
        if name not in ROWS:
            return say(404, NOT_FOUND.encode(), "text/html; charset=utf-8")
        admitted = {f"Bearer {TOKEN}"} | ({None} if name == "practice-areas" else set())
        if request.headers["Authorization"] not in admitted:
            return say(401, b'{"detail": "Error decoding token."}', WWW_Authenticate='Bearer realm="api"')
        rows = list(self.lists[name].values())
        if name == "users" and (usernames := parse_qs(url.query).get("username")):
            rows = [row for row in rows if row["username"] in usernames]
        random.shuffle(rows)
        return say(200, json.dumps(rows).encode())
