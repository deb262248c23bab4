"""Pages of long lists: the body stays a plain array, the headers tell the rest."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from ctj_api.parameters import (
    DEFAULT_LIMIT,
    DEFAULT_MATCH_LIMIT,
    LIMIT,
    MAX_LIMIT,
    MAX_MATCH_LIMIT,
    MAX_OFFSET,
    OFFSET,
    SEARCH,
)
from ctj_api.querysets import OpportunityQuerySet
from ctj_api.ranking.matches import Ranking
from ctj_api.serializers import OpportunityReadSerializer
from ctj_api.validators import clean_whole_number


class HeaderPagination(BasePagination):
    """``limit`` and ``offset``, answered with ``X-Total-Count`` and an RFC 8288 ``Link`` header."""

    default_limit = DEFAULT_LIMIT
    max_limit = MAX_LIMIT

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet[Any] | Ranking, request: Request, view: APIView | None = None
    ) -> list[Any]:
        """Return the rows of the page; raises ``ValidationError`` for a limit or offset out of range."""
        self.read_parameters(request)
        self.count, page = self.read(queryset, slice(self.offset, self.offset + self.limit), request)
        return page

    def read_parameters(self, request: Request) -> None:
        """Take limit and offset; raises ``ValidationError`` for one that is out of range."""
        self.url = request.build_absolute_uri()
        self.limit = _whole_number(request, LIMIT.name, self.default_limit, 1, self.max_limit)
        self.offset = _whole_number(request, OFFSET.name, 0, 0, MAX_OFFSET)

    def read(self, queryset: QuerySet[Any] | Ranking, page: slice, request: Request) -> tuple[int, list[Any]]:
        """Return how many rows there are, and those of the page."""
        count = queryset.count() if isinstance(queryset, QuerySet) else len(queryset)
        return count, list(queryset[page]) if page.start < count else []

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page with its headers."""
        links = ", ".join(f'<{self._url_at(offset)}>; rel="{name}"' for name, offset in self._links().items())
        return Response(data, headers={"X-Total-Count": str(self.count), "Link": links})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of the body: the array itself."""
        return schema

    def _links(self) -> dict[str, int]:
        phase = self.offset % self.limit
        last = phase + (self.count - 1 - phase) // self.limit * self.limit if self.count > phase else 0
        links = {"first": 0, "last": last}
        if self.offset > 0:
            links["prev"] = min(max(self.offset - self.limit, 0), last)
        if self.offset + self.limit < self.count:
            links["next"] = self.offset + self.limit
        return links

    def _url_at(self, offset: int) -> str:
        return replace_query_param(replace_query_param(self.url, LIMIT.name, self.limit), OFFSET.name, offset)


class OpportunityPagination(HeaderPagination):
    """The pages of the listing: rows of what ``OpportunityReadSerializer`` tells, not instances."""

    columns = tuple(OpportunityReadSerializer.columns.values())

    def read(self, queryset: Any, page: slice, request: Request) -> tuple[int, list[Any]]:
        """Return how many opportunities there are, and the rows of the page."""
        if request.query_params.get(SEARCH.name, "").strip():
            return self._read_hits(queryset, page)
        count = queryset.count()
        return count, list(queryset[page].values_list(*self.columns)) if page.start < count else []

    def _read_hits(self, found: OpportunityQuerySet, page: slice) -> tuple[int, list[Any]]:
        """Read the rows of the hits of a search that are still hits."""
        count, ids = found.hits(page)
        rows = {row[0]: row for row in found.order_by().filter(pk__in=ids).values_list(*self.columns)} if ids else {}
        return count, [rows[pk] for pk in ids if pk in rows]


class MatchPagination(HeaderPagination):
    """The pages of rankings, which are shorter."""

    default_limit = DEFAULT_MATCH_LIMIT
    max_limit = MAX_MATCH_LIMIT


def _whole_number(request: Request, name: str, default: int, lowest: int, highest: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return clean_whole_number(text, lowest, highest)
    except DjangoValidationError as error:
        raise ValidationError({name: error.messages}) from error
