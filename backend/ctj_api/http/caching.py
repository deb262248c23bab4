"""What caches may keep, and whether it is still current. Every answer is private unless a view says otherwise."""

import json
import re
from collections.abc import Callable
from functools import partial, wraps
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import quote_etag
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.utils.encoders import JSONEncoder

from ctj_api.exceptions import ErrorCode, PreconditionFailed
from ctj_api.models import Role, Skill
from ctj_api.ranking.row_changes import rows_version

from .kept_answers import ANSWERS, Answer
from .query_parameters import StrictFilterSet, described

PUBLIC_MAX_AGE_SECONDS = 60
# RFC 9110, sections 5.6.1 and 8.8.3; what is weak never matches.
ENTITY_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
ENTITY_TAGS = re.compile(rf"[ \t,]*{ENTITY_TAG}(?:[ \t]*,[ \t,]*{ENTITY_TAG})*[ \t,]*")
MAX_ENTITY_TAGS = 8_000

type View = Callable[..., HttpResponseBase]
type Decorator = Callable[[View], View]


def public_cache(read_version: Callable[[], str | None], *, for_all: bool = False) -> Decorator:
    """Keep answers to anonymous readers, ``for_all`` to everybody: here for a version, elsewhere for a minute."""

    def cached(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            if request.method not in {"GET", "HEAD"}:
                return view(request, *args, **kwargs)
            says_who = settings.SESSION_COOKIE_NAME in request.COOKIES or "Authorization" in request.headers
            # The version is read before the rows: where these change meanwhile, nobody asks for it any more.
            version = None if says_who and not for_all else read_version()
            make = partial(view, request, *args, **kwargs)
            return _made_once(request, version, make, vary=() if for_all else ("Cookie",))

        return answer

    return cached


def public_read(shape: Any, *tables: type[Model], filters: type[StrictFilterSet] | None = None) -> Decorator:
    """Let caches keep what a function-based view reads from small tables, and describe it for OpenAPI."""

    def public(view: Any) -> View:
        view.cls.authentication_classes = ()  # it asks nobody who they are
        return public_cache(partial(rows_version, *tables), for_all=True)(described(shape, filters)(view))

    return public


def _made_once(
    request: HttpRequest, version: str | None, make: Callable[[], HttpResponseBase], vary: tuple[str, ...]
) -> HttpResponseBase:
    """Return the kept answer of this version, or a new one, kept unless it is an error or somebody's own."""
    if version is not None and "search" in request.GET:  # names say which words it splits
        version += rows_version(Skill, Role)
    key = request.path, request.META["QUERY_STRING"], request.META.get("HTTP_ACCEPT", "*/*")
    if version is not None and (kept := ANSWERS.find(key, version)):
        return HttpResponse(kept.content, headers=kept.headers)
    response = make()
    if isinstance(response, Response) and response.status_code == HTTPStatus.OK and not request.user.is_authenticated:
        response.render()
        patch_cache_control(response, public=True, max_age=PUBLIC_MAX_AGE_SECONDS)
        if vary:
            patch_vary_headers(response, vary)
        told = response.get("X-Total-Count", "").encode() + b"\n" + response.content  # the total tells of other pages
        response.headers.setdefault("ETag", quote_etag(sha256(told).hexdigest()))
        if version is not None:
            ANSWERS.keep(Answer(key, version, response.content, dict(response.items())))
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
