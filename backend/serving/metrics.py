"""What Prometheus reads at ``/metrics/``: the sums of all processes, kept in a folder of Gunicorn's."""

import os
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPMethod
from pathlib import Path

from django.conf import settings
from django.utils.module_loading import import_string
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
METHODS = {method.value for method in HTTPMethod}

REQUESTS = Counter("ctj_requests", "Answered requests of users.", ("method", "route", "status"))
DURATION = Histogram(
    "ctj_request_duration_seconds",
    "How long answers took, the wait for a thread included.",
    ("method", "route"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
MACHINE_REQUESTS = Counter("ctj_machine_requests", "Answered health checks and scrapes.", ("route", "status"))
IN_PROGRESS = Gauge("ctj_requests_in_progress", "Users' requests that a thread is at.", multiprocess_mode="livesum")
WAITING = Gauge("ctj_requests_waiting", "Requests that wait for a thread.", multiprocess_mode="livesum")
THREADS = Gauge("ctj_request_threads", "How many requests can be answered at once.", multiprocess_mode="livesum")
OVERLOADED = Counter("ctj_overloaded", "Requests refused because no thread became free in time.")
QUERIES = Counter("ctj_database_queries", "Queries of requests.")
QUERY_SECONDS = Counter("ctj_database_query_seconds", "How long the queries of requests took.")
SLOW_QUERIES = Counter("ctj_slow_queries", "Queries of requests that took longer than SLOW_QUERY_MS.")
DATABASE_ERRORS = Counter("ctj_database_errors", "Queries of requests that failed.", ("kind", "cause"))
Counter("ctj_process_starts", "Server processes that were started, those that died included.").inc()
INFO = Gauge("ctj_build_info", "Which version runs.", ("version",), multiprocess_mode="livemax")
INFO.labels(settings.RELEASE).set(1)
# Series that alerts ask for begin at zero, else their first growth would go unseen.
MACHINE_REQUESTS.labels("healthcheck", 503)
for _kind in ("InterfaceError", "InternalError", "OperationalError"):
    DATABASE_ERRORS.labels(_kind, _kind)


class ProcessesCollector(Collector):
    """Sums what Linux knows of all server processes; the collector of prometheus_client knows one."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read it now, leaving out a process that has just ended; without Gunicorn there is this one only."""
        pids = {"self"}
        if folder := os.environ.get(FOLDER):
            pids = {file.stem.rpartition("_")[2] for file in Path(folder).glob("gauge_livesum_*.db")}
        processes = memory = files = 0
        for pid in pids:
            with suppress(OSError):
                memory += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
                processes += 1
        yield GaugeMetricFamily("ctj_processes", "Server processes that run.", processes)
        yield GaugeMetricFamily("ctj_memory_bytes", "Resident memory of the server processes.", memory)
        yield GaugeMetricFamily("ctj_open_files", "Files and sockets that the server processes have open.", files)


def observe(method: str, route: str, status: int, seconds: float, queries: int, query_seconds: float) -> None:
    """Count an answered request; methods that nobody knows are one."""
    known = method if method in METHODS else "OTHER"
    REQUESTS.labels(known, route, status).inc()
    DURATION.labels(known, route).observe(seconds)
    QUERIES.inc(queries)
    QUERY_SECONDS.inc(query_seconds)


def exposition() -> tuple[bytes, str]:
    """Return all metrics, of all processes, and the content type that goes with them."""
    counted, read_now = REGISTRY, CollectorRegistry()
    if os.environ.get(FOLDER):
        counted = CollectorRegistry()
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    for path in settings.METRICS_COLLECTORS:
        read_now.register(import_string(path)())
    return generate_latest(counted) + generate_latest(read_now), CONTENT_TYPE_LATEST
