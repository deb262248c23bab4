"""The filters of each list, which its view applies and the OpenAPI document describes."""

from collections.abc import Iterable
from typing import Any

from .enums import Experience, Ordering, Status, WorkEnvironment
from .http import query_parameters as fields
from .http.query_parameters import PagedFilterSet, Parameter, Setting, StrictFilterSet
from .models import CommunityOfPractice, Project, Role
from .querysets import OpportunityQuerySet
from .ranking.matches import Narrowing
from .validators import MAX_HOURS


def _community(path: str) -> Parameter:
    return Parameter(fields.RowField(CommunityOfPractice), field_name=path)


def _search(places: str, by: str = "search") -> Parameter:
    field = fields.SearchField()
    return Parameter(field, places, allow_empty=True, method=lambda rows, _, text: getattr(rows, by)(text))


class SkillFilter(StrictFilterSet):
    """Skills of a community, or with words in their name or description."""

    community_of_practice = _community("communities_of_practice")
    search = _search("the name, other names or the description", by="ranked_search")


class RoleFilter(StrictFilterSet):
    """Roles of a community."""

    community_of_practice = _community("community_of_practice")


class ProjectFilter(StrictFilterSet):
    """Projects with words in their name."""

    search = _search("the name")


class OpportunityFilter(StrictFilterSet):
    """Opportunities by what they ask for and offer."""

    work_environment = Parameter(fields.ChoicesField(WorkEnvironment.values), lookup_expr="in")
    min_experience_required = Parameter(fields.ChoicesField(Experience.values), lookup_expr="in", allow_empty=True)
    project = Parameter(fields.RowField(Project))
    role = Parameter(fields.RowField(Role))
    community_of_practice = _community("role__community_of_practice")
    skill = Parameter(fields.SkillIdsField(), method=lambda rows, _, skills: rows.requiring_any(skills))
    max_hours = Parameter(fields.WholeNumberField(0, MAX_HOURS), field_name="min_hours_required", lookup_expr="lte")
    search = _search("the role's title, the project's name, the names of the required skills or the description")


class OpportunityListFilter(OpportunityFilter, PagedFilterSet):
    """The filters of the listing, which are also about its writing, and its order."""

    status = Parameter(fields.ChoicesField(Status.values), lookup_expr="in")
    created_by = Parameter(fields.ChoiceField(["me"]), method="filter_created_by")
    ordering = Parameter(fields.ChoiceField(Ordering.values), default=Ordering.NEWEST, method="order")

    def problems(self) -> dict[str, list[str]]:
        """Return parameter → messages, also for what only means something together with another or a session."""
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
        """Return how many opportunities are found, and the ``columns`` of those on the page, the id first."""
        found: Any = self.qs
        page = self.page
        if not self.form.cleaned_data.get("search"):
            count = found.count()
            return count, list(found[page].values_list(*columns)) if page.start < count else []
        count, ids = found.hits(page)
        rows = {row[0]: row for row in found.order_by().filter(pk__in=ids).values_list(*columns)} if ids else {}
        return count, [rows[pk] for pk in ids if pk in rows]


class MatchFilter(PagedFilterSet):
    """How far a ranking is narrowed."""

    min_score = Setting(fields.ScoreField(), default=0)
    require_all = Setting(fields.SwitchField(), default=False)
    fits = Setting(fields.SwitchField("all"), default=False)
    limit = Setting(fields.WholeNumberField(1, 100), default=20)

    @property
    def narrowing(self) -> Narrowing:
        """What the request asks for."""
        minimum, fits = self.value_of("min_score"), self.value_of("fits")
        enough = {"all": all, True: any}.get(fits)
        return Narrowing(minimum, self.value_of("require_all"), hours=bool(fits), meetings=enough)


class OpportunityMatchFilter(MatchFilter, OpportunityFilter):
    """How far the ranking of opportunities is narrowed, by their filters as well."""

    @property
    def is_filtered(self) -> bool:
        """Whether some of the opportunities are left out before they are ranked."""
        return any(name in self.query for name in OpportunityFilter.base_filters)
