"""The list of opportunities in the admin: its filters, and what its columns need, loaded once for a page."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

from ctj_api.enums import Status
from ctj_api.models import Opportunity
from ctj_api.ranking.live_index import count_volunteers

from .skill_index import SkillIndex

CURRENT = (Status.DRAFT, Status.OPEN, Status.ON_HOLD)
ARCHIVED = (Status.FILLED, Status.CLOSED)


class OpportunityChangeList(ChangeList):
    """A page of opportunities, each with the names of its skills and how many volunteers it goes with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "Your opportunities" if PostedByFilter.is_on(self.params) else "Opportunities"

    def get_results(self, request: HttpRequest) -> None:
        """Load the page, and with two queries more what all of its rows need."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        counts = count_volunteers({row.pk: row.skills_required_matrix.levels for row in self.result_list})
        skills = SkillIndex()
        for row in self.result_list:
            row.volunteer_count = counts[row.pk]
            row.rated_skills = skills.rated(row.skills_required_matrix.levels)


class PostedByFilter(admin.SimpleListFilter):
    """Narrows to one's own listings."""

    title = "who posted it"
    parameter_name = "posted_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the one choice besides everybody."""
        return [("me", "Me")]

    @classmethod
    def is_on(cls, params: dict[str, Any]) -> bool:
        """Return whether the page with these parameters is narrowed so."""
        return params.get(cls.parameter_name) == "me"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Opportunity]) -> QuerySet[Opportunity]:
        """Return the listings of the requester, or all."""
        return queryset.filter(created_by=request.user.pk) if self.value() == "me" else queryset


class StatusFilter(admin.SimpleListFilter):
    """Narrows to a status, to what is current, or to the archive."""

    title = "status"
    parameter_name = "status"
    groups = {"current": CURRENT, "archive": ARCHIVED}  # noqa: RUF012 (never changed)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the two groups, and each status."""
        return [
            ("current", "Current"),
            ("archive", "Archive"),
            *((str(value), label) for value, label in Status.choices),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Opportunity]) -> QuerySet[Opportunity]:
        """Return the listings with the chosen status, or all."""
        chosen = self.value()
        return queryset.filter(status__in=self.groups.get(chosen, (chosen,))) if chosen else queryset
