"""When synchronisations with PeopleDepot ended, for Prometheus: they run in a process that nobody scrapes."""

from collections.abc import Iterator
from contextlib import suppress

from django.db import Error, connection, transaction
from django.db.models import Max
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ctj_api.enums import SyncOutcome
from ctj_api.models import SyncRun

from .source import is_kept_elsewhere


class SyncCollector(Collector):
    """Reads the records of runs at each scrape; a database that doesn't answer soon costs these figures only."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield a time for each outcome: zero where there was none, or where the catalogs are our own."""
        about = "When a synchronisation with PeopleDepot last ended so."
        family = GaugeMetricFamily("ctj_sync_ended_timestamp_seconds", about, labels=("outcome",))
        ended: dict[str, float] = {}
        with suppress(Error):
            ended = _last_ends() if is_kept_elsewhere() else {}
        for outcome in SyncOutcome.values:
            family.add_metric((outcome,), ended.get(outcome, 0))
        yield family


@transaction.atomic
def _last_ends() -> dict[str, float]:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '2s'")
    last = SyncRun.objects.order_by().values_list("outcome").annotate(Max("ended_at"))
    return {outcome: ended_at.timestamp() for outcome, ended_at in last}
