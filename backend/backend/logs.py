"""How this process writes its log: a JSON object a line in production, a readable line in development."""

import logging
import re
from collections.abc import MutableMapping
from traceback import extract_tb
from typing import Any

import orjson
import structlog
from structlog.types import ExcInfo

type Event = MutableMapping[str, Any]

# What psycopg adds to an error's first line are the values of the row: an e-mail address, say.
DETAIL = re.compile(r"\n(DETAIL|CONTEXT|HINT|LINE \d+):.*", re.DOTALL)
# The line of each request (backend.request_log) says what these would say once more.
SAID_ELSEWHERE = ("django.request", "django.security", "django.server", "daphne.access")


def logging_settings(form: str, level: str) -> dict[str, Any]:
    """Return what ``logging.config.dictConfig`` takes, for ``json`` or ``console`` lines of ``level`` and above."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": _formatter, "form": form}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django": {"level": level},
            **{name: {"level": "CRITICAL"} for name in SAID_ELSEWHERE},
            **{name: {"handlers": ["console"], "propagate": False} for name in ("gunicorn.error", "gunicorn.access")},
        },
    }


def _formatter(form: str) -> logging.Formatter:
    before: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_fields,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "console":
        last: list[structlog.types.Processor] = [
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
        ]
    else:
        last = [_describe_exception, structlog.processors.JSONRenderer(serializer=_to_json)]
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=processors)


def _add_fields(_: Any, __: str, event: Event) -> Event:
    """Add what was logged with ``extra={"fields": …}``."""
    event.update(getattr(event["_record"], "fields", {}))
    return event


def _describe_exception(_: Any, __: str, event: Event) -> Event:
    """Put an exception into the line: its kind, what it says without anybody's data, and where it came from."""
    exception = event.pop("exc_info", None)
    if isinstance(exception, tuple) and exception[1] is not None:
        event["exception"] = _description(exception)
    return event


def _description(exception: ExcInfo) -> dict[str, Any]:
    kind, value, traceback = exception
    frames = extract_tb(traceback)
    return {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "message": DETAIL.sub("", str(value)),
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _to_json(event: Event, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
