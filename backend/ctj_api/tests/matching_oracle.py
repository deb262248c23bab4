"""The contract's formula, order and times, word by word and without an index, for tests to compare with."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ctj_api.matching import Levels
from ctj_api.validators import DAYS

QUARTER = timedelta(minutes=15)

type WeekSlots = dict[str, Any]
# From the levels of a candidate to what is required and what is learned.
type Pairing = Callable[[Levels], tuple[Levels, Levels]]


class Row[Id](NamedTuple):
    """A candidate as it is put into an index."""

    id: Id
    levels: Levels
    created: float


def with_volunteer(learned: Levels) -> Pairing:
    """Return the pairing of opportunities with a volunteer."""
    return lambda required: (required, learned)


def with_opportunity(required: Levels) -> Pairing:
    """Return the pairing of volunteers with an opportunity."""
    return lambda learned: (required, learned)


def naive_fraction(required: Levels, learned: Levels) -> Fraction:
    """Return the score; 0 where nothing is required."""
    covered = sum(min(learned.get(skill, 0), level) for skill, level in required.items())
    return Fraction(covered, sum(required.values()) or 1)


def naive_unmet(required: Levels, learned: Levels) -> list[str]:
    """Return the skills that are required at a higher level than they are there."""
    return [skill for skill in required if learned.get(skill, 0) < required[skill]]


def naive_ranking[Id](rows: Iterable[Row[Id]], pairing: Pairing, minimum: Fraction = Fraction(0)) -> list[Id]:
    """Return the ids of those that overlap, best first."""

    def order(row: Row[Id]) -> tuple[Any, ...]:
        required, learned = pairing(row.levels)
        unmet = len(naive_unmet(required, learned))
        return -naive_fraction(required, learned), unmet, -sum(required.values()), -row.created, row.id

    overlapping = [row for row in rows if naive_fraction(*pairing(row.levels)) > 0]
    return [row.id for row in sorted(overlapping, key=order) if naive_fraction(*pairing(row.levels)) >= minimum]


def naive_times(week: WeekSlots | None, availability: WeekSlots | None, now: datetime) -> dict[str, Any]:
    """Return what a match tells of meetings, which begin and end on quarters: each of these has to lie in a slot."""
    meetings = [naive_meeting(slot, week["timezone"], availability, now) for slot in week["slots"]] if week else []
    fits = [meeting["fits"] for meeting in meetings if meeting["fits"] is not None]
    return {
        "meetings": meetings,
        "fits_meetings": any(fits) if fits else None,
        "fits_all_meetings": all(fits) if fits else None,
    }


def naive_meeting(slot: dict[str, str], zone: str, availability: WeekSlots | None, now: datetime) -> dict[str, Any]:
    """Return a meeting as posted, its quarters read off the volunteer's clock, and whether all of them are free."""
    meeting = {"name": "", **slot, "timezone": zone, "local": None, "fits": None}
    quarters = _quarters(slot, now.astimezone(ZoneInfo(zone)))
    if availability is None or not quarters:
        return meeting
    own = ZoneInfo(availability["timezone"])
    first, end = quarters[0].astimezone(own), (quarters[-1] + QUARTER).astimezone(own)
    local = {
        "day": DAYS[first.weekday()],
        "start": f"{first.hour:02}:{first.minute:02}",
        "end": f"{end.hour or (0 if end.minute else 24):02}:{end.minute:02}",
        "timezone": availability["timezone"],
    }
    fits = all(_is_free(moment.astimezone(own), availability["slots"]) for moment in quarters)
    return {**meeting, "local": local, "fits": fits}


def _quarters(slot: dict[str, str], today: datetime) -> list[datetime]:
    """Return when the quarters of a slot begin, in UTC, on its day among the seven that begin today."""
    day = today.replace(hour=0, minute=0, second=0, microsecond=0)
    while DAYS[day.weekday()] != slot["day"]:
        day += timedelta(days=1)
    begin, end = ((day + _time_of(slot[edge])).astimezone(UTC) for edge in ("start", "end"))
    return [begin + number * QUARTER for number in range((end - begin) // QUARTER)]


def _is_free(moment: datetime, slots: list[dict[str, str]]) -> bool:
    time = timedelta(hours=moment.hour, minutes=moment.minute)
    today = [slot for slot in slots if slot["day"] == DAYS[moment.weekday()]]
    return any(_time_of(slot["start"]) <= time < _time_of(slot["end"].replace("23:59", "24:00")) for slot in today)


def _time_of(clock: str) -> timedelta:
    return timedelta(hours=int(clock[:2]), minutes=int(clock[3:]))
