"""When synchronisations with PeopleDepot ended, for Prometheus: they run in a process that nobody scrapes."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

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
        ended: dict[str, datetime] = {}
        if is_kept_elsewhere():
            with suppress(Error), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = '2s'")
                ended = dict(SyncRun.objects.order_by().values_list("outcome").annotate(Max("ended_at")))
        for outcome in SyncOutcome.values:
            family.add_metric((outcome,), ended[outcome].timestamp() if outcome in ended else 0)
        yield family
