"""The query parameters of each endpoint: declared once, documented in the schema and enforced for every request."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema

type View = Callable[..., HttpResponseBase]

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
MAX_OFFSET = 1_000_000_000

SEARCH = OpenApiParameter("search", str, description="Text that the name or the description contains, in any case.")
NAME_SEARCH = OpenApiParameter("search", str, description="Text that the name contains, in any case.")
COMMUNITY = OpenApiParameter(
    "community_of_practice", str, description="A community of practice, by id or by its `practice_area`."
)
LIMIT = OpenApiParameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    description="How many rows.",
)
OFFSET = OpenApiParameter(
    "offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}, description="Rows to skip."
)
OPPORTUNITY_LIST = (LIMIT, OFFSET)
PAGE_HEADERS = [
    OpenApiParameter(
        "X-Total-Count", int, OpenApiParameter.HEADER, description="How many rows there are in all.", response=[200]
    ),
    OpenApiParameter(
        "Link", str, OpenApiParameter.HEADER, description="RFC 8288: `first`, `prev`, `next`, `last`.", response=[200]
    ),
]


def query_parameters(*parameters: OpenApiParameter) -> Callable[[View], View]:
    """Declare the query parameters that a function-based view takes; any other is refused."""

    def declare(view: View) -> View:
        view.cls.query_parameters = {"get": parameters}  # type: ignore[attr-defined]
        return extend_schema(parameters=list(parameters))(view)

    return declare


def parameter_problems(view: Any, request: HttpRequest) -> dict[str, list[str]]:
    """Return parameter → messages for those that the view does not know or that are given twice or are not UTF-8."""
    known = {parameter.name for parameter in _declared(view, request)}
    problems = {}
    for name, values in request.GET.lists():
        if name not in known:
            problems[name] = ["This endpoint has no such query parameter."]
        elif len(values) > 1:
            problems[name] = ["Give this query parameter once."]
        elif "\ufffd" in values[0]:
            problems[name] = ["This is not UTF-8."]
    return problems


def _declared(view: Any, request: HttpRequest) -> tuple[OpenApiParameter, ...]:
    method = "get" if request.method == "HEAD" else str(request.method).lower()
    operation = getattr(view, "actions", {}).get(method, method)
    declared: dict[str, tuple[OpenApiParameter, ...]] = getattr(getattr(view, "cls", None), "query_parameters", {})
    return declared.get(operation, ())
