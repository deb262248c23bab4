"""The error envelope: every failure under ``/api/`` has this one shape."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, connection
from django.http import HttpRequest, JsonResponse
from django.utils.module_loading import import_string
from psycopg.errors import CheckViolation, DeadlockDetected, ForeignKeyViolation, UniqueViolation
from rest_framework import exceptions
from rest_framework.permissions import SAFE_METHODS
from rest_framework.response import Response

from .validators import shorten

logger = logging.getLogger(__name__)

NON_FIELD_ERRORS = "non_field_errors"
CONFLICT = "This conflicts with what is stored, or was changed meanwhile. Read it again and retry."
CHANGED_MEANWHILE = "This was changed meanwhile, and nothing was saved. Read it again before you save."
NO_SUCH_PARAMETER = "This endpoint has no such query parameter."
RETRY_AFTER_SECONDS = 5
NOT_SAVED = "Nothing can be saved at the moment, only read. Try again in a few minutes."
DISK_FULL, READ_ONLY, IDLE_TOO_LONG = "53100", "25006", "25P03"
MAX_MESSAGES = 20
MAX_FIELD_NAME = 100
MAX_MESSAGE = 500

type Fields = Mapping[str, Iterable[str]]


class ErrorCode(StrEnum):
    """What clients switch on; stable across translations."""

    VALIDATION_ERROR = "validation_error"
    PARSE_ERROR = "parse_error"
    BAD_REQUEST = "bad_request"
    AUTHENTICATION_FAILED = "authentication_failed"
    NOT_AUTHENTICATED = "not_authenticated"
    PERMISSION_DENIED = "permission_denied"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    PRECONDITION_FAILED = "precondition_failed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    THROTTLED = "throttled"
    ERROR = "error"
    SERVER_ERROR = "server_error"
    SERVICE_UNAVAILABLE = "service_unavailable"


class PreconditionFailed(exceptions.APIException):
    """The row has changed since the client read it."""

    status_code = HTTPStatus.PRECONDITION_FAILED
    default_code = ErrorCode.PRECONDITION_FAILED
    default_detail = CHANGED_MEANWHILE


class ServiceUnavailable(exceptions.APIException):
    """The database, or another service, does not answer; the same request may be sent again."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = ErrorCode.SERVICE_UNAVAILABLE
    default_detail = "The service is not available at the moment. Try again in a few seconds."
    wait = RETRY_AFTER_SECONDS


CODE_OF_STATUS: dict[int, tuple[ErrorCode, str]] = {
    HTTPStatus.BAD_REQUEST: (ErrorCode.BAD_REQUEST, "The request is malformed."),
    HTTPStatus.FORBIDDEN: (ErrorCode.PERMISSION_DENIED, "You may not do this."),
    HTTPStatus.NOT_FOUND: (ErrorCode.NOT_FOUND, "There is nothing at this address."),
    HTTPStatus.METHOD_NOT_ALLOWED: (ErrorCode.METHOD_NOT_ALLOWED, "This address does not take this method."),
    HTTPStatus.NOT_ACCEPTABLE: (ErrorCode.NOT_ACCEPTABLE, "This address does not serve what you accept."),
    HTTPStatus.PRECONDITION_FAILED: (ErrorCode.PRECONDITION_FAILED, CHANGED_MEANWHILE),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send JSON in UTF-8."),
    HTTPStatus.TOO_MANY_REQUESTS: (ErrorCode.THROTTLED, "Too many requests. Try again later."),
    HTTPStatus.INTERNAL_SERVER_ERROR: (ErrorCode.SERVER_ERROR, "Something went wrong on our side."),
    HTTPStatus.SERVICE_UNAVAILABLE: (ErrorCode.SERVICE_UNAVAILABLE, ServiceUnavailable.default_detail),
}


def civic_exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Return the enveloped response to ``exc``, or ``None`` for one that nobody foresaw, which becomes a 500."""
    exc = _as_api_exception(exc, context.get("request"))
    # Imported now: REST framework's views import whom the settings name, and those import this module.
    response: Response | None = import_string("rest_framework.views.exception_handler")(exc, context)
    if response is None:
        return None
    if isinstance(exc, exceptions.ValidationError):
        response.data = validation_envelope(flatten(exc.detail))
    elif isinstance(exc, exceptions.APIException):
        response.data = envelope(ErrorCode(str(exc.get_codes())), str(exc.detail))
    else:
        code, message = CODE_OF_STATUS[response.status_code]
        response.data = envelope(code, message)
    return response


def envelope(code: ErrorCode, message: str) -> dict[str, Any]:
    """Return the body of an error response."""
    return {"error": {"code": code.value, "message": shorten(message, MAX_MESSAGE)}}


def validation_envelope(fields: Fields) -> dict[str, Any]:
    """Return the body of an error response that says what is wrong with which field."""
    body = envelope(ErrorCode.VALIDATION_ERROR, "The request has values that are not valid.")
    body["error"]["fields"] = _as_far_as_there_is_room(fields)
    return body


def error_response(status: int, fields: Fields | None = None, message: str | None = None) -> JsonResponse:
    """Return an enveloped response where no DRF exception can be raised: URL fallbacks and middleware."""
    code, usual_message = CODE_OF_STATUS.get(status, (ErrorCode.ERROR, "The request failed."))
    body = envelope(code, message or usual_message) if fields is None else validation_envelope(fields)
    response = JsonResponse(body, status=status, headers={"Cache-Control": "private, no-store"})
    response["Content-Length"] = str(len(response.content))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def is_api_request(request: HttpRequest) -> bool:
    """Return whether the request's path belongs to the API."""
    return request.path_info == "/api" or request.path_info.startswith("/api/")


def is_temporary(exc: BaseException | None) -> bool:
    """Return whether the same request may succeed later: the database is away or busy."""
    return isinstance(exc, OperationalError | InterfaceError) or _sqlstate(exc) in {READ_ONLY, IDLE_TOO_LONG}


def leave_standby(exc: BaseException | None) -> None:
    """Close a connection that takes no writes: the next one may find the server that has taken over."""
    if _sqlstate(exc) == READ_ONLY:
        connection.close()


def violated_constraint(exc: BaseException) -> str | None:
    """Return the name of the constraint that a client broke, or ``None``: all else is a defect of ours."""
    cause = exc.__cause__
    if isinstance(exc, IntegrityError) and isinstance(cause, UniqueViolation | ForeignKeyViolation | CheckViolation):
        return cause.diag.constraint_name or ""
    return None


def is_deadlock(exc: BaseException | None) -> bool:
    """Return whether ``exc`` says that two transactions waited for each other, so that PostgreSQL ended this one."""
    return isinstance(exc, OperationalError) and isinstance(exc.__cause__, DeadlockDetected)


def flatten(detail: Any) -> dict[str, list[str]]:
    """Return DRF's nested error detail as field → messages, which begin with the names of deeper fields."""
    if isinstance(detail, dict):
        return {str(field): list(_messages(errors)) for field, errors in detail.items()}
    return {NON_FIELD_ERRORS: list(_messages(detail))}


def _messages(errors: Any, path: str = "") -> Iterator[str]:
    if isinstance(errors, dict):
        for key, nested in errors.items():
            yield from _messages(nested, f"{path}{key}: ")
    elif isinstance(errors, list | tuple):
        for nested in errors:
            yield from _messages(nested, path)
    else:
        yield f"{path}{errors}"


def _as_far_as_there_is_room(fields: Fields) -> dict[str, list[str]]:
    """Return the first messages of the first fields, so that an answer stays small whatever was sent."""
    told: dict[str, list[str]] = {}
    room = 60_000  # of an answer of 64 KB, with what is around the fields
    for field, messages in fields.items():
        name = shorten(field, MAX_FIELD_NAME)
        for message in islice(messages, MAX_MESSAGES):
            text = shorten(message, MAX_MESSAGE)
            room -= len(json.dumps([name, text]))
            if room < 0:
                return told
            told.setdefault(name, []).append(text)
    return told


def _sqlstate(exc: BaseException | None) -> str | None:
    return getattr(getattr(exc, "__cause__", None), "sqlstate", None)


def _as_api_exception(exc: Exception, request: Any) -> Exception:
    if is_temporary(exc):
        if request is not None:
            request._request.unhandled_exception = exc  # for the request's log line
        leave_standby(exc)
        return ServiceUnavailable(NOT_SAVED if _sqlstate(exc) in {DISK_FULL, READ_ONLY} else None)
    constraint = violated_constraint(exc)
    if constraint is not None and request is not None and request.method not in SAFE_METHODS:
        logger.warning("A write broke the constraint %s", constraint)
        return exceptions.ValidationError({NON_FIELD_ERRORS: [CONFLICT]})
    return exc
