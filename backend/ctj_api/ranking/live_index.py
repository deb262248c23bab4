"""The indexes of ``matching.py`` in the memory of this process, brought up to date before each use.

An index remembers the snapshot that it was read in, and reads again what was changed by transactions that this snapshot
does not show. One cheap query tells which rows these are, and it is right whatever other transactions, threads and
processes do. ``docs/decisions/0018-matching-index.md`` says why.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

import orjson
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from ctj_api.matching import Candidate, Coverage, IndexRanking, Levels, OpportunityIndex, Selection, VolunteerIndex
from ctj_api.models import Opportunity, UserProfile

from .row_changes import Kind, changes_since

ROWS_AT_ONCE = 5_000


class LiveIndex[I: OpportunityIndex[UUID] | VolunteerIndex[UUID]]:
    """An index of the rows of a queryset, shared by the threads of this process."""

    def __init__(self, kind: Kind, matrix: str, make: Callable[[], I], rows: Callable[[], QuerySet[Any]]) -> None:
        """Take the kind of changes that concern it, the rows' field with the matrix, an empty index, and the rows."""
        self._kind = kind
        self._matrix = matrix
        self._make = make
        self._rows = rows
        self._lock = Lock()
        self._index = make()
        self._snapshot: str | None = None
        self._history = ""
        self._unsettled: list[UUID] = []

    def read[T](self, ask: Callable[[I], T]) -> T:
        """Return what ``ask`` finds in the index, which then knows all that this connection sees in the database."""
        with self._lock:
            self._refresh()
            return ask(self._index)

    def _refresh(self) -> None:
        changes = changes_since(self._snapshot, self._kind)
        if changes.history != self._history:
            self._snapshot = None
        changed = {*changes.changed, *self._unsettled}
        if changes.history != self._history or self._index.is_sparse or len(changed) > ROWS_AT_ONCE:
            self._index = self._built()
        elif changed:
            rows = list(_candidates(self._values().filter(pk__in=changed)))
            self._index.remove(changed)
            self._index.put(rows)
        self._snapshot = changes.snapshot or self._snapshot
        self._history = changes.history if self._snapshot else ""
        self._unsettled = changes.unsettled if changes.snapshot else list(changed.union(changes.unsettled))

    def _built(self) -> I:
        index = self._make()
        index.put(_candidates(self._values().iterator(ROWS_AT_ONCE)))
        return index

    def _values(self) -> QuerySet[Any, tuple[UUID, str, datetime]]:
        levels = Cast(f"{self._matrix}__levels", TextField())
        return self._rows().using(DEFAULT_DB_ALIAS).order_by().values_list("pk", levels, "created_at")


def _candidates(values: Iterable[tuple[UUID, str, datetime]]) -> Iterator[Candidate[UUID]]:
    return (Candidate(pk, orjson.loads(levels), created_at.timestamp()) for pk, levels, created_at in values)


_open_opportunities = LiveIndex(
    Kind.OPPORTUNITY, "skills_required_matrix", OpportunityIndex[UUID], Opportunity.objects.open
)
_volunteers = LiveIndex(Kind.VOLUNTEER, "skills_learned_matrix", VolunteerIndex[UUID], UserProfile.objects.volunteers)


def make_indexes() -> None:
    """Make both indexes, where they are not made yet, so that no request has to wait for that."""
    for index in (_open_opportunities, _volunteers):
        index.read(len)


def rank_open_opportunities(learned: Levels, selection: Selection[UUID]) -> IndexRanking[UUID]:
    """Return the ids of the open opportunities that overlap with what a volunteer has, best first."""
    return _open_opportunities.read(lambda index: index.rank(learned, selection))


def rank_volunteers(required: Levels, selection: Selection[UUID]) -> IndexRanking[UUID]:
    """Return the ids of the volunteers who overlap with what an opportunity requires, best first."""
    return _volunteers.read(lambda index: index.rank(required, selection))


def count_volunteers[Key](requirements: Mapping[Key, Levels]) -> dict[Key, Coverage]:
    """Return for each of many requirements how many volunteers overlap with it, and how many meet all of it."""
    return _volunteers.read(lambda index: {key: index.coverage(required) for key, required in requirements.items()})
