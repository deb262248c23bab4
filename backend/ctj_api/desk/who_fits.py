"""Which volunteers fit a listing, as the admin tells project managers."""

from typing import Any

from django.utils import timezone

from ctj_api.matching import Coverage, Score
from ctj_api.models import Opportunity
from ctj_api.ranking.live_index import count_volunteers
from ctj_api.ranking.matches import Narrowing, VolunteerRanking
from ctj_api.serializers import VolunteerMatchReadSerializer

# So many are shown; where more than these meet everything, the skills don't say who is best.
BEST = 10
TOO_LITTLE = f" More than {BEST} are many: the listing probably asks too little. Is there a skill that it doesn't name?"


def who_fits(listing: Opportunity) -> dict[str, Any]:
    """Return the best matches of a stored listing as the API ranks them, and a sentence about all of them."""
    required = listing.skills_required_matrix.levels
    best = VolunteerRanking(listing, Narrowing(), timezone.now())[:BEST]
    told = VolunteerMatchReadSerializer(best, many=True).data
    summary = coverage_text(required, count_volunteers({None: required})[None])
    pairs = zip(told, best, strict=True)
    matches = [{**match, "percent": _percent(exact.score)} for match, exact in pairs]
    return {"summary": summary, "matches": matches}


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
