"""Who fits a listing: the best in words, and the ranking of the API in pages or as a CSV file."""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from ctj_api.matching import Coverage, SkillStatus
from ctj_api.models import Opportunity
from ctj_api.querysets import Requester
from ctj_api.ranking.availability import ComingWeek, FreeTime, Meeting
from ctj_api.ranking.live_index import count_volunteers
from ctj_api.ranking.matches import Match, Narrowing, VolunteerRanking
from ctj_api.serializers import VolunteerMatchReadSerializer

from .csv_file import csv_response
from .site import DeskAdmin

A_PAGE = 25
# So many are shown as the best; where more than these meet everything, the listing asks too little to rank them.
BEST = 10
MAX_NAMED = 8  # skills in a mail: programs for mail take addresses of some 2,000 characters only
WORDS = {True: "yes", False: "no", None: "not given"}
COLUMNS = (
    "name", "address", "percent", "skills", "hours a week", "hours fit", "meetings fit",
    f"free times, {settings.ADMIN_TIME_ZONE}", "last change",
)  # fmt: skip


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
        if "csv" in request.GET and form.is_valid():
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
    meetings = "all" if match["fits_all_meetings"] else WORDS[match["fits_meetings"]]
    yield meetings if match["meetings"] else None
    yield "; ".join(match["free"])
    yield f"{timezone.localtime(match['changed_at']):%Y-%m-%d}"


def who_fits(listing: Opportunity, reader: Requester) -> dict[str, Any]:
    """Return the best candidates of a stored listing, and a sentence about all of them."""
    return tell(listing, VolunteerRanking(listing, Narrowing(), timezone.now())[:BEST], reader)


def tell(listing: Opportunity, matches: list[Match], reader: Requester) -> dict[str, Any]:
    """Return ``matches`` as the API tells them, but with all times on the clock of the admin."""
    required = listing.skills_required_matrix.levels
    week, clock = ComingWeek(timezone.now()), FreeTime({"timezone": settings.ADMIN_TIME_ZONE, "slots": []})
    posted = week.meetings(listing.meetings, clock)
    told = VolunteerMatchReadSerializer(matches, many=True).data
    for match, exact in zip(told, matches, strict=True):
        match["percent"] = exact.score.covered * 100 // exact.score.required  # 100 only where all is met
        free = exact.volunteer.meeting_availability
        match["meetings"] = [
            here | {"fits": each["fits"]} | (here["local"] or {})
            for here, each in zip(posted, match["meetings"], strict=True)
        ]
        match["free"] = _times_in_words(week.meetings(free, clock)) if free is None or free["slots"] else ["at no time"]
        match["changed_at"] = exact.volunteer.updated_at
        match["mail"] = partial(_mail, listing, match, reader)  # which only pages write, and no file
    summary = coverage_text(required, count_volunteers({None: required})[None])
    meetings, zone = _times_in_words(posted), settings.ADMIN_TIME_ZONE
    return {"listing": listing, "summary": summary, "meetings": meetings, "zone": zone, "matches": told}


def coverage_text(required: dict[str, int], coverage: Coverage) -> str:
    """Return in words how many volunteers there are for ``required``."""
    partly = coverage.overlapping - coverage.complete
    context = {"required": required, "coverage": coverage, "partly": partly, "best": BEST}
    return render_to_string("ctj_api/coverage.txt", context).strip()


def _times_in_words(slots: list[Meeting]) -> list[str]:
    """Return slots in words, with the days of equal times together: "Mon, Wed 18:00 to 20:00"."""
    days: dict[str, list[str]] = {}
    for local in filter(None, (slot["local"] for slot in slots)):
        later = "" if local["start"] < local["end"] else " the next day"
        days.setdefault(f"{local['start']} to {local['end']}{later}", []).append(local["day"].title())
    return [f"{', '.join(names)} {times}" for times, names in days.items()]


def _mail(listing: Opportunity, match: dict[str, Any], sender: Requester) -> str:
    fitting = [skill["name"] for skill in match["skills"] if skill["status"] == SkillStatus.MET][:MAX_NAMED]
    context = {"listing": listing, "volunteer": match["volunteer"], "fitting": fitting, "sender": sender}
    text = render_to_string("ctj_api/mail/candidate.txt", context).replace("\n", "\r\n")
    parts = urlencode({"subject": f"Volunteering: {listing}", "body": text}, quote_via=quote)
    return f"mailto:{quote(match['volunteer']['email'], safe='@')}?{parts}"
