"""The filters of each list, which its view applies and the OpenAPI document describes."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from django.db import models

from .enums import Experience, Ordering, Status, WorkEnvironment
from .http.query_parameters import (
    ChoiceField,
    ChoicesField,
    CommunityField,
    PagedFilterSet,
    Parameter,
    RowField,
    ScoreField,
    SearchField,
    Setting,
    SkillIdsField,
    StrictFilterSet,
    SwitchField,
    WholeNumberField,
)
from .models import Project, Role
from .querysets import OpportunityQuerySet
from .ranking.matches import Narrowing
from .search import SearchQuerySet
from .validators import MAX_HOURS

DEFAULT_MATCH_LIMIT = 20
MAX_MATCH_LIMIT = 100
ME = "me"
_ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def _find(queryset: SearchQuerySet[models.Model], _: str, text: str) -> SearchQuerySet[models.Model]:
    return queryset.search(text)


def _search(places: str) -> Parameter:
    description = f"Words, all of which must stand in {places}, in any grammatical form; the last may be unfinished."
    return Parameter(SearchField(), "react", description, allow_empty=True, method=_find)


def _community(field_name: str) -> Parameter:
    description = "A community of practice, by id or by its `practice_area`."
    return Parameter(CommunityField(), "engineering", description, field_name=field_name)


def _any_of(choices: type[models.TextChoices], *documentation: str, allow_empty: bool = False) -> Parameter:
    return Parameter(ChoicesField(choices), *documentation, allow_empty=allow_empty, lookup_expr="in")


class SkillFilter(StrictFilterSet):
    """Skills of a community, or with words in their name or description."""

    community_of_practice = _community("communities_of_practice")
    search = _search("the name or the description")


class RoleFilter(StrictFilterSet):
    """Roles of a community."""

    community_of_practice = _community("community_of_practice")


class ProjectFilter(StrictFilterSet):
    """Projects with words in their name."""

    search = _search("the name")


class OpportunityFilter(StrictFilterSet):
    """Opportunities by what they ask for and offer."""

    work_environment = _any_of(WorkEnvironment, "remote", "Where the work is done.")
    min_experience_required = _any_of(
        Experience,
        "junior",
        "How much experience is asked for; the empty value finds those that ask for none.",
        allow_empty=True,
    )
    project = Parameter(RowField(Project), _ID, "The id of a project.")
    role = Parameter(RowField(Role), _ID, "The id of a role.")
    community_of_practice = _community("role__community_of_practice")
    skill = Parameter(SkillIdsField(), _ID, "The id of a skill that is required, at any level.", method="filter_skills")
    max_hours = Parameter(
        WholeNumberField(0, MAX_HOURS),
        6,
        "No more hours a week than these are asked for.",
        field_name="min_hours_required",
        lookup_expr="lte",
    )
    search = _search("the role's title, the project's name, the names of the required skills or the description")

    def filter_skills(self, queryset: OpportunityQuerySet, name: str, skills: list[str]) -> OpportunityQuerySet:
        """Return the opportunities that require any of ``skills``."""
        return queryset.requiring_any(skills)


class OpportunityListFilter(OpportunityFilter, PagedFilterSet):
    """The filters of the listing, which are also about its writing, and its order."""

    status = _any_of(Status, "open", "Where the listing stands.")
    created_by = Parameter(
        ChoiceField([ME]), ME, "`me` for what the signed-in user has posted.", method="filter_created_by"
    )
    ordering = Parameter(
        ChoiceField(Ordering.values),
        Ordering.RECENTLY_CHANGED,
        "The order, with `-` for descending, and by id among equals. "
        f"`{Ordering.RELEVANCE}` puts the best hits of `search` first, the newest among equals.",
        default=Ordering.NEWEST,
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
        found: Any = self.qs
        page = self.page.rows
        if not self.form.cleaned_data.get("search"):
            count = found.count()
            return count, list(found[page].values_list(*columns)) if page.start < count else []
        count, ids = found.hits(page)
        rows = {row[0]: row for row in found.order_by().filter(pk__in=ids).values_list(*columns)} if ids else {}
        return count, [rows[pk] for pk in ids if pk in rows]


class MatchFilter(PagedFilterSet):
    """How far a ranking is narrowed."""

    min_score = Setting(
        ScoreField(),
        0.5,
        "The lowest score to list; compared with the exact score, before it is rounded.",
        default=0,
    )
    require_all = Setting(SwitchField(), True, "`true` lists only where every required skill is met.", default=False)
    fits = Setting(
        SwitchField("all"),
        True,
        "`true` leaves out where `fits_hours` or `fits_meetings` is false, `all` where `fits_hours` or "
        "`fits_all_meetings` is.",
        default=False,
    )
    limit = Setting(WholeNumberField(1, MAX_MATCH_LIMIT), 10, "How many rows at most.", default=DEFAULT_MATCH_LIMIT)

    @property
    def narrowing(self) -> Narrowing:
        """What the request asks for."""
        minimum, fits = Fraction(self.value_of("min_score")), self.value_of("fits")
        return Narrowing(minimum, self.value_of("require_all"), fits=bool(fits), fits_all=fits == "all")


class OpportunityMatchFilter(MatchFilter, OpportunityFilter):
    """How far the ranking of opportunities is narrowed, by their filters as well."""

    @property
    def is_filtered(self) -> bool:
        """Whether some of the opportunities are left out before they are ranked."""
        return any(name in self.query for name in OpportunityFilter.base_filters)
