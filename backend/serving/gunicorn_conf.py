"""How Gunicorn starts and watches the server processes; ``WEB_CONCURRENCY`` says how many, which it reads itself."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from backend.environment import env
from serving.logs import logging_settings

_host = env.str("HOST", "") or "127.0.0.1"
_port = env.str("PORT", "") or "8000"

bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"
worker_class = "serving.worker.DaphneWorker"
# Requests under way have so long to finish when a process is told to stop.
graceful_timeout = 8
# A process whose event loop gives no sign of life for so long is replaced.
timeout = 30
control_socket_disable = True

logconfig_dict = logging_settings(
    env.str("LOG_FORMAT", "") or ("console" if env.bool("DJANGO_DEBUG", False) else "json"),
    env.str("LOG_LEVEL", "") or "INFO",
)

# Where the processes add up what /metrics/ says; prometheus_client looks for it when a process loads it.
_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "ctj-metrics-"


def on_starting(_server: Any) -> None:
    """Make the folder of the metrics, which is this server's own, also where another one starts it.

    Those that killed servers have left are removed.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        if _is_left(folder.name.removeprefix(_PREFIX).partition("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)
    os.environ[_METRICS] = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")


def _is_left(owner: str) -> bool:
    """Whether what is named after this process belongs to nobody; what is named after this server is not yet made."""
    if not owner.isdecimal():
        return False
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(owner) == os.getpid()


def child_exit(_server: Any, worker: Any) -> None:
    """Take the current numbers of an ended process out; what it has counted stays."""
    from prometheus_client import multiprocess  # noqa: PLC0415 (only the processes load it before)

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    """Remove the folder of the metrics."""
    shutil.rmtree(os.environ[_METRICS], ignore_errors=True)
