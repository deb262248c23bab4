"""Which rows were changed since a snapshot: triggers note their last transactions (migration 0006)."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.sql import SQL

from ctj_api.querysets import LINEAGE

# Rows may have changed without a note where one of these was emptied, restored or rewritten: its file is another then.
TABLES = [
    "ctj_change",
    *(f"ctj_api_{name}" for name in ("opportunity", "userprofile", "skillmatrix", "skill", "project", "role")),
]
# Transactions become visible in another order than that of their numbers: only snapshots tell.
# A restored table may name transactions that are yet to come: the upper limit leaves them out.
CHANGES = SQL("""
    SELECT
        CASE WHEN pg_current_xact_id_if_assigned() IS NULL THEN pg_current_snapshot() END::text,
        concat_ws(
            ' ', {}, pg_postmaster_start_time(),
            (SELECT string_agg(pg_relation_filenode(name)::text, ' ') FROM unnest(%(tables)s::regclass[]) AS name)
        ),
        ARRAY(
            SELECT owner FROM ctj_change
            WHERE kind = %(kind)s
                AND changed_by >= pg_snapshot_xmin(%(snapshot)s)
                AND changed_by <= greatest(pg_snapshot_xmax(pg_current_snapshot()), pg_current_xact_id_if_assigned())
                AND NOT pg_visible_in_snapshot(changed_by, %(snapshot)s)
        )
""").format(LINEAGE)
# The last of the transactions that all snapshots show from now on, and those of the others that this one shows.
VERSION = SQL("""
    SELECT concat_ws(
        ' ', {},
        (SELECT string_agg(pg_relation_filenode(name)::text, ' ') FROM unnest(%(tables)s::regclass[]) AS name),
        (
            SELECT max(changed_by) FROM ctj_change
            WHERE kind = %(kind)s AND changed_by < pg_snapshot_xmin(pg_current_snapshot())
        ),
        ARRAY(
            SELECT concat(changed_by, ':', count(*)) FROM ctj_change
            WHERE kind = %(kind)s
                AND changed_by >= pg_snapshot_xmin(pg_current_snapshot())
                AND changed_by < pg_snapshot_xmax(pg_current_snapshot())
            GROUP BY changed_by ORDER BY changed_by
        )
    )
    WHERE pg_current_xact_id_if_assigned() IS NULL
""").format(LINEAGE)


class Kind(StrEnum):
    """What has changed: where an opportunity or a volunteer is ranked, or what anybody is told of a listing."""

    OPPORTUNITY = "opportunity"
    VOLUNTEER = "volunteer"
    LISTING = "listing"


class Changes(NamedTuple):
    """The rows that have changed since a snapshot, and the snapshot to ask by the next time."""

    # None in a transaction that writes: it sees what is not committed yet.
    snapshot: str | None
    # Another one where rows may have changed without a note: a server started anew, or a rewritten table.
    history: str
    changed: list[UUID]


def changes_since(snapshot: str | None, kind: Kind) -> Changes:
    """Return the changes that ``snapshot`` does not show, those of the own transaction among them."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(CHANGES.as_string(), {"kind": kind, "snapshot": snapshot, "tables": TABLES})
        return Changes(*cursor.fetchone())


def version_of(kind: Kind, alias: str) -> str | None:
    """Return what is another text after every change; ``None`` within a transaction that writes."""
    with connections[alias].cursor() as cursor:
        cursor.execute(VERSION.as_string(), {"kind": kind, "tables": TABLES})
        row = cursor.fetchone()
    return row[0] if row else None
