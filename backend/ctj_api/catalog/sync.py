"""Brings the catalogs up to PeopleDepot's: fetches its lists, plans, and writes in one transaction or not at all."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import F, Func, TextField
from django.db.models.functions import Cast
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from ctj_api.clients.peopledepot import NamedRow, PeopleDepotClient, PeopleDepotError, ProjectRow
from ctj_api.enums import Source, SyncOutcome
from ctj_api.models import CommunityOfPractice, Project, Role, Skill, SyncRun

from .adoption import change_ids
from .loading import lower_name
from .plan import ROLE, CatalogPlan, Ours, Texts, Theirs, plan_catalog, plan_communities

# Any number will do, but for those of other locks.
SYNC_LOCK = 6_000_017
KEPT_RUNS = 500
LOCK_TRIES, LOCK_PAUSE_SECONDS = 300, 0.1
# One that was killed holds its locks until PostgreSQL looks whether it is there.
LIMITS = "SET LOCAL client_connection_check_interval = '2s'"
# Others read meanwhile.
LOCK = "LOCK TABLE ctj_api_skill, ctj_api_role, ctj_api_project {} IN EXCLUSIVE MODE NOWAIT"
REFERRING = ", ctj_api_skillmatrix, ctj_api_opportunity"


class AnotherRunError(Exception):
    """A synchronisation is on already."""


@dataclass(frozen=True)
class Catalog:
    """One of the catalogs that are kept in step: its model, the field with the name, and what reads theirs."""

    model: Any
    column: str
    read: Callable[[PeopleDepotClient], Sequence[NamedRow]]

    def ours(self) -> list[Ours]:
        """Return our rows."""
        return [
            Ours(
                row.pk,
                getattr(row, self.column),
                is_synced=row.source == Source.PEOPLE_DEPOT,
                is_retired=row.retired_at is not None,
                waits=getattr(row, "community_of_practice_id", row) is None,
            )
            for row in self.model.objects.all()
        ]


CATALOGS = {
    "Skill": Catalog(Skill, "name", PeopleDepotClient.skills),
    ROLE: Catalog(Role, "title", PeopleDepotClient.modern_job_titles),
    "Project": Catalog(Project, "name", PeopleDepotClient.projects),
}


@dataclass(frozen=True)
class Lists:
    """All that PeopleDepot has at a time."""

    rows: dict[str, list[Theirs]]
    practice_areas: list[tuple[UUID, str]]


@dataclass(frozen=True)
class Plan:
    """The changes of all catalogs and communities."""

    catalogs: dict[str, CatalogPlan]
    communities: dict[str, UUID]
    texts: Texts

    @property
    def taken_away(self) -> int:
        """How many rows are retired or renamed."""
        return sum(plan.taken_away for plan in self.catalogs.values())

    def refusal(self, allowed: int | None) -> str:
        """Return why nothing is written, with the figures; ``allowed`` takes a plan that takes away just so many."""
        if allowed is not None:
            is_that_plan = allowed == self.taken_away
            return "" if is_that_plan else f"Not {allowed} but {self.taken_away} rows would be retired or renamed."
        objections = [plan.objection(settings.PEOPLEDEPOT_MAX_RETIRED_PERCENT) for plan in self.catalogs.values()]
        reason = "; ".join(filter(None, objections))
        return reason and f"{reason}. If that is right: --allow-retire {self.taken_away}"


def synchronise(*, adopts: bool = False, is_dry: bool = False, allowed: int | None = None) -> SyncRun:
    """Return what was done, and keep a record of it but for a dry run; raises ``AnotherRunError`` beside another."""
    run = SyncRun(started_at=timezone.now(), is_adoption=adopts)
    with _alone():
        try:
            _run(run, _fetch(PeopleDepotClient()), is_dry=is_dry, allowed=allowed)
        except (PeopleDepotError, DatabaseError) as error:
            run.outcome, run.reason = SyncOutcome.FAILED, str(error)
        run.ended_at = timezone.now()
        if not is_dry:
            _record(run)
    return run


@transaction.atomic
def _run(run: SyncRun, lists: Lists, *, is_dry: bool, allowed: int | None) -> None:
    if not is_dry:
        _lock_tables(with_referring=run.is_adoption)
    plan = make_plan(lists, adopts=run.is_adoption)
    run.plan = plan.texts
    run.reason = plan.refusal(allowed)
    run.outcome = SyncOutcome.CONFLICTS if "conflicts" in plan.texts else SyncOutcome.DONE
    if run.reason:
        run.outcome = SyncOutcome.REFUSED
    elif not is_dry:
        _write(plan, run.started_at)


def make_plan(lists: Lists, *, adopts: bool) -> Plan:
    """Return what is to be done, so that our rows are as in these lists."""
    ids = dict(CommunityOfPractice.objects.values_list("practice_area", "people_depot_id"))
    communities, texts = plan_communities(ids, lists.practice_areas)
    plans = {
        noun: plan_catalog(noun, catalog.ours(), lists.rows[noun], adopts=adopts) for noun, catalog in CATALOGS.items()
    }
    every_text = defaultdict(list, texts)
    for plan in plans.values():
        for kind, lines in plan.texts.items():
            every_text[kind] += lines
    return Plan(plans, communities, {kind: sorted(lines) for kind, lines in sorted(every_text.items()) if lines})


def _fetch(client: PeopleDepotClient) -> Lists:
    rows = {
        noun: [Theirs(row.uuid, row.name, _why_gone(row)) for row in catalog.read(client)]
        for noun, catalog in CATALOGS.items()
    }
    return Lists(rows, [(row.uuid, row.name) for row in client.practice_areas()])


def _why_gone(row: NamedRow) -> str:
    if isinstance(row, ProjectRow) and row.completed_on:
        return f"completed on {row.completed_on}"
    return "hidden" if isinstance(row, ProjectRow) and row.hide else ""


def _write(plan: Plan, now: datetime) -> None:
    for practice_area in plan.communities:
        CommunityOfPractice.objects.filter(practice_area=practice_area).update(people_depot_id=None)
    for practice_area, id_ in plan.communities.items():
        CommunityOfPractice.objects.filter(practice_area=practice_area).update(people_depot_id=id_)
    ids = {CATALOGS[noun].model: changes.adopted for noun, changes in plan.catalogs.items()}
    moved = {model: {old: new for old, new in pairs.items() if old != new} for model, pairs in ids.items()}
    if any(moved.values()):
        change_ids(moved)
    for noun, changes in plan.catalogs.items():
        _write_rows(CATALOGS[noun], changes, now)


def _write_rows(catalog: Catalog, changes: CatalogPlan, now: datetime) -> None:
    model, column = catalog.model, catalog.column
    adopted = model.objects.filter(pk__in=changes.adopted.values())
    adopted.update(source=Source.PEOPLE_DEPOT, seen_at=now)
    _make_way(catalog, changes)
    rows = model.objects.in_bulk({*changes.renamed, *changes.retired, *changes.returned}).values()
    for row in rows:
        setattr(row, column, changes.renamed.get(row.pk, getattr(row, column)))
        row.retired_at = now if row.pk in changes.retired else None
        row.seen_at = row.updated_at = now
    model.objects.bulk_update(rows, [column, "retired_at", "seen_at", "updated_at"])
    added = {"source": Source.PEOPLE_DEPOT, "seen_at": now}
    model.objects.bulk_create(model(pk=pk, **{column: name}, **added) for pk, name in changes.added.items())
    if model is Project:
        _refer_to_themselves([*changes.adopted.values(), *changes.added])


def _make_way(catalog: Catalog, changes: CatalogPlan) -> None:
    """Give rows whose names go to others names that nobody has: the database compares row by row."""
    wanted = {lower_name(name) for name in (*changes.renamed.values(), *changes.added.values())}
    leaving = [id_ for id_ in changes.renamed if lower_name(changes.ours[id_].name) in wanted]
    nobodys = Cast(Func(function="gen_random_uuid"), TextField())
    catalog.model.objects.filter(pk__in=leaving).update(**{catalog.column: nobodys})


def _refer_to_themselves(ids: list[UUID]) -> None:
    """Have projects of PeopleDepot name their own id where Stage 1 named theirs, and no other project name it."""
    Project.objects.filter(people_depot_project_id__in=ids).update(people_depot_project_id=None)
    Project.objects.filter(pk__in=ids).update(people_depot_project_id=F("pk"))


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock of synchronisations, or raise ``AnotherRunError``."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [SYNC_LOCK])
        if not cursor.fetchone()[0]:
            raise AnotherRunError("Another synchronisation is on.")
    try:
        yield
    finally:
        if connection.connection is not None and not connection.connection.broken:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [SYNC_LOCK])


def _lock_tables(*, with_referring: bool) -> None:
    """Lock all tables or none: who waits for some while holding others may be waited for."""
    statement = LOCK.format(REFERRING if with_referring else "")
    for tries_left in reversed(range(LOCK_TRIES)):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
                return
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable) or not tries_left:
                raise
        time.sleep(LOCK_PAUSE_SECONDS)


def _record(run: SyncRun) -> None:
    run.save()
    kept = SyncRun.objects.order_by("-started_at").values("pk")[:KEPT_RUNS]
    SyncRun.objects.exclude(pk__in=kept).delete()
