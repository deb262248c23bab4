"""The candidates of a listing: all volunteers that the API ranks for it, in pages or as a CSV file."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from ctj_api.models import Opportunity
from ctj_api.ranking.matches import Narrowing, VolunteerRanking

from .csv_file import csv_response
from .site import DeskAdmin
from .who_fits import tell

A_PAGE = 25
WORDS = {True: "yes", False: "no", None: "not given"}
COLUMNS = (
    *("name", "address", "percent", "skills", "hours a week"),
    *("hours fit", "meetings fit", "free times", "last change"),
)


class CandidateFilter(forms.Form):
    """How far the ranking is narrowed."""

    hours = forms.BooleanField(required=False, label="Hours fit")
    meetings = forms.ChoiceField(
        choices=[("", "any"), ("some", "at least one fits"), ("all", "all fit")], required=False
    )
    meets_all = forms.BooleanField(required=False, label="Meets all skills")
    min_percent = forms.IntegerField(required=False, min_value=0, max_value=100, label="At least, in %")

    @property
    def narrowing(self) -> Narrowing:
        """What the form asks for, in the terms of the API."""
        values = self.cleaned_data
        return Narrowing(
            min_score=Fraction(values["min_percent"] or 0, 100),
            require_all=values["meets_all"],
            hours=values["hours"],
            meetings={"some": any, "all": all}.get(values["meetings"]),
        )


class CandidatePages(DeskAdmin[Opportunity]):
    """The page of the candidates, for those who may read the listing."""

    @method_decorator(require_safe)
    def candidates_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Return a page of the ranking, best first, or all of it as a file."""
        listing = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_view_permission(request, listing):
            raise PermissionDenied
        form = CandidateFilter(request.GET)
        ranking: Any = VolunteerRanking(listing, form.narrowing, timezone.now()) if form.is_valid() else []
        if "csv" in request.GET:
            matches = tell(listing, ranking[:], request.user)["matches"]
            return csv_response("candidates", COLUMNS, map(_cells, matches))
        page = Paginator(ranking, A_PAGE).get_page(request.GET.get("page"))
        context = {"title": f"Candidates: {listing}", "form": form, "page": page}
        return self.show(request, "candidates", context | tell(listing, list(page), request.user))


def _cells(match: dict[str, Any]) -> Iterator[object]:
    volunteer = match["volunteer"]
    yield from (volunteer["name"], volunteer["email"], match["percent"])
    yield ", ".join(f"{skill['name']} {skill['have']}/{skill['required']}" for skill in match["skills"])
    yield volunteer["max_available_hours"]
    yield WORDS[match["fits_hours"]]
    yield "all" if match["fits_all_meetings"] else WORDS[match["fits_meetings"]]
    yield "; ".join(match["free"])
    yield f"{timezone.localtime(match['changed_at']):%Y-%m-%d}"
