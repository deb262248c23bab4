"""Whether a volunteer has the time that an opportunity asks for, by hours a week and by week slots."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ctj_api.validators import DAYS, END_OF_DAY

type WeekSlots = dict[str, Any]
# Minutes since Monday 00:00 on one clock; the end may lie beyond that of the week.
type Interval = tuple[int, int]

MINUTES_A_DAY = 24 * 60
MINUTES_A_WEEK = 7 * MINUTES_A_DAY
MINUTE = timedelta(minutes=1)
# Clocks are put forward and back on quarters of an hour of UTC.
QUARTER = 15


def fits_hours(available: int | None, required: int) -> bool | None:
    """Return whether ``required`` hours a week are available; ``None`` where the volunteer gave none."""
    return None if available is None else required <= available


class MeetingWeek:
    """A project's meetings in the week that begins today."""

    def __init__(self, meeting_times: WeekSlots | None, now: datetime) -> None:
        """Take week slots, and an aware ``now``: the offsets from UTC are those of the days that follow it."""
        self._week = meeting_times
        self._now = now
        self._by_timezone: dict[str, list[list[Interval]]] = {}

    def fits(self, availability: WeekSlots | None) -> bool | None:
        """Return whether someone is free for the whole of at least one meeting, on their own clock.

        ``None`` where either side gave nothing: no availability, or no meeting.
        """
        meetings = self._on_clock_of(availability["timezone"]) if availability else []
        if not availability or not meetings:
            return None
        free = merge(_slot_interval(slot) for slot in availability["slots"])
        return any(all(_covers(free, part) for part in meeting) for meeting in meetings)

    @cached_property
    def _meetings(self) -> list[tuple[datetime, datetime]]:
        zone = _zone(self._week["timezone"]) if self._week else None
        if not self._week or not zone:
            return []
        today = self._now.astimezone(zone).date()
        meetings = [_next_meeting(slot, today, zone) for slot in self._week["slots"]]
        return [(begins, ends) for begins, ends in meetings if begins < ends]

    def _on_clock_of(self, timezone: str) -> list[list[Interval]]:
        if timezone not in self._by_timezone:
            zone = _zone(timezone)
            self._by_timezone[timezone] = [_on_clock(*meeting, zone) for meeting in self._meetings] if zone else []
        return self._by_timezone[timezone]


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the intervals with those that touch or overlap made one, also from Sunday into Monday."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    if merged and merged[0][0] == 0 and merged[-1][1] == MINUTES_A_WEEK:
        merged[-1] = (merged[-1][0], MINUTES_A_WEEK + merged[0][1])
    return merged


def _zone(timezone: str) -> ZoneInfo | None:
    """Return the zone; ``None`` for one that an earlier or later edition of the tz database knew."""
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _next_meeting(slot: dict[str, str], today: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return start and end in UTC; in a night in which the clocks are put forward the end may be no later."""
    day = today + timedelta(days=(DAYS.index(slot["day"]) - today.weekday()) % 7)
    return _at(day, slot["start"], zone), _at(day, slot["end"], zone)


def _at(day: date, clock: str, zone: ZoneInfo) -> datetime:
    if clock == END_OF_DAY:
        day, clock = day + timedelta(days=1), "00:00"
    return datetime.combine(day, time.fromisoformat(clock), zone).astimezone(UTC)


def _on_clock(begins: datetime, ends: datetime, zone: ZoneInfo) -> list[Interval]:
    """Return a meeting on the clock of ``zone``, without the hour that the clock skips when it is put forward."""
    parts = []
    while begins < ends:
        start = _minute_of_week(begins.astimezone(zone))
        length = min(QUARTER - begins.minute % QUARTER, (ends - begins) // MINUTE)
        parts.append((start, start + length))
        begins += length * MINUTE
    return merge(parts)


def _covers(free: list[Interval], part: Interval) -> bool:
    return any(start <= part[0] and part[1] <= end for start, end in free)


def _minute_of_week(moment: datetime) -> int:
    return moment.weekday() * MINUTES_A_DAY + moment.hour * 60 + moment.minute


def _slot_interval(slot: dict[str, str]) -> Interval:
    midnight = DAYS.index(slot["day"]) * MINUTES_A_DAY
    return midnight + _minute_of_day(slot["start"]), midnight + _minute_of_day(slot["end"])


def _minute_of_day(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
