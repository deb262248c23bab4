"""What caches may keep, and whether it is still current. Every answer is private unless a view says otherwise."""

import json
import re
from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import quote_etag
from psycopg.sql import SQL, Identifier
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.utils.encoders import JSONEncoder

from ctj_api.exceptions import ErrorCode, PreconditionFailed
from ctj_api.querysets import LINEAGE

from .query_parameters import StrictFilterSet, described

PUBLIC_MAX_AGE_SECONDS = 60
VERSION = SQL("(SELECT sum(hashtextextended(concat_ws(' ', id, xmin, ctid), 0)) FROM {})")
VERSIONS = SQL("SELECT concat_ws(' ', {}, {})")
CACHEABLE = {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED}
# RFC 9110, sections 5.6.1 and 8.8.3; what is weak never matches.
ENTITY_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
ENTITY_TAGS = re.compile(rf"[ \t,]*{ENTITY_TAG}(?:[ \t]*,[ \t,]*{ENTITY_TAG})*[ \t,]*")
MAX_ENTITY_TAGS = 8_000

type View = Callable[..., HttpResponseBase]


def public_cache(view: View) -> View:
    """Let shared caches keep the view's answers to anonymous readers for a minute, then revalidate by ``ETag``."""

    @wraps(view)
    def cached(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        is_read = request.method in {"GET", "HEAD"} and response.status_code in CACHEABLE
        if is_read and not request.user.is_authenticated:
            patch_cache_control(response, public=True, max_age=PUBLIC_MAX_AGE_SECONDS)
        return response

    return cached


def public_read(shape: Any, filters: type[StrictFilterSet] | None = None) -> Callable[[View], View]:
    """Let caches keep what a function-based view reads for everybody alike, and describe it in the OpenAPI document."""

    def public(view: Any) -> View:
        view.cls.authentication_classes = ()  # it asks nobody who they are
        return public_cache(described(shape, filters)(view))

    return public


def revalidated(
    request: Request, read_version: Callable[[], str | None], answer: Callable[[], Response]
) -> HttpResponseBase:
    """Return 304 where the client has the current version, else ``answer()`` with that version as its ``ETag``.

    Without a version, or where it changed meanwhile, ``PageValidatorMiddleware`` makes an ``ETag`` of the content.
    """
    version = read_version()
    if version is None:
        return answer()
    # Another release may give the same rows another shape.
    etag = f'W/"{sha256(f"{settings.RELEASE} {version}".encode()).hexdigest()}"'
    changed = HttpResponse(headers={"ETag": etag})
    if (known := get_conditional_response(request._request, etag=etag, response=changed)) not in {None, changed}:
        return known
    response = answer()
    if read_version() == version:
        response["ETag"] = etag
    return response


def versioned(view: View) -> View:
    """Give each answer of the view that tells of one row the ``ETag`` of the row's stored version."""

    @wraps(view)
    def tagged(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        row = getattr(response, "data", None)
        if isinstance(row, dict) and response.status_code < HTTPStatus.MULTIPLE_CHOICES and request.method != "OPTIONS":
            response["ETag"] = entity_tag(row)
        return response

    return tagged


def require_match(request: Request, serializer: BaseSerializer[Any]) -> None:
    """Refuse a write whose ``If-Match`` doesn't name the stored version of the serializer's row, which is locked."""
    known = request.headers.get("If-Match", "*").strip(" \t")
    if known == "*":
        return
    if len(known) > MAX_ENTITY_TAGS or not ENTITY_TAGS.fullmatch(known):
        raise ParseError('If-Match is no list of entity tags, such as "a", "b".', ErrorCode.BAD_REQUEST)
    if entity_tag(serializer.to_representation(serializer.instance)) not in re.findall(ENTITY_TAG, known):
        raise PreconditionFailed


def entity_tag(row: dict[str, Any]) -> str:
    """Return a strong entity tag of the read shape of a row, in whatever order its keys were written."""
    return quote_etag(sha256(json.dumps(row, cls=JSONEncoder, sort_keys=True).encode()).hexdigest())


def catalog_response(request: Request, serializer: BaseSerializer[Any], *tables: type[Model]) -> HttpResponseBase:
    """Return a list of small tables, or 304 where no row of them has changed since the client's copy."""
    return revalidated(request, lambda: row_versions(*tables), lambda: Response(serializer.data))


def row_versions(*tables: type[Model]) -> str:
    """Return a text that changes with every change of these small tables.

    ``xmin`` is the transaction that wrote a row, ``ctid`` its place. The sums don't depend on the rows' order.
    """
    sums = SQL(", ").join(VERSION.format(Identifier(table._meta.db_table)) for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(VERSIONS.format(LINEAGE, sums).as_string())
        version: str = cursor.fetchone()[0]
    return version
