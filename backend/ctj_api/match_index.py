"""The indexes of ``matching.py`` in the memory of this process, brought up to date before each use.

The table ``ctj_match_change`` tells which transaction last changed what an index keeps of a row; triggers write it
(migration 0006). An index remembers the snapshot that it was read in, and reads again what was changed by transactions
that this snapshot does not show. One cheap query tells which rows these are, and it is right whatever other
transactions, threads and processes do. ``docs/decisions/0018-matching-index.md`` says why.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import batched
from threading import Lock
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from .matching import Candidate, Coverage, IndexRanking, Levels, OpportunityIndex, Selection, VolunteerIndex
from .models import Opportunity, UserProfile

ROWS_AT_ONCE = 5_000
# A restored table may name transactions that are yet to come: the upper limit leaves them out.
CHANGES = """
    SELECT
        CASE WHEN pg_current_xact_id_if_assigned() IS NULL THEN pg_current_snapshot() END::text,
        concat_ws(
            ' ', pg_postmaster_start_time(), pg_relation_filenode('ctj_match_change'),
            pg_relation_filenode('ctj_api_opportunity'), pg_relation_filenode('ctj_api_userprofile'),
            pg_relation_filenode('ctj_api_skillmatrix')
        ),
        ARRAY(
            SELECT owner FROM ctj_match_change
            WHERE kind = %(kind)s
                AND changed_by >= pg_snapshot_xmin(%(snapshot)s)
                AND changed_by <= greatest(pg_snapshot_xmax(pg_current_snapshot()), pg_current_xact_id_if_assigned())
                AND NOT pg_visible_in_snapshot(changed_by, %(snapshot)s)
        ),
        ARRAY(
            SELECT owner FROM ctj_match_change WHERE kind = %(kind)s AND changed_by = pg_current_xact_id_if_assigned()
        )
"""


class Changes(NamedTuple):
    """What the database says of the time since a snapshot.

    There is no new snapshot within a transaction that writes, since it would show what is not committed yet.
    ``history`` is another one when rows may have changed without a trace: the server was started anew, or a table was
    emptied, restored or rewritten. ``unsettled`` are the rows that the own transaction has changed, which may yet be
    rolled back.
    """

    snapshot: str | None
    history: str
    changed: list[UUID]
    unsettled: list[UUID]


class LiveIndex[I: OpportunityIndex[UUID] | VolunteerIndex[UUID]]:
    """An index of the rows of a queryset, shared by the threads of this process."""

    def __init__(self, kind: str, matrix: str, make: Callable[[], I], rows: Callable[[], QuerySet[Any]]) -> None:
        """Take what the triggers call the rows, the name of their matrix field, an empty index, and the rows."""
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
        changes = self._changes()
        changed = {*changes.changed, *self._unsettled}
        if changes.history != self._history or self._index.is_sparse or len(changed) > ROWS_AT_ONCE:
            self._index = self._built()
        elif changed:
            rows = _candidates(self._values().filter(pk__in=changed))
            self._index.remove(changed)
            self._index.put(rows)
        self._snapshot = changes.snapshot or self._snapshot
        self._history = changes.history if self._snapshot else ""
        self._unsettled = changes.unsettled

    def _changes(self) -> Changes:
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute(CHANGES, {"kind": self._kind, "snapshot": self._snapshot})
            return Changes(*cursor.fetchone())

    def _built(self) -> I:
        index = self._make()
        for values in batched(self._values().iterator(ROWS_AT_ONCE), ROWS_AT_ONCE):
            index.put(_candidates(values))
        return index

    def _values(self) -> QuerySet[Any, tuple[UUID, str, datetime]]:
        levels = Cast(f"{self._matrix}__levels", TextField())
        return self._rows().using(DEFAULT_DB_ALIAS).order_by().values_list("pk", levels, "created_at")


def _candidates(values: Iterable[tuple[UUID, str, datetime]]) -> list[Candidate[UUID]]:
    return [Candidate(pk, orjson.loads(levels), created_at.timestamp()) for pk, levels, created_at in values]


_open_opportunities = LiveIndex(
    "opportunity", "skills_required_matrix", OpportunityIndex[UUID], Opportunity.objects.open
)
_volunteers = LiveIndex("volunteer", "skills_learned_matrix", VolunteerIndex[UUID], UserProfile.objects.volunteers)


def rank_open_opportunities(learned: Levels, selection: Selection[UUID]) -> IndexRanking[UUID]:
    """Return the ids of the open opportunities that overlap with what a volunteer has, best first."""
    return _open_opportunities.read(lambda index: index.rank(learned, selection))


def rank_volunteers(required: Levels, selection: Selection[UUID]) -> IndexRanking[UUID]:
    """Return the ids of the volunteers who overlap with what an opportunity requires, best first."""
    return _volunteers.read(lambda index: index.rank(required, selection))


def count_volunteers[Key](requirements: Mapping[Key, Levels]) -> dict[Key, Coverage]:
    """Return for each of many requirements how many volunteers overlap with it, and how many meet all of it."""
    return _volunteers.read(lambda index: {key: index.coverage(required) for key, required in requirements.items()})
