"""Pages of long lists: the body stays a plain array, the headers tell the rest."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.utils.urls import replace_query_param

from ctj_api.ranking.matches import Ranking


def paged_response(request: Request, page: slice, count: int, data: Any) -> Response:
    """Return the page of a list of ``count`` rows, with ``X-Total-Count`` and a relative ``Link`` (RFC 8288)."""
    limit = page.stop - page.start
    phase = page.start % limit
    last = phase + (count - 1 - phase) // limit * limit if count > phase else 0
    offsets = {"first": 0, "last": last}
    if page.start > 0:
        offsets["prev"] = min(max(page.start - limit, 0), last)
    if page.stop < count:
        offsets["next"] = page.stop
    url = replace_query_param(request.get_full_path(), "limit", limit)
    links = [f'<{replace_query_param(url, "offset", offset)}>; rel="{name}"' for name, offset in offsets.items()]
    return Response(data, headers={"X-Total-Count": str(count), "Link": ", ".join(links)})


def ranking_response(
    request: Request, ranking: Ranking, page: slice, serializer: type[BaseSerializer[Any]]
) -> Response:
    """Return the page of a ranking."""
    return paged_response(request, page, len(ranking), serializer(ranking[page], many=True).data)
