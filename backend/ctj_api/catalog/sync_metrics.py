"""When synchronisations with PeopleDepot ended, for Prometheus: they run in a process that nobody scrapes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from django.db import Error, connection
from django.db.models import Max
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ctj_api.enums import SyncOutcome
from ctj_api.models import SyncRun

from .source import is_kept_elsewhere

READ_SECONDS = 2


class SyncCollector(Collector):
    """Reads the records of runs at each scrape; a database that doesn't answer soon costs these figures only."""

    def __init__(self) -> None:
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="sync-metrics")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield a time for each outcome: zero where there was none, or where the catalogs are our own."""
        ended: dict[str, float] = {}
        if is_kept_elsewhere():
            asked = self._reader.submit(_last_ends)
            with suppress(TimeoutError, Error):
                ended = asked.result(READ_SECONDS)
            asked.cancel()
        about = "When a synchronisation with PeopleDepot last ended so."
        family = GaugeMetricFamily("ctj_sync_ended_timestamp_seconds", about, labels=("outcome",))
        for outcome in SyncOutcome.values:
            family.add_metric((outcome,), ended.get(outcome, 0))
        yield family


def _last_ends() -> dict[str, float]:
    try:
        last = SyncRun.objects.order_by().values_list("outcome").annotate(Max("ended_at"))
        return {outcome: ended_at.timestamp() for outcome, ended_at in last}
    finally:
        connection.close()
