"""Reads PeopleDepot's lists, by GET alone; a list that can't be used whole is a ``PeopleDepotError``."""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import orjson
import stamina
from django.conf import settings
from rest_framework import serializers

from ctj_api.http.serializer_fields import TextField
from ctj_api.validators import MAX_NAME, is_uuid, normal_name

from .download import receive

TIMEOUT = httpx2.Timeout(10, connect=2)
ANSWER_SECONDS = 30  # for all of an answer, which may come slowly
MAX_BYTES = 10 * 1024 * 1024
MAX_RETRY_AFTER = 60
PASSING = (429, 502, 503, 504)
REFUSALS = {401: "it refuses the token", 403: "it refuses the token", 404: "it has no such list"}

# Its own would write past the log's format; who asks tells the last failure.
stamina.instrumentation.set_on_retry_hooks([])
_with_retries = stamina.RetryingCaller(attempts=4, timeout=120)


class PeopleDepotError(Exception):
    """Says in words why PeopleDepot's rows can't be used, and never quotes the token."""

    def __init__(self, reason: str, *, retry: bool | float = False) -> None:
        super().__init__(reason)
        self.retry = retry  # whether another try makes sense, or after how many seconds


@dataclass(frozen=True)
class NamedRow:
    """A row of PeopleDepot; its name is a job title's ``title``, and a user's ``username``."""

    uuid: UUID
    name: str


@dataclass(frozen=True)
class ProjectRow(NamedRow):
    """A project of PeopleDepot."""

    hide: bool
    completed_on: date | None


class _IdField(serializers.UUIDField):
    def to_internal_value(self, data: Any) -> UUID:
        return super().to_internal_value(data) if is_uuid(data) else self.fail("invalid", value=data)


class _NameField(TextField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_length=1, max_length=MAX_NAME, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return normal_name(super().to_internal_value(data))


class _NamedSerializer(serializers.Serializer[Any]):
    uuid = _IdField()
    name = _NameField()


class _TitleSerializer(serializers.Serializer[Any]):
    uuid = _IdField()
    title = _NameField(source="name")


class _UserSerializer(serializers.Serializer[Any]):
    uuid = _IdField()
    username = _NameField(source="name")


class _ProjectSerializer(_NamedSerializer):
    hide = serializers.BooleanField()
    completed_on = serializers.DateField(allow_null=True)


class PeopleDepotClient:
    """Reads PeopleDepot as the settings say; each run makes its own, since tokens last an hour."""

    def __init__(self) -> None:
        # A representation of these headers doesn't tell the token.
        self._headers = httpx2.Headers({"Authorization": f"Bearer {_token()}"})
        if self._headers["Authorization"] == "Bearer ":
            raise PeopleDepotError("PEOPLEDEPOT_TOKEN, or the file PEOPLEDEPOT_TOKEN_FILE, holds no token.")

    def skills(self) -> list[NamedRow]:
        """Return all skills, in no order; raises ``PeopleDepotError``, as all lists do."""
        return self._rows("skills/", _NamedSerializer, NamedRow)

    def practice_areas(self) -> list[NamedRow]:
        """Return all practice areas."""
        return self._rows("practice-areas/", _NamedSerializer, NamedRow)

    def modern_job_titles(self) -> list[NamedRow]:
        """Return all job titles."""
        return self._rows("modern-job-titles/", _TitleSerializer, NamedRow)

    def projects(self) -> list[ProjectRow]:
        """Return all projects, hidden and completed ones as well."""
        return self._rows("projects/", _ProjectSerializer, ProjectRow)

    def users_by_username(self, username: str) -> list[NamedRow]:
        """Return the user of this name, if any: PeopleDepot lists all users where it doesn't know a parameter."""
        users = self._rows(f"users/?{httpx2.QueryParams(username=username)}", _UserSerializer, NamedRow)
        return [user for user in users if user.name == username]

    def _rows[Row](self, path: str, serializer: type[serializers.Serializer[Any]], row: type[Row]) -> list[Row]:
        url = f"{settings.PEOPLEDEPOT_URL.rstrip('/')}/api/v1/{path}"
        try:
            content = _with_retries(lambda error: getattr(error, "retry", False), self._get, url)
            return [row(**values) for values in _checked(content, serializer)]
        except PeopleDepotError as error:
            reason = str(error)
        # Outside of the handler, so that no traceback leads to the request and its token.
        raise PeopleDepotError(f"PeopleDepot's {path.partition('/')[0]}: {reason}.")

    def _get(self, url: str) -> bytes:
        asked = receive("GET", url, ANSWER_SECONDS, MAX_BYTES, headers=self._headers, timeout=TIMEOUT)
        try:
            response, content = asyncio.run(asked)
        except ValueError as error:
            raise PeopleDepotError(f"its answer has more than {MAX_BYTES:,} bytes") from error
        except (httpx2.TimeoutException, TimeoutError) as error:
            raise PeopleDepotError("it takes too long to answer", retry=True) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise PeopleDepotError(f"there is no connection to it, or it broke off ({error})", retry=True) from error
        _check_head(response)
        return content


def _token() -> str:
    """Return the token as it is now, or an empty text where there is none that a header can hold."""
    try:
        file = settings.PEOPLEDEPOT_TOKEN_FILE
        token = Path(file).read_text("ascii").strip() if file else settings.PEOPLEDEPOT_TOKEN
    except (OSError, UnicodeError):
        return ""
    return token if re.fullmatch("[!-~]+", token) else ""


def _check_head(response: httpx2.Response) -> None:
    status = response.status_code
    if status in PASSING:
        asked = response.headers.get("Retry-After", "")
        seconds = float(asked) if asked.isdecimal() else 0
        retry = seconds <= MAX_RETRY_AFTER and (seconds or True)
        raise PeopleDepotError(f"it can't answer now ({status})", retry=retry)
    if response.is_redirect:
        raise PeopleDepotError(f"it redirects elsewhere, which isn't followed ({status})")
    if not response.is_success:
        raise PeopleDepotError(f"{REFUSALS.get(status, 'it answers with no list')} ({status})")
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise PeopleDepotError("its answer is a page, not JSON; is PEOPLEDEPOT_URL right?")


def _checked(content: bytes, serializer: type[serializers.Serializer[Any]]) -> list[dict[str, Any]]:
    rows = None
    with suppress(orjson.JSONDecodeError):
        rows = orjson.loads(content)
    if not isinstance(rows, list):
        raise PeopleDepotError("its answer is no list, or a truncated one")
    check: Any = serializer(data=rows, many=True)
    if not check.is_valid():
        number, errors = next((number, errors) for number, errors in enumerate(check.errors) if errors)
        field, messages = next(iter(errors.items()))
        uuid = "no uuid" if errors.keys() & {"uuid", "non_field_errors"} else rows[number]["uuid"]
        raise PeopleDepotError(f"row {number + 1} ({uuid}): {field}: {str(messages[0]).rstrip('.')}")
    valid: list[dict[str, Any]] = check.validated_data
    return valid
