"""The first page of a project manager: how many of their own listings need attention, and links to them."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from ctj_api.enums import Status
from ctj_api.models import Opportunity
from ctj_api.querysets import Requester
from ctj_api.ranking.live_index import count_volunteers

LONG_OPEN = timedelta(days=60)
# To count who meets everything takes some 10 ms a listing where there are 100,000 volunteers.
MAX_COUNTED = 100
GROUPS = {
    "drafts": "Drafts to finish",
    "long_open": f"Open for more than {LONG_OPEN.days} days",
    "unmet": "Open, and nobody meets everything",
    "filled": "Filled this month",
}


def in_group(own: QuerySet[Opportunity], group: str) -> QuerySet[Opportunity]:
    """Return those of ``own`` that are in a group; raises a ``ValueError`` where there is no such group."""
    match group:
        case "drafts":
            return own.filter(status=Status.DRAFT)
        case "long_open":
            opened_at = Coalesce("opened_at", "created_at")
            return own.alias(since=opened_at).filter(status=Status.OPEN, since__lt=Now() - LONG_OPEN)
        case "unmet":
            newest = own.filter(status=Status.OPEN).order_by("-created_at", "pk")[:MAX_COUNTED]
            coverages = count_volunteers(dict(newest.values_list("pk", "skills_required_matrix__levels")))
            return own.filter(pk__in=[pk for pk, coverage in coverages.items() if not coverage.complete])
        case "filled":
            first = timezone.localtime().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            return own.filter(filled_at__gte=first)
        case _:
            raise ValueError(group)


class AttentionFilter(admin.SimpleListFilter):
    """Narrows the list to those of one's own listings that the first page counts."""

    title = "your own"
    parameter_name = "own"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the groups."""
        return list(GROUPS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Opportunity]) -> QuerySet[Opportunity]:
        """Return the listings of the chosen group, or all."""
        chosen = self.value()
        return in_group(queryset.filter(created_by=request.user.pk), chosen) if chosen else queryset


def overview(user: Requester) -> list[dict[str, Any]]:
    """Return for each group its label, how many of the user's listings are in it, and the URL of their list."""
    changelist = "admin:ctj_api_opportunity_changelist"
    own = Opportunity.objects.filter(created_by=user.pk)
    return [
        {"label": label, "count": in_group(own, key).count(), "url": reverse(changelist, query={"own": key})}
        for key, label in GROUPS.items()
    ]
