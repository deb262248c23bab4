"""Whether a volunteer has the time that an opportunity asks for, by hours a week and by week slots."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ctj_api.validators import DAYS, END_OF_DAY, MIDNIGHT

type WeekSlots = dict[str, Any]
# A bit for each minute of a week, from Monday 00:00 on.
type Minutes = int

MINUTES_A_DAY = 24 * 60
LAST_MINUTE = "23:59"  # who is free until then is free until midnight
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
        self._meetings = _meetings(meeting_times, now) if meeting_times else []
        self._by_timezone: dict[str, list[Minutes]] = {}

    def fits(self, availability: WeekSlots | None) -> bool | None:
        """Return whether someone is free for all of a meeting; ``None`` without availability or meetings."""
        if not availability:
            return None
        meetings = self._on_clock_of(availability["timezone"])
        taken = ~_free_minutes(availability["slots"])
        return any(meeting & taken == 0 for meeting in meetings) if meetings else None

    def _on_clock_of(self, timezone: str) -> list[Minutes]:
        if timezone not in self._by_timezone:
            zone = _zone(timezone)
            self._by_timezone[timezone] = [_on_clock(*meeting, zone) for meeting in self._meetings] if zone else []
        return self._by_timezone[timezone]


def _zone(timezone: str) -> ZoneInfo | None:
    """Return the zone; ``None`` for one that an earlier or later edition of the tz database knew."""
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _meetings(week: WeekSlots, now: datetime) -> list[tuple[datetime, datetime]]:
    """Return when each meeting begins and ends, without those in an hour that the clock skips."""
    zone = _zone(week["timezone"])
    if not zone:
        return []
    today = now.astimezone(zone).date()
    meetings = [(_next(slot, "start", today, zone), _next(slot, "end", today, zone)) for slot in week["slots"]]
    return [(begins, ends) for begins, ends in meetings if begins < ends]


def _next(slot: dict[str, str], edge: str, today: date, zone: ZoneInfo) -> datetime:
    """Return when a slot next starts or ends, in UTC."""
    day = today + timedelta(days=(DAYS.index(slot["day"]) - today.weekday()) % 7)
    clock = slot[edge]
    if clock == END_OF_DAY:
        day, clock = day + timedelta(days=1), MIDNIGHT
    return datetime.combine(day, time.fromisoformat(clock), zone).astimezone(UTC)


def _on_clock(begins: datetime, ends: datetime, zone: ZoneInfo) -> Minutes:
    """Return a meeting on the clock of ``zone``, without the hour that the clock skips when it is put forward."""
    minutes = 0
    while begins < ends:
        local = begins.astimezone(zone)
        length = min(QUARTER - begins.minute % QUARTER, (ends - begins) // MINUTE)
        minutes |= _minutes(local.weekday(), local.hour * 60 + local.minute, length)
        begins += length * MINUTE
    return minutes


def _free_minutes(slots: list[dict[str, str]]) -> Minutes:
    free = 0
    for slot in slots:
        end = _minute_of_day(END_OF_DAY if slot["end"] == LAST_MINUTE else slot["end"])
        start = _minute_of_day(slot["start"])
        free |= _minutes(DAYS.index(slot["day"]), start, end - start)
    return free


def _minutes(weekday: int, minute: int, length: int) -> Minutes:
    return ((1 << length) - 1) << (weekday * MINUTES_A_DAY + minute)


def _minute_of_day(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
