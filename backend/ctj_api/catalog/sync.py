"""Brings the catalogs up to PeopleDepot's: fetches its lists, plans, and writes in one transaction or not at all."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import stamina
from django.conf import settings
from django.db import DatabaseError, Error, OperationalError, connection, transaction
from django.db.models import F, Func, Max, TextField
from django.db.models.functions import Cast
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ctj_api.clients.peopledepot import NamedRow, PeopleDepotClient, PeopleDepotError, ProjectRow
from ctj_api.enums import Source, SyncOutcome
from ctj_api.models import CommunityOfPractice, Project, Role, Skill, SyncRun

from .plan import CatalogPlan, Row, Texts, plan_communities
from .source import is_kept_elsewhere

# Any number will do, but for those of other locks.
SYNC_LOCK = 6_000_017
KEPT_RUNS = 500
LOCK = Path(__file__).with_name("lock_catalogs.sql").read_text(encoding="utf-8")
CHANGE_IDS = Path(__file__).with_name("change_ids.sql").read_text(encoding="utf-8")
# For each catalog the field with the name, and what reads PeopleDepot's.
CATALOGS: dict[Any, tuple[str, Callable[[PeopleDepotClient], Sequence[NamedRow]]]] = {
    Skill: ("name", PeopleDepotClient.skills),
    Role: ("title", PeopleDepotClient.modern_job_titles),
    Project: ("name", PeopleDepotClient.projects),
}

type Lists = dict[Any, list[Row]]


class Plan:
    """The changes of all catalogs and communities, and all of them in words."""

    def __init__(self, lists: Lists, *, adopts: bool) -> None:
        texts: Texts = defaultdict(list)
        areas = dict(CommunityOfPractice.objects.values_list("practice_area", "people_depot_id"))
        self.communities = plan_communities(areas, lists[CommunityOfPractice], texts)
        self.catalogs = {
            model: CatalogPlan(model.__name__, map(_ours, model.objects.all()), lists[model], texts, adopts=adopts)
            for model in CATALOGS
        }
        self.texts = {kind: sorted(lines) for kind, lines in sorted(texts.items()) if lines}

    def refusal(self, allowed: int | None) -> str:
        """Return why nothing is to be written, with the figures; ``allowed`` is how many rows may go."""
        taken_away = sum(plan.taken_away for plan in self.catalogs.values())
        if allowed is not None:
            return "" if allowed == taken_away else f"Not {allowed} but {taken_away} rows would be retired or renamed."
        objections = [plan.objection(settings.PEOPLEDEPOT_MAX_RETIRED_PERCENT) for plan in self.catalogs.values()]
        reason = "; ".join(filter(None, objections))
        return reason and f"{reason}. If that is right: --allow-retire {taken_away}"


def synchronise(*, adopts: bool = False, is_dry: bool = False, allowed: int | None = None) -> SyncRun | None:
    """Return how the run went, recorded unless ``is_dry``; nothing is done while another one is on."""
    run = SyncRun(started_at=timezone.now(), is_adoption=adopts)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [SYNC_LOCK])
        if not cursor.fetchone()[0]:
            return None
        try:
            _run(run, _fetch(PeopleDepotClient()), is_dry=is_dry, allowed=allowed)
        except (PeopleDepotError, DatabaseError) as error:
            run.outcome, run.reason = SyncOutcome.FAILED, str(error)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [SYNC_LOCK])
    run.ended_at = timezone.now()
    if not is_dry:
        run.save()
        kept = SyncRun.objects.order_by("-started_at").values("pk")[:KEPT_RUNS]
        SyncRun.objects.exclude(pk__in=kept).delete()
    return run


@transaction.atomic
def _run(run: SyncRun, lists: Lists, *, is_dry: bool, allowed: int | None) -> None:
    if not is_dry:
        # All tables at once, or none, and again: a writer may hold one of them and wait for another.
        for attempt in stamina.retry_context(on=OperationalError, attempts=20, timeout=None):
            with attempt, transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(LOCK)
    plan = Plan(lists, adopts=run.is_adoption)
    run.plan = plan.texts
    run.reason = plan.refusal(allowed)
    run.outcome = SyncOutcome.CONFLICTS if "conflicts" in plan.texts else SyncOutcome.DONE
    if run.reason:
        run.outcome = SyncOutcome.REFUSED
    elif not is_dry:
        _write(plan, run.started_at)


def _fetch(client: PeopleDepotClient) -> Lists:
    lists = {model: [_theirs(row, model) for row in read(client)] for model, (_, read) in CATALOGS.items()}
    return lists | {CommunityOfPractice: [Row(row.uuid, row.name) for row in client.practice_areas()]}


def _theirs(row: NamedRow, model: Any) -> Row:
    gone = ""
    if isinstance(row, ProjectRow):
        gone = f"completed on {row.completed_on}" if row.completed_on else ("hidden" if row.hide else "")
    return Row(row.uuid, row.name, gone, waits=model is Role)


def _ours(row: Any) -> Row:
    waits = isinstance(row, Role) and row.community_of_practice_id is None
    gone = "retired" if row.retired_at else ""
    return Row(row.pk, str(row), gone, row.source == Source.PEOPLE_DEPOT, waits)


def _write(plan: Plan, now: datetime) -> None:
    communities = CommunityOfPractice.objects.filter(practice_area__in=plan.communities)
    communities.update(people_depot_id=None)  # theirs may be another one's
    for area, id_ in plan.communities.items():
        communities.filter(practice_area=area).update(people_depot_id=id_)
    moved = {
        model._meta.model_name: {str(old): str(new) for old, new in changes.adopted.items() if old != new}
        for model, changes in plan.catalogs.items()
    }
    if any(moved.values()):  # in foreign keys, matrices and the admin's history as well
        with connection.cursor() as cursor:
            cursor.execute(CHANGE_IDS, {"ids": json.dumps(moved)})
    for model, changes in plan.catalogs.items():
        _write_rows(model, changes, now)
    ids = [*plan.catalogs[Project].adopted.values(), *plan.catalogs[Project].added]
    Project.objects.filter(people_depot_project_id__in=ids).update(people_depot_project_id=None)
    Project.objects.filter(pk__in=ids).update(people_depot_project_id=F("pk"))


def _write_rows(model: Any, changes: CatalogPlan, now: datetime) -> None:
    column, _ = CATALOGS[model]
    synced = {"source": Source.PEOPLE_DEPOT, "seen_at": now}
    model.objects.filter(pk__in=changes.adopted.values()).update(**synced)
    rows = model.objects.in_bulk(list(changes.changed))
    renamed = [pk for pk, row in rows.items() if str(row) != changes.changed[pk].name]
    if len(renamed) > 1:  # names may be exchanged, and the database compares row by row
        nobodys = Cast(Func(function="gen_random_uuid"), TextField())
        model.objects.filter(pk__in=renamed).update(**{column: nobodys})
    for pk, row in rows.items():
        setattr(row, column, changes.changed[pk].name)
        row.retired_at = now if changes.changed[pk].gone else None
        row.seen_at = row.updated_at = now
    model.objects.bulk_update(rows.values(), [column, "retired_at", "seen_at", "updated_at"])
    model.objects.bulk_create(model(pk=pk, **{column: row.name}, **synced) for pk, row in changes.added.items())


class SyncCollector(Collector):
    """Tells Prometheus when runs ended; a database that doesn't answer soon costs these figures only."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield a time for each outcome: zero where there was none, or where the catalogs are our own."""
        about = "When a synchronisation with PeopleDepot last ended so."
        family = GaugeMetricFamily("ctj_sync_ended_timestamp_seconds", about, labels=("outcome",))
        ended: dict[str, datetime] = {}
        if is_kept_elsewhere():
            with suppress(Error), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = '2s'")
                ended = dict(SyncRun.objects.order_by().values_list("outcome").annotate(Max("ended_at")))
        for outcome in SyncOutcome.values:
            family.add_metric((outcome,), ended[outcome].timestamp() if outcome in ended else 0)
        yield family
