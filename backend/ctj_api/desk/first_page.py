"""The first page of a project manager: which of their own listings want to be looked at, each with its list."""

from collections.abc import Callable
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


def _drafts(own: QuerySet[Opportunity]) -> QuerySet[Opportunity]:
    return own.filter(status=Status.DRAFT)


def _long_open(own: QuerySet[Opportunity]) -> QuerySet[Opportunity]:
    opened_at = Coalesce("opened_at", "created_at")
    return own.alias(since=opened_at).filter(status=Status.OPEN, since__lt=Now() - LONG_OPEN)


def _unmet(own: QuerySet[Opportunity]) -> QuerySet[Opportunity]:
    """Return those of the newest open ones that no volunteer meets all requirements of."""
    newest = own.filter(status=Status.OPEN).order_by("-created_at", "pk")[:MAX_COUNTED]
    coverages = count_volunteers(dict(newest.values_list("pk", "skills_required_matrix__levels")))
    return own.filter(pk__in=[pk for pk, coverage in coverages.items() if not coverage.complete])


def _filled_this_month(own: QuerySet[Opportunity]) -> QuerySet[Opportunity]:
    first = timezone.localtime().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return own.filter(filled_at__gte=first)


GROUPS: dict[str, tuple[str, Callable[[QuerySet[Opportunity]], QuerySet[Opportunity]]]] = {
    "drafts": ("Drafts to finish", _drafts),
    "long_open": (f"Open for more than {LONG_OPEN.days} days", _long_open),
    "unmet": ("Open, and nobody meets everything", _unmet),
    "filled": ("Filled this month", _filled_this_month),
}


class AttentionFilter(admin.SimpleListFilter):
    """Narrows the list to those of one's own listings that the first page counts."""

    title = "your own"
    parameter_name = "own"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the groups."""
        return [(key, label) for key, (label, _) in GROUPS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Opportunity]) -> QuerySet[Opportunity]:
        """Return the listings of the chosen group, or all; raises a ``ValueError`` where there is no such group."""
        chosen = self.value()
        if not chosen:
            return queryset
        if chosen not in GROUPS:
            raise ValueError(chosen)
        return GROUPS[chosen][1](queryset.filter(created_by=request.user.pk))


def overview(user: Requester) -> list[dict[str, Any]]:
    """Return for each group its label, how many of the user's listings are in it, and the URL of their list."""
    changelist = "admin:ctj_api_opportunity_changelist"
    own = Opportunity.objects.filter(created_by=user.pk)
    return [
        {"label": label, "count": select(own).count(), "url": reverse(changelist, query={"own": key})}
        for key, (label, select) in GROUPS.items()
    ]
