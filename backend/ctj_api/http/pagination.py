"""Pages of long lists: the body stays a plain array, the headers tell the rest."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.utils.urls import replace_query_param

from ctj_api.ranking.matches import Ranking

from .query_parameters import Page


def paged_response(request: Request, page: Page, count: int, data: Any) -> Response:
    """Return the page of a list of ``count`` rows, with ``X-Total-Count`` and a relative ``Link`` (RFC 8288)."""
    url = replace_query_param(request.get_full_path(), "limit", page.limit)
    links = ", ".join(
        f'<{replace_query_param(url, "offset", offset)}>; rel="{name}"' for name, offset in _links(page, count).items()
    )
    return Response(data, headers={"X-Total-Count": str(count), "Link": links})


def ranking_response(request: Request, ranking: Ranking, page: Page, serializer: type[BaseSerializer[Any]]) -> Response:
    """Return the page of a ranking."""
    count = len(ranking)
    matches = ranking[page.rows] if page.offset < count else []
    return paged_response(request, page, count, serializer(matches, many=True).data)


def _links(page: Page, count: int) -> dict[str, int]:
    """Return the offsets of the first, the last and the neighbouring pages."""
    phase = page.offset % page.limit
    last = phase + (count - 1 - phase) // page.limit * page.limit if count > phase else 0
    links = {"first": 0, "last": last}
    if page.offset > 0:
        links["prev"] = min(max(page.offset - page.limit, 0), last)
    if page.offset + page.limit < count:
        links["next"] = page.offset + page.limit
    return links
