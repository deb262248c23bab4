"""Which volunteers fit a listing, in the words of the admin."""

from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.utils import timezone

from ctj_api.matching import Coverage, Score, SkillStatus
from ctj_api.models import Opportunity, UserProfile
from ctj_api.ranking.availability import ComingWeek, FreeTime, WeekSlots
from ctj_api.ranking.live_index import count_volunteers
from ctj_api.ranking.matches import Match, Narrowing, VolunteerRanking
from ctj_api.serializers import VolunteerMatchReadSerializer

# So many are shown; where more than these meet everything, the skills don't say who is best.
BEST = 10
TOO_LITTLE = f" More than {BEST} are many: the listing probably asks too little. Is there a skill that it doesn't name?"
MAX_NAMED = 8  # skills in a mail: programs for mail take addresses of some 2,000 characters only


def who_fits(listing: Opportunity, reader: UserProfile) -> dict[str, Any]:
    """Return the best candidates of a stored listing as the API ranks them, and a sentence about all of them."""
    best = VolunteerRanking(listing, Narrowing(), timezone.now())[:BEST]
    return {**about(listing), "matches": told(listing, best, reader)}


def about(listing: Opportunity) -> dict[str, Any]:
    """Return a sentence about all candidates of a listing, and the zone on whose clock their times are told."""
    required = listing.skills_required_matrix.levels
    summary = coverage_text(required, count_volunteers({None: required})[None])
    return {"listing": listing, "summary": summary, "zone": zone_of(listing)}


def zone_of(listing: Opportunity) -> str:
    """Return the time zone of the listing's meetings, or that of the admin where it has none."""
    return str(listing.meetings["timezone"] if listing.meetings else settings.ADMIN_TIME_ZONE)


def told(listing: Opportunity, matches: list[Match], reader: UserProfile) -> list[dict[str, Any]]:
    """Return matches as the API tells them, with what the admin tells besides."""
    week, zone = ComingWeek(timezone.now()), zone_of(listing)
    as_by_api = VolunteerMatchReadSerializer(matches, many=True).data
    return [
        {
            **api,
            "percent": _percent(match.score),
            "free": free_times(match.volunteer.meeting_availability, week, zone),
            "changed_at": match.volunteer.updated_at,
            "mail": _mail(listing, api, reader),
        }
        for api, match in zip(as_by_api, matches, strict=True)
    ]


def free_times(availability: WeekSlots | None, week: ComingWeek, zone: str) -> list[str]:
    """Return in words when a volunteer is free, on the clock of ``zone``, with the days of equal times together."""
    days: dict[str, list[str]] = {}
    for slot in week.meetings(availability, FreeTime({"timezone": zone, "slots": []})):
        local = slot["local"] or slot
        times = f"{local['start']} to {local['end']}"
        if local["timezone"] != zone:  # its clock is not known
            times += f" ({local['timezone']})"
        days.setdefault(times, []).append(local["day"].title())
    if availability and not days:
        return ["no time at all"]
    return [f"{', '.join(dict.fromkeys(on))} {times}" for times, on in days.items()]


def coverage_text(required: dict[str, int], coverage: Coverage) -> str:
    """Return in words how many volunteers there are for ``required``."""
    if not required:
        return "Nobody is matched with a listing that requires no skills."
    if not coverage.overlapping:
        return "No volunteer has any of these skills yet."
    complete = _volunteers(coverage.complete)
    partly = coverage.overlapping - coverage.complete
    more = f", {partly} {'meets' if partly == 1 else 'meet'} them in part" if partly else ""
    return f"{complete} all of these requirements{more}.{TOO_LITTLE if coverage.complete > BEST else ''}"


def _volunteers(number: int) -> str:
    return f"{number} volunteers meet" if number > 1 else f"{number or 'No'} volunteer meets"


def _percent(score: Score) -> int:
    """Return the score in percent, rounded down: 100 only where every requirement is met."""
    return score.covered * 100 // score.required


def _mail(listing: Opportunity, match: dict[str, Any], sender: UserProfile) -> str:
    """Return the link to a mail to the volunteer that is begun already."""
    volunteer = match["volunteer"]
    fitting = [skill["name"] for skill in match["skills"] if skill["status"] == SkillStatus.MET][:MAX_NAMED]
    lines = [
        f"Hello {volunteer['name']}".rstrip() + ",",
        f"We are looking for a volunteer: {listing}.",
        *([f"Your profile says that you bring what we need: {', '.join(fitting)}."] if fitting else []),
        "Would you like to hear more?",
        sender.get_full_name(),
    ]
    parts = {"subject": f"Volunteering: {listing}", "body": "\r\n\r\n".join(lines)}
    return f"mailto:{quote(volunteer['email'], safe='@')}?{urlencode(parts, quote_via=quote)}"
