"""The indexes of ``matching.py`` in this process, made current before each use (docs/decisions/0018-*.md)."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

import orjson
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from prometheus_client import Summary

from ctj_api.matching import Coverage, Levels, OpportunityIndex, VolunteerIndex
from ctj_api.models import Opportunity, UserProfile

from .row_changes import Changes, changes_since

ROWS_AT_ONCE = 5_000
REBUILD_SECONDS = Summary("ctj_index_rebuild_seconds", "How long it took to read all rows of an index.", ("index",))


class LiveIndex[I: OpportunityIndex[UUID] | VolunteerIndex[UUID]]:
    """An index of the rows of a queryset, shared by the threads of this process."""

    def __init__(self, kind: str, matrix: str, make: Callable[[], I], rows: Callable[[], QuerySet[Any]]) -> None:
        """Take the kind of changes that concern it, the field with the matrix, how to make an index, and the rows."""
        self._kind = kind
        self._rebuild_seconds = REBUILD_SECONDS.labels(kind)
        self._matrix = matrix
        self._make = make
        self._rows = rows
        self._in_use = Lock()
        self._being_built = Lock()
        self._index = make()
        self._snapshot: str | None = None
        self._history = ""
        self._uncommitted: set[UUID] = set()

    def read[T](self, ask: Callable[[I], T]) -> T:
        """Return what ``ask`` finds in the index, once it knows all that this connection sees in the database.

        While one thread builds the index anew, those that see nothing new ask the old one, and the others wait.
        """
        while True:
            with self._in_use:
                changes = self._catch_up()
                if changes is None:
                    return ask(self._index)
                is_builder = self._being_built.acquire(blocking=False)
            if is_builder:
                try:
                    return self._build(changes, ask)
                finally:
                    self._being_built.release()
            with self._being_built:
                continue

    def _catch_up(self) -> Changes | None:
        """Read the rows that have changed, or return the changes where all rows have to be read."""
        changes = changes_since(self._snapshot, self._kind)
        changed = self._uncommitted.union(changes.changed)
        if changes.history != self._history or len(changed) > ROWS_AT_ONCE:
            return changes
        if changed:
            rows = list(self._values().filter(pk__in=changed))
            self._index.remove(changed)
            self._put(rows, self._index)
        self._snapshot = changes.snapshot or self._snapshot
        self._uncommitted = set() if changes.snapshot else changed
        return None

    def _build[T](self, changes: Changes, ask: Callable[[I], T]) -> T:
        """Ask a new index, and keep it unless it may show what this transaction has yet to commit."""
        index = self._make()
        with self._rebuild_seconds.time():
            self._put(self._values().iterator(ROWS_AT_ONCE), index)
        with self._in_use:
            if changes.snapshot:
                self._index, self._snapshot, self._history = index, changes.snapshot, changes.history
                self._uncommitted = set()
            return ask(index)

    def _values(self) -> QuerySet[Any, tuple[UUID, str, datetime]]:
        levels = Cast(f"{self._matrix}__levels", TextField())
        return self._rows().using(DEFAULT_DB_ALIAS).order_by().values_list("pk", levels, "created_at")

    def _put(self, values: Iterable[tuple[UUID, str, datetime]], index: I) -> None:
        for pk, levels, created_at in values:
            index.put(pk, orjson.loads(levels), created_at.timestamp())


OPEN_OPPORTUNITIES = LiveIndex(
    "opportunity", "skills_required_matrix", OpportunityIndex[UUID], Opportunity.objects.open
)
VOLUNTEERS = LiveIndex("volunteer", "skills_learned_matrix", VolunteerIndex[UUID], UserProfile.objects.volunteers)


def make_indexes() -> None:
    """Make both indexes, where they are not made yet, so that no request has to wait for that."""
    for index in (OPEN_OPPORTUNITIES, VOLUNTEERS):
        index.read(len)


def count_volunteers[Key](requirements: Mapping[Key, Levels]) -> dict[Key, Coverage]:
    """Return for each of many requirements how many volunteers overlap with it, and how many meet all of it."""
    distinct = {frozenset(required.items()): required for required in requirements.values()}
    counts = VOLUNTEERS.read(lambda index: {key: index.coverage(required) for key, required in distinct.items()})
    return {key: counts[frozenset(required.items())] for key, required in requirements.items()}
