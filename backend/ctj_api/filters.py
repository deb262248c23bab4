"""The query parameters of each list: one filter set reads them, refuses what it can't use, and documents them."""

import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, Self

import django_filters
from django import forms
from django.db import models
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from .enums import Experience, Ordering, PracticeArea, Status, WorkEnvironment
from .exceptions import NO_SUCH_PARAMETER
from .models import CommunityOfPractice, Project, Role, Skill
from .querysets import OpportunityQuerySet, SkillQuerySet
from .ranking.matches import Narrowing
from .validators import MAX_HOURS, clean_whole_number, is_uuid, unknown_skill

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
DEFAULT_MATCH_LIMIT = 20
MAX_MATCH_LIMIT = 100
MAX_OFFSET = 1_000_000_000
MAX_SEARCH = 200
MAX_SCORE_DIGITS = 21
ME = "me"
# What Django makes of a byte that is no UTF-8.
REPLACEMENT_CHARACTER = "\ufffd"
PAGE_HEADERS = [
    OpenApiParameter(
        "X-Total-Count", int, OpenApiParameter.HEADER, description="How many rows there are in all.", response=[200]
    ),
    OpenApiParameter(
        "Link", str, OpenApiParameter.HEADER, description="RFC 8288: `first`, `prev`, `next`, `last`.", response=[200]
    ),
]
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_UUID = {"type": "string", "format": "uuid"}
_SWITCH = {"type": "boolean", "default": False}
_ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def _choice_messages(values: Iterable[str]) -> dict[str, str]:
    """Return the message for a value that is none of ``values``; Django fills in the value that was given."""
    names = ", ".join(value or '"" (any)' for value in values)
    return {"invalid_choice": f'"%(value)s" is not one of {names}.'}


class ChoiceField(forms.ChoiceField):
    """One of a few words."""

    def __init__(self, values: list[str]) -> None:
        super().__init__(choices=[(value, value) for value in values], error_messages=_choice_messages(values))


class ChoicesField(forms.MultipleChoiceField):
    """Any of a few words."""

    def __init__(self, choices: type[models.TextChoices]) -> None:
        super().__init__(choices=choices.choices, error_messages=_choice_messages(choices.values))


class SwitchField(ChoiceField):
    """``true`` or ``false``, the latter when absent."""

    def __init__(self) -> None:
        super().__init__(["true", "false"])

    def clean(self, value: Any) -> bool:
        """Return whether it is on; raises a ``ValidationError`` for anything but the two words."""
        return bool(super().clean(value) == "true")


class RowField(forms.ModelChoiceField[models.Model]):
    """A row, given by its id with the hyphens, as everywhere else."""

    def __init__(self, model: type[models.Model]) -> None:
        message = f"There is no such {model._meta.verbose_name}. Give its id."
        super().__init__(model._default_manager.all(), error_messages={"invalid_choice": message})

    def to_python(self, value: Any) -> Any:
        """Return the row; raises a ``ValidationError`` where there is none."""
        if value and not is_uuid(value):
            raise forms.ValidationError(self.error_messages["invalid_choice"], code="invalid_choice")
        return super().to_python(value)


class CommunityField(forms.CharField):
    """A community of practice, given by its id or its practice area."""

    def clean(self, value: Any) -> CommunityOfPractice | None:
        """Return the community; raises a ``ValidationError`` where there is none."""
        if value is None:
            return None
        name = "practice_area" if value in PracticeArea.values else "pk"
        known = name == "practice_area" or is_uuid(value)
        community = CommunityOfPractice.objects.filter(**{name: value}).first() if known else None
        if community is None:
            raise forms.ValidationError(
                f"There is no such community of practice. Give its id or one of {', '.join(PracticeArea.values)}."
            )
        return community


class SkillIdsField(forms.Field):
    """Skills, given by their ids in any case."""

    widget = forms.SelectMultiple

    def clean(self, value: list[str]) -> list[str]:
        """Return the ids in lower case; raises a ``ValidationError`` that names those of no skill."""
        known = Skill.objects.names_of(value)
        if problems := [unknown_skill(id_) for id_ in value if id_.lower() not in known]:
            raise forms.ValidationError(problems)
        return list(known)


class WholeNumberField(forms.CharField):
    """A whole number in a range."""

    def __init__(self, lowest: int, highest: int, default: int | None = None) -> None:
        super().__init__()
        self._range = lowest, highest
        self._default = default

    def clean(self, value: Any) -> int | None:
        """Return the number, or the default; raises a ``ValidationError`` for anything else."""
        return self._default if value is None else clean_whole_number(str(value), *self._range)


class ScoreField(forms.DecimalField):
    """A number from 0 to 1, as JSON writes numbers."""

    def __init__(self) -> None:
        super().__init__(min_value=0, max_value=1, max_digits=MAX_SCORE_DIGITS, decimal_places=MAX_SCORE_DIGITS - 1)

    def clean(self, value: Any) -> Decimal | None:
        """Return the number; raises a ``ValidationError`` for other ways to write one."""
        if value and not _NUMBER.fullmatch(str(value)):
            raise forms.ValidationError("Give a number from 0 to 1.")
        return super().clean(value)


class Parameter(django_filters.Filter):
    """A query parameter: the form field that reads it, and what the OpenAPI document says of it."""

    def __init__(
        self,
        form_field: forms.Field,
        schema: dict[str, Any],
        example: object,
        description: str,
        *,
        allow_empty: bool = False,
        **lookup: Any,
    ) -> None:
        super().__init__(**lookup)
        form_field.required = False
        self._form_field = form_field
        self.is_repeatable = isinstance(form_field.widget, forms.SelectMultiple)
        self._schema = schema
        self._example = example
        self._description = description
        self._allow_empty = allow_empty

    @property
    def field(self) -> forms.Field:
        """The form field."""
        return self._form_field

    def problems(self, values: list[str]) -> list[str]:
        """Return what is wrong with the values that a request gives, whatever they mean."""
        if len(values) > 1 and not self.is_repeatable:
            return ["Give this query parameter once."]
        if "" in values and not self._allow_empty:
            return ["Give this query parameter a value, or leave it out."]
        if any(REPLACEMENT_CHARACTER in value for value in values):
            return ["This is not UTF-8."]
        return []

    def documented(self, name: str) -> OpenApiParameter:
        """Return what the OpenAPI document says of it."""
        schema, example, description = self._schema, self._example, self._description
        if self.is_repeatable:
            schema, example = {"type": "array", "items": schema}, [example]
            description = f"{description} May be repeated: any of the values will do."
        return OpenApiParameter(
            name, schema, description=description, examples=[OpenApiExample("Example", value=example)]
        )


class Setting(Parameter):
    """A query parameter that leaves the rows alone: it says how they are ranked, or which of them are told."""

    def filter(self, qs: Any, value: Any) -> Any:
        """Return all rows."""
        return qs


def _search(description: str, **lookup: Any) -> Parameter:
    schema = {"type": "string", "maxLength": MAX_SEARCH, "pattern": "^[^\\u0000]*$"}
    field = forms.CharField(max_length=MAX_SEARCH)
    return Parameter(field, schema, "react", description, allow_empty=True, **lookup)


def _community(field_name: str) -> Parameter:
    schema = {"anyOf": [_UUID, {"type": "string", "enum": PracticeArea.values}]}
    description = "A community of practice, by id or by its `practice_area`."
    return Parameter(CommunityField(), schema, "engineering", description, field_name=field_name)


def _any_of(
    choices: type[models.TextChoices], example: str, description: str, *, allow_empty: bool = False
) -> Parameter:
    schema = {"type": "string", "enum": choices.values}
    return Parameter(ChoicesField(choices), schema, example, description, allow_empty=allow_empty, lookup_expr="in")


def _limit(default: int, maximum: int) -> Setting:
    schema = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
    return Setting(WholeNumberField(1, maximum, default), schema, 10, "How many rows at most.")


class Page(NamedTuple):
    """Which rows of a long list a request asks for."""

    limit: int
    offset: int

    @property
    def rows(self) -> slice:
        """The rows as a slice of the list."""
        return slice(self.offset, self.offset + self.limit)


class StrictFilterSet(django_filters.FilterSet):
    """The query parameters of a list, of which none is ignored."""

    base_filters: dict[str, Parameter]

    @classmethod
    def read(cls, request: Request, queryset: models.QuerySet[Any]) -> Self:
        """Return what a request asks of ``queryset``; raises DRF's ``ValidationError`` naming each bad parameter."""
        filters = cls(request.query_params, queryset=queryset, request=request)
        if problems := filters.problems():
            raise ValidationError(problems)
        return filters

    @classmethod
    def narrow[Rows: models.QuerySet[Any]](cls, request: Request, queryset: Rows) -> Rows:
        """Return the rows of ``queryset`` that a request asks for."""
        return cls.read(request, queryset).qs if request.query_params else queryset

    def problems(self) -> dict[str, list[str]]:
        """Return parameter → messages for those that are unknown or can't be used."""
        problems = {name: list(messages) for name, messages in self.errors.items()}
        for name, values in self.data.lists():
            known = self.base_filters.get(name)
            if messages := known.problems(values) if known else [NO_SUCH_PARAMETER]:
                problems[name] = messages
        return problems

    @classmethod
    def documented(cls) -> list[OpenApiParameter]:
        """Return what the OpenAPI document says of the parameters."""
        return [parameter.documented(name) for name, parameter in cls.base_filters.items()]


class PagedFilterSet(StrictFilterSet):
    """The query parameters of a list that comes in pages; each such list has a ``limit`` of its own."""

    limit = _limit(DEFAULT_LIMIT, MAX_LIMIT)
    offset = Setting(
        WholeNumberField(0, MAX_OFFSET, 0),
        {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
        20,
        "Rows to skip.",
    )

    @property
    def page(self) -> Page:
        """The page that is asked for."""
        values = self.form.cleaned_data
        return Page(values["limit"], values["offset"])

    @classmethod
    def documented(cls) -> list[OpenApiParameter]:
        """Return what the OpenAPI document says of the parameters, and of the headers of a page."""
        return [*super().documented(), *PAGE_HEADERS]


class SkillFilter(StrictFilterSet):
    """Skills of a community, or with a text in their name or description."""

    community_of_practice = _community("communities_of_practice")
    search = _search("Text that the name or the description contains, in any case.", method="filter_search")

    def filter_search(self, queryset: SkillQuerySet, name: str, text: str) -> SkillQuerySet:
        """Return the skills that have ``text`` in their name or description."""
        return queryset.search(text)


class RoleFilter(StrictFilterSet):
    """Roles of a community."""

    community_of_practice = _community("community_of_practice")


class ProjectFilter(StrictFilterSet):
    """Projects with a text in their name."""

    search = _search("Text that the name contains, in any case.", field_name="name", lookup_expr="icontains")


class OpportunityFilter(StrictFilterSet):
    """Opportunities by what they ask for and offer."""

    work_environment = _any_of(WorkEnvironment, "remote", "Where the work is done.")
    min_experience_required = _any_of(
        Experience,
        "junior",
        "How much experience is asked for; the empty value finds those that ask for none.",
        allow_empty=True,
    )
    project = Parameter(RowField(Project), _UUID, _ID, "The id of a project.")
    role = Parameter(RowField(Role), _UUID, _ID, "The id of a role.")
    community_of_practice = _community("role__community_of_practice")
    skill = Parameter(
        SkillIdsField(), _UUID, _ID, "The id of a skill that is required, at any level.", method="filter_skills"
    )
    max_hours = Parameter(
        WholeNumberField(0, MAX_HOURS),
        {"type": "integer", "minimum": 0, "maximum": MAX_HOURS},
        6,
        "No more hours a week than these are asked for.",
        field_name="min_hours_required",
        lookup_expr="lte",
    )
    search = _search(
        "Words that the role's title, the project's name, the names of the required skills and the description "
        "contain, all of them, in any grammatical form; the last one may be unfinished.",
        method="filter_search",
    )

    def filter_skills(self, queryset: OpportunityQuerySet, name: str, skills: list[str]) -> OpportunityQuerySet:
        """Return the opportunities that require any of ``skills``."""
        return queryset.requiring_any(skills)

    def filter_search(self, queryset: OpportunityQuerySet, name: str, text: str) -> OpportunityQuerySet:
        """Return the opportunities that ``text`` is found in."""
        return queryset.search(text)


class OpportunityListFilter(OpportunityFilter, PagedFilterSet):
    """The filters of the listing, which are also about its writing, and its order."""

    status = _any_of(Status, "open", "Where the listing stands.")
    created_by = Parameter(
        ChoiceField([ME]),
        {"type": "string", "enum": [ME]},
        ME,
        "`me` for what the signed-in user has posted.",
        method="filter_created_by",
    )
    ordering = Parameter(
        ChoiceField(Ordering.values),
        {"type": "string", "enum": Ordering.values, "default": Ordering.NEWEST},
        Ordering.RECENTLY_CHANGED,
        "The order, with `-` for descending, and by id among equals. "
        f"`{Ordering.RELEVANCE}` puts the best hits of `search` first, the newest among equals.",
        method="order",
    )

    def problems(self) -> dict[str, list[str]]:
        """Return parameter → messages, those included that only mean something together with another or a session."""
        problems = super().problems()
        values = self.form.cleaned_data
        if values.get("created_by") and not self.request.user.is_authenticated:
            problems["created_by"] = ["Sign in to ask for what you have posted."]
        if values.get("ordering") == Ordering.RELEVANCE and not values.get("search"):
            problems["ordering"] = [f'"{Ordering.RELEVANCE}" needs a search.']
        return problems

    def filter_created_by(self, queryset: OpportunityQuerySet, name: str, value: str) -> OpportunityQuerySet:
        """Return what the signed-in user has posted."""
        return queryset.filter(created_by=self.request.user.pk)

    def order(self, queryset: OpportunityQuerySet, name: str, ordering: str) -> OpportunityQuerySet:
        """Return the opportunities in the order asked for."""
        if ordering == Ordering.RELEVANCE:
            return queryset.by_relevance(self.form.cleaned_data["search"])
        return queryset.order_by(ordering, "id")

    def read_page(self, columns: Iterable[str]) -> tuple[int, list[tuple[Any, ...]]]:
        """Return how many opportunities are found, and of those on the page the ``columns``, with the id first."""
        found, page = self.qs, self.page.rows
        if not self.form.cleaned_data["search"]:
            count = found.count()
            return count, list(found[page].values_list(*columns)) if page.start < count else []
        count, ids = found.hits(page)
        rows = {row[0]: row for row in found.order_by().filter(pk__in=ids).values_list(*columns)} if ids else {}
        return count, [rows[pk] for pk in ids if pk in rows]


class MatchFilter(PagedFilterSet):
    """How far a ranking is narrowed."""

    min_score = Setting(
        ScoreField(),
        {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
        0.5,
        "The lowest score to list; compared with the exact score, before it is rounded.",
    )
    require_all = Setting(SwitchField(), _SWITCH, True, "`true` lists only where every required skill is met.")
    fits = Setting(SwitchField(), _SWITCH, True, "`true` leaves out where `fits_hours` or `fits_meetings` is false.")
    limit = _limit(DEFAULT_MATCH_LIMIT, MAX_MATCH_LIMIT)

    @property
    def narrowing(self) -> Narrowing:
        """What the request asks for."""
        values = self.form.cleaned_data
        return Narrowing(Fraction(values["min_score"] or 0), values["require_all"], values["fits"])


class OpportunityMatchFilter(MatchFilter, OpportunityFilter):
    """How far the ranking of opportunities is narrowed, by their filters as well."""

    @property
    def is_filtered(self) -> bool:
        """Whether some of the opportunities are left out before they are ranked."""
        return any(name in self.data for name in OpportunityFilter.base_filters)
