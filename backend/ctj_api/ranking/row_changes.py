"""Which rows were changed since a snapshot: triggers note their last transactions (migration 0006)."""

from itertools import count
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Model
from psycopg.sql import SQL, Identifier, Literal

# A standby that is promoted gives the numbers of lost transactions a second time, as does a server after a crash. The
# former is on another timeline, which the checkpoint tells later than the recovery; the latter's statistics are new.
LINEAGE = SQL("""
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    (SELECT stats_reset FROM pg_stat_bgwriter),
    (SELECT system_identifier FROM pg_control_system()),
    (SELECT greatest(timeline_id, min_recovery_end_timeline) FROM pg_control_checkpoint(), pg_control_recovery())
""")
# Rows may have changed without a note where a table was emptied, restored or rewritten: its file is another then.
TABLES = ("opportunity", "userprofile", "skillmatrix", "skill", "project", "role", "communityofpractice")
FILES = SQL("(SELECT string_agg(pg_relation_filenode(name)::text, ' ') FROM unnest({}::regclass[]) AS name)").format(
    Literal(["ctj_change", *(f"ctj_api_{table}" for table in TABLES)])
)
# Transactions become visible in another order than that of their numbers: only snapshots tell.
# A restored table may name transactions that are yet to come: the upper limit leaves them out.
CHANGES = SQL("""
    SELECT
        CASE WHEN pg_current_xact_id_if_assigned() IS NULL THEN pg_current_snapshot() END::text,
        concat_ws(' ', {}, pg_postmaster_start_time(), {}),
        ARRAY(
            SELECT owner FROM ctj_change
            WHERE kind = %(kind)s
                AND changed_by >= pg_snapshot_xmin(%(snapshot)s)
                AND changed_by <= greatest(pg_snapshot_xmax(pg_current_snapshot()), pg_current_xact_id_if_assigned())
                AND NOT pg_visible_in_snapshot(changed_by, %(snapshot)s)
        )
""").format(LINEAGE, FILES)
# Which transaction wrote a row, and its place, change with each change. A sum doesn't depend on the order.
ROWS = SQL("(SELECT sum(hashtextextended(concat_ws(' ', id, xmin, ctid), 0)) FROM {})")


class Changes(NamedTuple):
    """The rows that have changed since a snapshot, and the snapshot to ask by the next time."""

    # None in a transaction that writes: it sees what is not committed yet.
    snapshot: str | None
    # Another one where rows may have changed without a note: a server started anew, or a rewritten table.
    history: str
    changed: list[UUID]


def changes_since(snapshot: str | None, kind: str) -> Changes:
    """Return the changes, of a kind (migration 0006), that ``snapshot`` doesn't show, own ones included."""
    with connection.cursor() as cursor:
        cursor.execute(CHANGES.as_string(), {"kind": kind, "snapshot": snapshot})
        return Changes(*cursor.fetchone())


class ListingVersion:
    """The number of the changes of listings that this process has seen; its threads share it."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._last = ("", Changes(None, "", []))

    def read(self) -> str | None:
        """Return another text after each change of a listing; ``None`` in a transaction that writes."""
        version, seen = self._last
        changes = changes_since(seen.snapshot, "listing")
        if changes.snapshot and (changes.changed or changes.history != seen.history):
            version = str(next(self._numbers))
            self._last = version, changes._replace(changed=[])
        return version if changes.snapshot else None


LISTING_VERSION = ListingVersion()


def rows_version(*tables: type[Model]) -> str:
    """Return what is another text after every change of these small tables."""
    sums = SQL(", ").join(ROWS.format(Identifier(table._meta.db_table)) for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(SQL("SELECT concat_ws(' ', {}, {})").format(LINEAGE, sums).as_string())
        return str(cursor.fetchone()[0])
