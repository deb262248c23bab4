"""How Gunicorn starts and watches the server processes; ``WEB_CONCURRENCY`` says how many, which it reads itself."""

import os
import shutil
import tempfile
import time
from typing import Any

from backend.environment import BASE_DIR, env
from serving.logs import logging_settings

_host = env.str("HOST", "") or "127.0.0.1"
_port = env.str("PORT", "") or "8000"
_is_development = env.bool("DJANGO_DEBUG", False)

bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"
worker_class = "serving.worker.DaphneWorker"
# A full temporary folder does not keep processes from starting. Their files here are never written to.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # nosec B108
# Requests under way have so long to finish when a process is told to stop.
graceful_timeout = 8
# A process whose event loop gives no sign of life for so long is replaced.
timeout = 30
control_socket_disable = True
# In development the processes are replaced when a file changes.
reload = _is_development
reload_engine = "poll"
reload_extra_files = [f"{BASE_DIR}/{package}/**/*.[hpsy]*" for package in ("backend", "ctj_api", "serving")]
_form = env.str("LOG_FORMAT", "") or ("console" if _is_development else "json")
logconfig_dict = logging_settings(_form, env.str("LOG_LEVEL", "") or "INFO")

# The folder in which the processes add up their metrics; prometheus_client reads its name when it is imported.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# A process that ends so soon has its successor start later, and the next one later still.
SOON_SECONDS = 10
LONGEST_PAUSE_SECONDS = 5


def on_starting(server: Any) -> None:
    """Make the folder of the metrics, this server's own also where another one hands its name down."""
    os.environ.pop(METRICS_FOLDER, None)
    try:
        os.environ[METRICS_FOLDER] = tempfile.mkdtemp(prefix="ctj-metrics-")
    except OSError as error:
        server.log.warning("Each process tells its own metrics, as their folder can't be made: %s", error)


def pre_fork(server: Any, worker: Any) -> None:
    """Pause before a process whose predecessor has ended soon."""
    worker.pause = getattr(server, "pause", 0)
    time.sleep(worker.pause)
    worker.began = time.monotonic()


def post_fork(_server: Any, _worker: Any) -> None:
    """Let a full disk cost metrics only."""
    from serving import metric_files  # noqa: PLC0415 (it reads the folder's name)

    metric_files.reserve_room()


def child_exit(server: Any, worker: Any) -> None:
    """Take the gauges of an ended process out; what it has counted stays."""
    from prometheus_client import multiprocess  # noqa: PLC0415 (only the processes load it before)

    if METRICS_FOLDER in os.environ:
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
    has_ended_soon = time.monotonic() - worker.began < SOON_SECONDS
    server.pause = min(2 * worker.pause + 0.1, LONGEST_PAUSE_SECONDS) if has_ended_soon else 0


def on_exit(_server: Any) -> None:
    """Remove the folder of the metrics."""
    shutil.rmtree(os.environ.get(METRICS_FOLDER, ""), ignore_errors=True)
