"""Which database a query goes to: safe reads to the read replica, where there is one, all else to the primary.

A request is safe to be answered from the replica when it can't come from anybody who has written: whoever has is
signed in, and everything of theirs is read where it was written. See ``docs/decisions/0017-read-replica.md``.
"""

import logging
import time
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.models import Model
from django.http import HttpRequest, HttpResponseBase

from ctj_api.http.middleware import GetResponse, is_api_request

REPLICA_ALIAS = "replica"
REPLICA_RETRY_SECONDS = 10

logger = logging.getLogger(__name__)


@dataclass
class SafeRead:
    """A request that may be answered from the replica; its first read decides where all of them go."""

    database: str | None = None


class Replica:
    """What this process knows of the replica: whether it was away, and since when it may be tried again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._retry_at: float | None = None

    def answers(self) -> bool:
        """Return whether this thread has a connection to it that works, or gets one now."""
        if not self._is_to_be_tried():
            return False
        connection = connections[REPLICA_ALIAS]
        try:
            connection.close_if_health_check_failed()
            connection.ensure_connection()
        except Error as error:
            self._note_away(error)
            return False
        self._note_back()
        return True

    def _is_to_be_tried(self) -> bool:
        """Whether it may answer; while it is away, one request at a time finds that out, and none waits for it."""
        with self._lock:
            now = time.monotonic()
            if self._retry_at is None:
                return True
            if now < self._retry_at:
                return False
            self._retry_at = now + REPLICA_RETRY_SECONDS
            return True

    def _note_away(self, error: Error) -> None:
        with self._lock:
            if self._retry_at is None:
                logger.warning("The read replica is away, the primary serves its reads: %s", error)
            self._retry_at = time.monotonic() + REPLICA_RETRY_SECONDS

    def _note_back(self) -> None:
        with self._lock:
            if self._retry_at is not None:
                logger.info("The read replica is back")
            self._retry_at = None


_safe_read: ContextVar[SafeRead | None] = ContextVar("safe_read", default=None)
_replica = Replica()


class ReplicaRouter:
    """Sends the reads of a safe request to the replica, unless it is away or a transaction is open."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """Return the database to read from."""
        safe_read = _safe_read.get()
        if safe_read is None or connections[DEFAULT_DB_ALIAS].in_atomic_block:
            return DEFAULT_DB_ALIAS
        if safe_read.database is None:
            safe_read.database = REPLICA_ALIAS if _replica.answers() else DEFAULT_DB_ALIAS
        return safe_read.database

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """Return the database to write to, and to lock rows in."""
        return DEFAULT_DB_ALIAS

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool:
        """Allow every relation: both databases hold the same rows."""
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Return whether the database is the primary; the replica follows by itself."""
        return db == DEFAULT_DB_ALIAS


class ReplicaMiddleware:
    """Mark the safe requests, for as long as they are answered."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the view's response."""
        if not is_safe_read(request):
            return self.get_response(request)
        token = _safe_read.set(SafeRead())
        try:
            return self.get_response(request)
        finally:
            _safe_read.reset(token)


def is_safe_read(request: HttpRequest) -> bool:
    """Return whether the request reads from the API and carries nothing that signs anybody in."""
    is_signed = settings.SESSION_COOKIE_NAME in request.COOKIES or "Authorization" in request.headers
    return request.method in {"GET", "HEAD"} and is_api_request(request) and not is_signed
