"""Reads PeopleDepot's lists, by GET alone; a list that can't be used whole is a ``PeopleDepotError``."""

import asyncio
import logging
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx2
import orjson
import stamina
from django.conf import settings
from rest_framework import serializers
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from ctj_api.http.serializer_fields import TextField
from ctj_api.models import MAX_NAME
from ctj_api.validators import is_uuid, normal_name

CONNECT_SECONDS = 2
READ_SECONDS = 10
ANSWER_SECONDS = 30  # for all of an answer, which may come slowly
MAX_BYTES = 10 * 1024 * 1024
MAX_RETRY_AFTER = 60
PASSING = (429, 502, 503, 504)
REASONS = {
    401: "it refuses the token",
    403: "it refuses the token",
    404: "it has no such list; is PEOPLEDEPOT_URL right?",
}

logger = logging.getLogger(__name__)
_with_retries = stamina.RetryingCaller(attempts=4, timeout=120)


class PeopleDepotError(Exception):
    """Says in words why PeopleDepot's rows can't be used, and never quotes the token."""


class _PassingError(PeopleDepotError):
    """A failure that may be over at the next try, after ``wait`` seconds where PeopleDepot names them."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class SkillRow:
    """A skill of PeopleDepot."""

    uuid: UUID
    name: str


@dataclass(frozen=True)
class PracticeAreaRow:
    """A practice area of PeopleDepot, which a community of practice belongs to."""

    uuid: UUID
    name: str


@dataclass(frozen=True)
class JobTitleRow:
    """A modern job title of PeopleDepot: a role here."""

    uuid: UUID
    title: str


@dataclass(frozen=True)
class ProjectRow:
    """A project of PeopleDepot."""

    uuid: UUID
    name: str
    hide: bool
    completed_on: date | None


@dataclass(frozen=True)
class UserRow:
    """A user of PeopleDepot, whose username is the ``sub`` of Cognito."""

    uuid: UUID
    username: str


class _IdField(serializers.UUIDField):
    def to_internal_value(self, data: Any) -> UUID:
        if not is_uuid(data):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class _NameField(TextField):
    def __init__(self) -> None:
        super().__init__(max_length=MAX_NAME)

    def to_internal_value(self, data: Any) -> str:
        name = normal_name(super().to_internal_value(data))
        if not name:
            self.fail("blank")
        return name


class _YesOrNoField(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> Any:
        return data if isinstance(data, bool) else self.fail("invalid", input=data)


class _NamedSerializer(serializers.Serializer[Any]):
    uuid = _IdField()
    name = _NameField()


class _JobTitleSerializer(serializers.Serializer[Any]):
    uuid = _IdField()
    title = _NameField()


class _ProjectSerializer(_NamedSerializer):
    hide = _YesOrNoField()
    completed_on = serializers.DateField(allow_null=True)


class _UserSerializer(serializers.Serializer[Any]):
    uuid = _IdField()
    username = TextField(max_length=MAX_NAME)


class PeopleDepotClient:
    """Reads PeopleDepot as the settings say; each run makes its own, since tokens last an hour."""

    def __init__(self) -> None:
        # A representation of these headers doesn't tell the token.
        self._headers = httpx2.Headers(
            {"Authorization": f"Bearer {_token()}", "Accept": "application/json", "Accept-Encoding": "identity"}
        )
        if self._headers["Authorization"] == "Bearer ":
            raise PeopleDepotError("PEOPLEDEPOT_TOKEN, or the file PEOPLEDEPOT_TOKEN_FILE, holds no token.")

    def skills(self) -> list[SkillRow]:
        """Return all skills, in no order; raises ``PeopleDepotError``, as all lists do."""
        return self._rows("skills/", _NamedSerializer, SkillRow)

    def practice_areas(self) -> list[PracticeAreaRow]:
        """Return all practice areas."""
        return self._rows("practice-areas/", _NamedSerializer, PracticeAreaRow)

    def modern_job_titles(self) -> list[JobTitleRow]:
        """Return all job titles."""
        return self._rows("modern-job-titles/", _JobTitleSerializer, JobTitleRow)

    def projects(self) -> list[ProjectRow]:
        """Return all projects, hidden and completed ones as well."""
        return self._rows("projects/", _ProjectSerializer, ProjectRow)

    def users_by_username(self, username: str) -> list[UserRow]:
        """Return the user of this name, or none; others are left out, since an unknown parameter lists all users."""
        users = self._rows(f"users/?{urlencode({'username': username})}", _UserSerializer, UserRow)
        return [user for user in users if user.username == username]

    def _rows[Row](self, path: str, serializer: type[serializers.Serializer[Any]], row: type[Row]) -> list[Row]:
        url = f"{settings.PEOPLEDEPOT_URL.rstrip('/')}/api/v1/{path}"
        try:
            content = _with_retries(_wait_before_retry, self._get, url)
            return [row(**values) for values in _checked(content, serializer)]
        except PeopleDepotError as error:
            reason = str(error)
        raise PeopleDepotError(f"PeopleDepot's {path.partition('/')[0]}: {reason}.")

    def _get(self, url: str) -> bytes:
        try:
            return asyncio.run(self._read(url))
        except (httpx2.TimeoutException, TimeoutError):
            failure: PeopleDepotError = _PassingError("it takes too long to answer")
        except httpx2.ConnectError:
            failure = _PassingError("there is no connection to it")
        except httpx2.TransportError:
            failure = _PassingError("it broke the connection off")
        except (httpx2.HTTPError, httpx2.InvalidURL):
            failure = PeopleDepotError("it can't be asked; is PEOPLEDEPOT_URL right?")
        # Outside of the handlers, so that no traceback leads to the request and its token.
        raise failure

    async def _read(self, url: str) -> bytes:
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        content = bytearray()
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            httpx2.AsyncClient(headers=self._headers, timeout=timeout, follow_redirects=False) as client,
            client.stream("GET", url) as response,
        ):
            _check_head(response)
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise PeopleDepotError(f"its answer has more than {MAX_BYTES:,} bytes")
        return bytes(content)


def _token() -> str:
    """Return the token as it is now, or an empty text where there is none that a header can hold."""
    token: bytes = settings.PEOPLEDEPOT_TOKEN.encode()
    if settings.PEOPLEDEPOT_TOKEN_FILE:
        try:
            token = Path(settings.PEOPLEDEPOT_TOKEN_FILE).read_bytes()
        except OSError:
            token = b""
    return token.strip().decode() if re.fullmatch(rb"\s*[!-~]+\s*", token) else ""


def _check_head(response: httpx2.Response) -> None:
    """Raise ``PeopleDepotError`` for an answer whose status or type says that it is no list."""
    status = response.status_code
    if status in PASSING:
        raise _PassingError(f"it can't answer now ({status})", _seconds(response.headers.get("Retry-After", "")))
    if response.is_redirect:
        raise PeopleDepotError(f"it redirects elsewhere, which isn't followed ({status})")
    if status != HTTPStatus.OK:
        raise PeopleDepotError(f"{REASONS.get(status, 'it answers with no list')} ({status})")
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise PeopleDepotError("its answer is a page, not JSON; is PEOPLEDEPOT_URL right?")


def _seconds(retry_after: str) -> float | None:
    """Return how long ``Retry-After`` asks to wait, by a number or a date; ``None`` where it doesn't."""
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    with suppress(TypeError, ValueError):
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    return None


def _wait_before_retry(error: Exception) -> bool | float:
    """Return whether another try makes sense, or after how many seconds."""
    if not isinstance(error, _PassingError):
        return False
    return error.wait is None or (error.wait <= MAX_RETRY_AFTER and error.wait)


def _log_retry(details: RetryDetails) -> None:
    logger.warning("PeopleDepot: %s; another try in %.1f s", details.caused_by, details.wait_for)


def _checked(content: bytes, serializer: type[serializers.Serializer[Any]]) -> list[dict[str, Any]]:
    """Return the rows of an answer; raises ``PeopleDepotError`` that names the first wrong one."""
    try:
        rows = orjson.loads(content)
    except orjson.JSONDecodeError:
        rows = None
    if not isinstance(rows, list):
        raise PeopleDepotError("its answer is no list, or a truncated one")
    checked = serializer(data=rows, many=True)
    if not checked.is_valid():
        number, problems = next((number, found) for number, found in enumerate(checked.errors) if found)
        field, messages = next(iter(problems.items()))
        raise PeopleDepotError(f"{_name(number, rows[number])}: {field}: {str(messages[0]).rstrip('.')}")
    uuids = [values["uuid"] for values in checked.validated_data]
    if repeated := [uuid for uuid, times in Counter(uuids).items() if times > 1]:
        raise PeopleDepotError(f"two rows have the uuid {repeated[0]}")
    return list(checked.validated_data)


def _name(number: int, row: Any) -> str:
    uuid = row.get("uuid") if isinstance(row, dict) else None
    return f"row {number + 1} with the uuid {uuid}" if is_uuid(uuid) else f"row {number + 1}"


set_on_retry_hooks([_log_retry])
