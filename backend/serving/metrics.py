"""What Prometheus reads at ``/metrics/``: one answer for all processes that share the port.

The processes keep their numbers in the folder that Gunicorn's hooks make; a server without one has one process.
"""

import os
from http import HTTPMethod

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from backend import __version__

METHODS = {method.value for method in HTTPMethod}
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter("ctj_requests", "Answered requests.", ("method", "route", "status"))
DURATION = Histogram(
    "ctj_request_duration_seconds",
    "How long answers took, the wait for a thread included.",
    ("method", "route"),
    buckets=SECONDS,
)
IN_PROGRESS = Gauge("ctj_requests_in_progress", "Requests that a thread is at.", multiprocess_mode="livesum")
WAITING = Gauge("ctj_requests_waiting", "Requests that wait for a thread.", multiprocess_mode="livesum")
THREADS = Gauge("ctj_request_threads", "How many requests can be answered at once.", multiprocess_mode="livesum")
OVERLOADED = Counter("ctj_overloaded", "Requests refused because no thread became free in time.")
QUERIES = Counter("ctj_database_queries", "Queries of requests.")
QUERY_SECONDS = Counter("ctj_database_query_seconds", "How long the queries of requests took.")
SLOW_QUERIES = Counter("ctj_slow_queries", "Queries of requests that took longer than SLOW_QUERY_MS.")
DATABASE_ERRORS = Counter("ctj_database_errors", "Queries of requests that failed.", ("kind",))
INFO = Gauge("ctj_build_info", "Which version runs.", ("version",), multiprocess_mode="livemax")
INFO.labels(__version__).set(1)


def observe(method: str, route: str, status: int, seconds: float, queries: int, query_seconds: float) -> None:
    """Count an answered request; methods that nobody knows are one."""
    known = method if method in METHODS else "OTHER"
    REQUESTS.labels(known, route, status).inc()
    DURATION.labels(known, route).observe(seconds)
    QUERIES.inc(queries)
    QUERY_SECONDS.inc(query_seconds)


def exposition() -> tuple[bytes, str]:
    """Return all metrics, of all processes, and the content type that goes with them."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
