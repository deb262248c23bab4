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


def naive_fit(meetings: WeekSlots | None, availability: WeekSlots | None, now: datetime) -> bool | None:
    """Return whether each quarter of an hour of some meeting lies in a slot; all begin and end on quarters."""
    if meetings is None or availability is None:
        return None
    zone, own_zone = ZoneInfo(meetings["timezone"]), ZoneInfo(availability["timezone"])
    by_meeting = [quarters for slot in meetings["slots"] if (quarters := _quarters(slot, now.astimezone(zone)))]
    if not by_meeting:
        return None
    return any(
        all(_is_free(moment.astimezone(own_zone), availability["slots"]) for moment in quarters)
        for quarters in by_meeting
    )


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
