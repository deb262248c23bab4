"""Whether a volunteer has the time that an opportunity asks for, by hours a week and by week slots."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ctj_api.validators import DAYS, END_OF_DAY, MEETING_KEYS, MIDNIGHT

type WeekSlots = dict[str, Any]
# A slot with its time zone, ``local``: the same on the volunteer's clock, and ``fits``: whether they are free then.
type Meeting = dict[str, Any]
# A bit for each minute of a week, from Monday 00:00 on.
type Minutes = int

MINUTES_A_DAY = 24 * 60
LAST_MINUTE = "23:59"  # who is free until then is free until midnight
MINUTE = timedelta(minutes=1)
CLOCK = "%H:%M"
# Clocks are put forward and back on quarters of an hour of UTC.
QUARTER = 15


def fits_hours(available: int | None, required: int) -> bool | None:
    """Return whether ``required`` hours a week are available; ``None`` where the volunteer gave none."""
    return None if available is None else required <= available


class FreeTime:
    """When a volunteer is free in a week, on their own clock."""

    def __init__(self, availability: WeekSlots | None) -> None:
        self.zone = _zone(availability["timezone"]) if availability else None
        self._taken = ~_free_minutes(availability["slots"]) if availability else 0

    def includes(self, minutes: Minutes) -> bool:
        """Return whether all of these minutes are free."""
        return minutes & self._taken == 0


class ComingWeek:
    """The week that begins today, in which meetings are put on the clocks of volunteers."""

    def __init__(self, now: datetime) -> None:
        """Take an aware ``now``: the offsets from UTC are those of the days that follow it."""
        self._on_clock = cache(partial(_on_clock, now))

    def meetings(self, week: WeekSlots | None, free: FreeTime) -> list[Meeting]:
        """Return the meetings in the posted order, each with what it means for a volunteer."""
        return [self._meeting(slot, week["timezone"], free) for slot in week["slots"]] if week else []

    def _meeting(self, slot: dict[str, str], timezone: str, free: FreeTime) -> Meeting:
        local, minutes = self._on_clock(slot["day"], slot["start"], slot["end"], timezone, free.zone)
        posted = {key: slot.get(key, "") for key in MEETING_KEYS}
        return {**posted, "timezone": timezone, "local": local, "fits": free.includes(minutes) if local else None}


def fits_meetings(meetings: list[Meeting], enough: Callable[[Iterable[bool]], bool]) -> bool | None:
    """Return whether ``any`` or ``all`` of the meetings fit; ``None`` where that is known of none."""
    known = [meeting["fits"] for meeting in meetings if meeting["fits"] is not None]
    return enough(known) if known else None


def _zone(timezone: str) -> ZoneInfo | None:
    """Return the zone; ``None`` for one that an earlier or later edition of the tz database knew."""
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _on_clock(
    now: datetime, day: str, start: str, end: str, timezone: str, own: ZoneInfo | None
) -> tuple[dict[str, str] | None, Minutes]:
    """Return when a meeting is on the clock of ``own``; nothing without one, and where the posted clock skips it."""
    zone = _zone(timezone)
    if not zone or not own:
        return None, 0
    today = now.astimezone(zone).date()
    begins, ends = _next(day, start, today, zone), _next(day, end, today, zone)
    if begins >= ends:
        return None, 0
    first, last = begins.astimezone(own), ends.astimezone(own).strftime(CLOCK)
    local = {
        "day": DAYS[first.weekday()],
        "start": first.strftime(CLOCK),
        "end": END_OF_DAY if last == MIDNIGHT else last,
        "timezone": own.key,
    }
    return local, _minutes_between(begins, ends, own)


def _next(day: str, clock: str, today: date, zone: ZoneInfo) -> datetime:
    """Return when it is next that time on that weekday, in UTC."""
    on = today + timedelta(days=(DAYS.index(day) - today.weekday()) % 7)
    if clock == END_OF_DAY:
        on, clock = on + timedelta(days=1), MIDNIGHT
    return datetime.combine(on, time.fromisoformat(clock), zone).astimezone(UTC)


def _minutes_between(begins: datetime, ends: datetime, zone: ZoneInfo) -> Minutes:
    """Return the minutes on the clock of ``zone``, without the hour that it skips when it is put forward."""
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
