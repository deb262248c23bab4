"""Which volunteers fit a listing, in the words of the admin."""

from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import timezone

from ctj_api.matching import Coverage, SkillStatus
from ctj_api.models import Opportunity
from ctj_api.querysets import Requester
from ctj_api.ranking.availability import ComingWeek, FreeTime, Meeting
from ctj_api.ranking.live_index import count_volunteers
from ctj_api.ranking.matches import Match, Narrowing, VolunteerRanking
from ctj_api.serializers import VolunteerMatchReadSerializer

# So many are shown; where more than these meet everything, the skills don't say who is best.
BEST = 10
MAX_NAMED = 8  # skills in a mail: programs for mail take addresses of some 2,000 characters only


def who_fits(listing: Opportunity, reader: Requester) -> dict[str, Any]:
    """Return the best candidates of a stored listing, and a sentence about all of them."""
    return tell(listing, VolunteerRanking(listing, Narrowing(), timezone.now())[:BEST], reader)


def tell(listing: Opportunity, matches: list[Match], reader: Requester) -> dict[str, Any]:
    """Return ``matches`` as the API tells them with what the admin adds, and a sentence about all candidates.

    Times are on the clock of the listing's meetings, or on that of the admin where it has none.
    """
    required = listing.skills_required_matrix.levels
    zone = listing.meetings["timezone"] if listing.meetings else settings.ADMIN_TIME_ZONE
    week, clock = ComingWeek(timezone.now()), FreeTime({"timezone": zone, "slots": []})
    told = VolunteerMatchReadSerializer(matches, many=True).data
    for match, exact in zip(told, matches, strict=True):
        match["percent"] = exact.score.covered * 100 // exact.score.required  # 100 only where all is met
        match["free"] = _free_times(week.meetings(exact.volunteer.meeting_availability, clock))
        match["changed_at"] = exact.volunteer.updated_at
        match["mail"] = partial(_mail, listing, match, reader)  # which only pages write, and no file
    summary = coverage_text(required, count_volunteers({None: required})[None])
    return {"listing": listing, "summary": summary, "zone": zone, "matches": told}


def coverage_text(required: dict[str, int], coverage: Coverage) -> str:
    """Return in words how many volunteers there are for ``required``."""
    partly = coverage.overlapping - coverage.complete
    context = {"required": required, "coverage": coverage, "partly": partly, "best": BEST}
    return render_to_string("ctj_api/coverage.txt", context).strip()


def _free_times(slots: list[Meeting]) -> list[str]:
    """Return slots in words, with the days of equal times together: "Mon, Wed 18:00 to 20:00"."""
    days: dict[str, list[str]] = {}
    for local in filter(None, (slot["local"] for slot in slots)):
        days.setdefault(f"{local['start']} to {local['end']}", []).append(local["day"].title())
    return [f"{', '.join(names)} {times}" for times, names in days.items()]


def _mail(listing: Opportunity, match: dict[str, Any], sender: Requester) -> str:
    """Return the link to a mail to the volunteer that is begun already."""
    fitting = [skill["name"] for skill in match["skills"] if skill["status"] == SkillStatus.MET][:MAX_NAMED]
    context = {"listing": listing, "volunteer": match["volunteer"], "fitting": fitting, "sender": sender}
    text = render_to_string("ctj_api/mail/candidate.txt", context).replace("\n", "\r\n")
    parts = urlencode({"subject": f"Volunteering: {listing}", "body": text}, quote_via=quote)
    return f"mailto:{quote(match['volunteer']['email'], safe='@')}?{parts}"
