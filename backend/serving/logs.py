"""How the log is written: a JSON object a line in production, a readable line in development."""

import json
import logging
import logging.config
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path
from smtplib import SMTPException
from traceback import walk_tb
from typing import Any

import psycopg
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import utils

logger = logging.getLogger(__name__)

type Event = MutableMapping[str, Any]

# The messages of TELLING exceptions name parts of the program; those of all others may quote personal data.
TELLING = (AttributeError, ImportError, NameError, OSError, ImproperlyConfigured, utils.Error, psycopg.Error)
QUOTING = (SMTPException, utils.DataError, psycopg.DataError)
# The lines that PostgreSQL adds to an error quote the row or the query.
DETAIL = re.compile(r"\n(DETAIL|CONTEXT|HINT|QUERY|LINE \d+):.*", re.DOTALL)
MAX_CAUSES = 5


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Writes JSON lines without the data that exceptions quote."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, with each exception among its arguments replaced by its safe description."""
        if not record.exc_info and str(record.msg).startswith("Traceback"):  # Daphne logs its failures so
            record = logging.makeLogRecord(record.__dict__ | {"msg": "Failed", "exc_info": sys.exc_info()})
        if isinstance(record.args, tuple):
            safe = [
                (_message(part) or _kind(part)) if isinstance(part, BaseException) else part for part in record.args
            ]
            record = logging.makeLogRecord(record.__dict__ | {"args": tuple(safe)})
        return super().format(record)


def logging_settings(form: str, level: str) -> dict[str, Any]:
    """Return what ``logging.config.dictConfig`` takes, for ``json`` or ``console`` lines of ``level`` and above."""
    settings: dict[str, Any] = json.loads(Path(__file__).with_name("logging.json").read_text(encoding="utf-8"))
    # The loggers that logging.json sets to CRITICAL would repeat the line of each request.
    settings["formatters"]["line"]["form"] = form
    settings["root"]["level"] = settings["loggers"]["django"]["level"] = level
    return settings


def configure_logging(settings: dict[str, str]) -> None:
    """Set logging up as Django asks at start, with its ``LOGGING`` setting; warnings and failures are logged, too."""
    logging.config.dictConfig(logging_settings(**settings))
    logging.captureWarnings(True)
    if settings["form"] == "json":
        sys.excepthook = lambda *exception: logger.critical("Failed", exc_info=exception)


def make_formatter(form: str) -> logging.Formatter:
    """Return what writes ``json`` or ``console`` lines."""
    before: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_fields,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
    ]
    if form == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
        return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=[renderer])
    # It writes ASCII, so that no value can start another line or control a terminal.
    to_json = structlog.processors.JSONRenderer(default=str, skipkeys=True, separators=(",", ":"))
    return LineFormatter(foreign_pre_chain=before, processors=[_describe_exception, to_json])


def _add_fields(_: Any, __: str, event: Event) -> Event:
    event.update(getattr(event["_record"], "fields", {}))
    return event


def _describe_exception(_: Any, __: str, event: Event) -> Event:
    """Replace the exception by its description, and drop the traceback that asyncio and others append to a message."""
    event["event"] = str(event["event"]).partition("\n")[0]
    exception = event.pop("exc_info", None)
    if isinstance(exception, tuple) and exception[1] is not None:
        event["exception"] = _description(exception[1])
    return event


def _description(exception: BaseException, causes: int = MAX_CAUSES) -> dict[str, Any]:
    diagnosis = getattr(exception, "diag", None)
    cause = exception.__cause__ or (None if exception.__suppress_context__ else exception.__context__)
    frames = [(frame.f_code, line) for frame, line in walk_tb(exception.__traceback__)]
    parts = {
        "type": _kind(exception),
        "message": _message(exception),
        "sqlstate": getattr(diagnosis, "sqlstate", None),
        "constraint": getattr(diagnosis, "constraint_name", None),
        "frames": [f"{code.co_filename}:{line} {code.co_name}" for code, line in frames[-50:]],
        "cause": _description(cause, causes - 1) if cause and causes else None,
    }
    return {name: part for name, part in parts.items() if part}


def _kind(exception: BaseException) -> str:
    return f"{type(exception).__module__}.{type(exception).__qualname__}"


def _message(exception: BaseException) -> str:
    is_telling = isinstance(exception, TELLING) and not isinstance(exception, QUOTING)
    return DETAIL.sub("", str(exception)) if is_telling else ""
