"""The query parameters of each endpoint: declared once, documented in the schema and enforced for every request."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema

from .enums import Experience, Ordering, PracticeArea, Status, WorkEnvironment
from .validators import MAX_HOURS

type View = Callable[..., HttpResponseBase]

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
DEFAULT_MATCH_LIMIT = 20
MAX_MATCH_LIMIT = 100
MAX_OFFSET = 1_000_000_000
MAX_SEARCH = 200
ME = "me"
_UUID = {"type": "string", "format": "uuid"}
_SWITCH = {"type": "boolean", "default": False}
_ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


class QueryParameter(OpenApiParameter):
    """A query parameter with an example; one that is ``repeatable`` takes any of several values."""

    def __init__(
        self,
        name: str,
        schema: dict[str, Any],
        example: object,
        description: str,
        *,
        repeatable: bool = False,
        allow_empty: bool = False,
    ) -> None:
        if repeatable:
            schema = {"type": "array", "items": schema}
            description = f"{description} May be repeated: any of the values will do."
            example = [example]
        super().__init__(name, schema, description=description, examples=[OpenApiExample("Example", value=example)])
        self.repeatable = repeatable
        self.allow_empty = allow_empty

    def problems(self, values: list[str]) -> list[str]:
        """Return what is wrong with the values that a request gives, whatever they mean."""
        if len(values) > 1 and not self.repeatable:
            return ["Give this query parameter once."]
        if "" in values and not self.allow_empty:
            return ["Give this query parameter a value, or leave it out."]
        if any("\ufffd" in value for value in values):
            return ["This is not UTF-8."]
        return []


def _search(description: str) -> QueryParameter:
    schema = {"type": "string", "maxLength": MAX_SEARCH, "pattern": "^[^\\u0000]*$"}
    return QueryParameter("search", schema, "react", description, allow_empty=True)


def _limit(default: int, maximum: int) -> QueryParameter:
    schema = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
    return QueryParameter("limit", schema, 10, "How many rows at most.")


SEARCH = _search("Text that the name or the description contains, in any case.")
NAME_SEARCH = _search("Text that the name contains, in any case.")
COMMUNITY = QueryParameter(
    "community_of_practice",
    {"anyOf": [_UUID, {"type": "string", "enum": PracticeArea.values}]},
    "engineering",
    "A community of practice, by id or by its `practice_area`.",
)
LIMIT = _limit(DEFAULT_LIMIT, MAX_LIMIT)
MATCH_LIMIT = _limit(DEFAULT_MATCH_LIMIT, MAX_MATCH_LIMIT)
OFFSET = QueryParameter(
    "offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}, 20, "Rows to skip."
)
STATUS = QueryParameter(
    "status", {"type": "string", "enum": Status.values}, "open", "Where the listing stands.", repeatable=True
)
CREATED_BY = QueryParameter(
    "created_by", {"type": "string", "enum": [ME]}, ME, "`me` for what the signed-in user has posted."
)
ORDERING = QueryParameter(
    "ordering",
    {"type": "string", "enum": Ordering.values, "default": Ordering.NEWEST},
    Ordering.RECENTLY_CHANGED,
    "The order, with `-` for descending, and by id among equals. "
    f"`{Ordering.RELEVANCE}` puts the best hits of `search` first, the newest among equals.",
)
MATCHED_FILTERS = (
    QueryParameter(
        "work_environment",
        {"type": "string", "enum": WorkEnvironment.values},
        "remote",
        "Where the work is done.",
        repeatable=True,
    ),
    QueryParameter(
        "min_experience_required",
        {"type": "string", "enum": Experience.values},
        "junior",
        "How much experience is asked for; the empty value finds those that ask for none.",
        repeatable=True,
        allow_empty=True,
    ),
    QueryParameter("project", _UUID, _ID, "The id of a project."),
    QueryParameter("role", _UUID, _ID, "The id of a role."),
    COMMUNITY,
    QueryParameter("skill", _UUID, _ID, "The id of a skill that is required, at any level.", repeatable=True),
    QueryParameter(
        "max_hours",
        {"type": "integer", "minimum": 0, "maximum": MAX_HOURS},
        6,
        "No more hours a week than these are asked for.",
    ),
    _search(
        "Words that the role's title, the project's name, the names of the required skills and the description "
        "contain, all of them, in any grammatical form; the last one may be unfinished."
    ),
)
OPPORTUNITY_LIST = (STATUS, *MATCHED_FILTERS, CREATED_BY, ORDERING, LIMIT, OFFSET)
MATCH_LIST = (
    QueryParameter(
        "min_score",
        {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
        0.5,
        "The lowest score to list; compared with the exact score, before it is rounded.",
    ),
    QueryParameter("require_all", _SWITCH, True, "`true` lists only where every required skill is met."),
    QueryParameter("fits", _SWITCH, True, "`true` leaves out where `fits_hours` or `fits_meetings` is false."),
    MATCH_LIMIT,
    OFFSET,
)
PAGE_HEADERS = [
    OpenApiParameter(
        "X-Total-Count", int, OpenApiParameter.HEADER, description="How many rows there are in all.", response=[200]
    ),
    OpenApiParameter(
        "Link", str, OpenApiParameter.HEADER, description="RFC 8288: `first`, `prev`, `next`, `last`.", response=[200]
    ),
]


def query_parameters(*parameters: QueryParameter) -> Callable[[View], View]:
    """Declare the query parameters that a function-based view takes; any other is refused."""

    def declare(view: View) -> View:
        view.cls.query_parameters = {"get": parameters}  # type: ignore[attr-defined]
        headers = PAGE_HEADERS if OFFSET in parameters else []
        return extend_schema(parameters=[*parameters, *headers])(view)

    return declare


def parameter_problems(view: Any, request: HttpRequest) -> dict[str, list[str]]:
    """Return parameter → messages for those that the view does not know or that no view could use.

    There are none where the view doesn't take the method, for then that is the problem.
    """
    method = "get" if request.method == "HEAD" else str(request.method).lower()
    if method == "options" or not _serves(view, method):
        return {}
    known = {parameter.name: parameter for parameter in _declared(view, method)}
    problems = {
        name: known[name].problems(values) if name in known else ["This endpoint has no such query parameter."]
        for name, values in request.GET.lists()
    }
    return {name: messages for name, messages in problems.items() if messages}


def _serves(view: Any, method: str) -> bool:
    if hasattr(view, "actions"):
        return method in view.actions
    return not hasattr(view, "cls") or method in view.cls.http_method_names


def _declared(view: Any, method: str) -> tuple[QueryParameter, ...]:
    operation = getattr(view, "actions", {}).get(method, method)
    declared: dict[str, tuple[QueryParameter, ...]] = getattr(getattr(view, "cls", None), "query_parameters", {})
    return declared.get(operation, ())
