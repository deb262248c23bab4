"""Hours and meetings: intervals on the volunteer's clock, time zones and daylight saving."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from ctj_api.ranking.availability import MeetingWeek, fits_hours
from ctj_api.validators import DAYS

PACIFIC = "America/Los_Angeles"
WINTER = datetime(2026, 1, 14, 20, tzinfo=UTC)


def clock(quarter: int) -> str:
    """Return the time at which a quarter of an hour of the day begins."""
    return f"{quarter // 4:02}:{quarter % 4 * 15:02}"


zone_names = st.sampled_from([PACIFIC, "Europe/London", "Asia/Kolkata", "Pacific/Auckland", "Pacific/Chatham", "UTC"])
slots = st.builds(
    lambda day, start, length: f"{day} {clock(start)}-{clock(min(start + length, 96))}",
    st.sampled_from(DAYS),
    st.integers(0, 95),
    st.integers(1, 96),
)


def week(timezone: str, *slots: str) -> dict[str, Any]:
    """Return week slots, each of them given as ``mon 18:00-20:00``."""
    parsed = []
    for slot in slots:
        day, _, times = slot.partition(" ")
        start, _, end = times.partition("-")
        parsed.append({"day": day, "start": start, "end": end})
    return {"timezone": timezone, "slots": parsed}


def fits(meetings: Any, availability: Any, now: datetime = WINTER) -> bool | None:
    """Return whether the availability leaves room for a meeting."""
    return MeetingWeek(meetings, now).fits(availability)


class HoursTests(SimpleTestCase):
    """Hours a week."""

    def test_hours_fit_up_to_what_is_available(self) -> None:
        """Exactly as many fit, one more doesn't, and nobody knows where none are given."""
        self.assertIs(fits_hours(6, 6), True)
        self.assertIs(fits_hours(6, 7), False)
        self.assertIs(fits_hours(0, 0), True)
        self.assertIsNone(fits_hours(None, 0))


class MeetingTests(SimpleTestCase):
    """Meetings of a project."""

    def test_meeting_fits_when_the_whole_of_it_is_free(self) -> None:
        """To the minute, on both ends."""
        meeting = week(PACIFIC, "mon 18:00-19:30")
        for slot, expected in (
            ("mon 18:00-19:30", True),
            ("mon 17:00-21:00", True),
            ("mon 18:00-19:29", False),
            ("mon 18:01-19:30", False),
            ("tue 18:00-19:30", False),
        ):
            with self.subTest(slot):
                self.assertIs(fits(meeting, week(PACIFIC, slot)), expected)

    def test_one_of_several_meetings_is_enough(self) -> None:
        """A volunteer need not come to all of them."""
        meetings = week(PACIFIC, "mon 18:00-19:00", "thu 12:00-13:00")
        self.assertIs(fits(meetings, week(PACIFIC, "thu 12:00-13:00")), True)
        self.assertIs(fits(meetings, week(PACIFIC, "fri 12:00-13:00")), False)

    def test_adjacent_and_overlapping_slots_count_as_one(self) -> None:
        """Free from 17:00 to 20:00, however that is cut."""
        meeting = week(PACIFIC, "mon 18:30-19:30")
        self.assertIs(fits(meeting, week(PACIFIC, "mon 19:00-20:00", "mon 17:00-19:00")), True)
        self.assertIs(fits(meeting, week(PACIFIC, "mon 18:00-19:15", "mon 19:05-20:00")), True)
        self.assertIs(fits(meeting, week(PACIFIC, "mon 18:00-19:00", "mon 19:01-20:00")), False)

    def test_meeting_may_run_over_midnight_on_the_volunteers_clock(self) -> None:
        """Monday 21:00 to 22:30 in Los Angeles is Tuesday 00:00 to 01:30 in New York, and Sunday runs into Monday."""
        self.assertIs(fits(week(PACIFIC, "mon 20:30-21:30"), week("America/New_York", "mon 22:00-24:00")), False)
        over_midnight = week("America/New_York", "mon 22:00-24:00", "tue 00:00-02:00")
        self.assertIs(fits(week(PACIFIC, "mon 20:30-21:30"), over_midnight), True)
        into_monday = week("America/New_York", "sun 23:00-24:00", "mon 00:00-01:00")
        self.assertIs(fits(week(PACIFIC, "sun 20:30-21:30"), into_monday), True)
        self.assertIs(fits(week(PACIFIC, "sun 21:00-22:00"), into_monday), True)
        self.assertIs(fits(week(PACIFIC, "sun 21:00-22:01"), into_monday), False)

    def test_meeting_until_midnight_fits_a_slot_until_midnight(self) -> None:
        """``24:00`` is the end of the day on both sides."""
        self.assertIs(fits(week(PACIFIC, "sun 22:00-24:00"), week(PACIFIC, "sun 20:00-24:00")), True)

    def test_days_change_with_the_time_zone(self) -> None:
        """Monday evening in Los Angeles is Tuesday noon in Tokyo."""
        meeting = week(PACIFIC, "mon 19:00-20:00")
        self.assertIs(fits(meeting, week("Asia/Tokyo", "tue 12:00-13:00")), True)
        self.assertIs(fits(meeting, week("Asia/Tokyo", "mon 12:00-13:00")), False)
        self.assertIs(fits(meeting, week("Asia/Kolkata", "tue 08:30-09:30")), True)

    def test_offsets_are_those_of_the_coming_week(self) -> None:
        """In March, Los Angeles changes its clocks three weeks before London; in Phoenix nobody does."""
        meeting = week(PACIFIC, "wed 10:00-11:00")
        in_winter, between, in_summer = (
            datetime(2026, month, day, 12, tzinfo=UTC) for month, day in ((3, 2), (3, 10), (4, 1))
        )
        for zone, now, hours in (
            ("Europe/London", in_winter, "18:00-19:00"),
            ("Europe/London", between, "17:00-18:00"),
            ("Europe/London", in_summer, "18:00-19:00"),
            ("America/Phoenix", in_winter, "11:00-12:00"),
            ("America/Phoenix", between, "10:00-11:00"),
        ):
            with self.subTest(zone=zone, now=now):
                self.assertIs(fits(meeting, week(zone, f"wed {hours}"), now), True)
                later = "20:00-21:00"
                self.assertIs(fits(meeting, week(zone, f"wed {later}"), now), False)

    def test_offsets_change_on_the_day_within_the_week(self) -> None:
        """On Saturday, 7 March 2026, Los Angeles is 8 hours behind London; from Sunday on, 7."""
        now = datetime(2026, 3, 6, 20, tzinfo=UTC)
        self.assertIs(fits(week(PACIFIC, "sat 09:00-10:00"), week("Europe/London", "sat 17:00-18:00"), now), True)
        self.assertIs(fits(week(PACIFIC, "sun 09:00-10:00"), week("Europe/London", "sun 16:00-17:00"), now), True)
        self.assertIs(fits(week(PACIFIC, "sun 09:00-10:00"), week("Europe/London", "sun 17:00-18:00"), now), False)

    def test_hour_that_the_clocks_skip_is_not_in_the_meeting(self) -> None:
        """In Berlin, 01:00 UTC is 03:00 on that Sunday: one hour after 01:00."""
        now = datetime(2027, 3, 26, 12, tzinfo=UTC)
        free = week("Europe/Berlin", "sun 00:00-02:00", "sun 03:00-04:00")
        for hours, expected in (("00:00-01:00", True), ("00:20-01:40", True), ("00:20-02:20", False)):
            with self.subTest(hours):
                self.assertIs(fits(week("UTC", f"sun {hours}"), free, now), expected)

    def test_hour_that_the_clocks_skip_is_no_error(self) -> None:
        """Nor is the one that they repeat."""
        all_week = week(PACIFIC, *(f"{day} 00:00-24:00" for day in DAYS))
        for now in (datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 10, 30, tzinfo=UTC)):
            for hours in ("01:30-02:00", "01:00-03:00", "00:00-24:00"):
                with self.subTest(now=now, hours=hours):
                    self.assertIs(fits(week(PACIFIC, f"sun {hours}"), all_week, now), True)

    def test_meeting_in_the_hour_that_the_clocks_skip_does_not_take_place(self) -> None:
        """That week there is nothing to come to."""
        now = datetime(2026, 3, 6, tzinfo=UTC)
        self.assertIsNone(fits(week(PACIFIC, "sun 02:30-03:00"), week(PACIFIC, "sun 00:00-24:00"), now))

    def test_nothing_given_fits_neither_way(self) -> None:
        """No availability, no meetings, or an empty list of meetings; an empty availability is never free."""
        meeting = week(PACIFIC, "mon 18:00-19:00")
        self.assertIsNone(fits(None, meeting))
        self.assertIsNone(fits(meeting, None))
        self.assertIsNone(fits(week(PACIFIC), meeting))
        self.assertIs(fits(meeting, week(PACIFIC)), False)

    def test_unknown_time_zone_counts_as_nothing_given(self) -> None:
        """A zone that another edition of the tz database knew breaks nobody's list."""
        meeting = week(PACIFIC, "mon 18:00-19:00")
        for zone in ("Mars/Olympus", "", "America", "../etc/passwd"):
            with self.subTest(zone):
                self.assertIsNone(fits(meeting, week(zone, "mon 18:00-19:00")))
                self.assertIsNone(fits(week(zone, "mon 18:00-19:00"), meeting))

    @given(zone_names, zone_names, slots, st.lists(slots, max_size=8), st.integers(0, 364))
    def test_meeting_fits_as_it_does_quarter_by_quarter(
        self, meeting_zone: str, own_zone: str, meeting_slot: str, free: list[str], days: int
    ) -> None:
        """A volunteer is free when each quarter of an hour of the meeting, on their clock, lies in a slot."""
        now = datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=days)
        meeting, availability = week(meeting_zone, meeting_slot), week(own_zone, *free)
        begin, end = concrete_meeting(meeting, now)
        quarters = int((end - begin) / timedelta(minutes=15))
        moments = [
            (begin + number * timedelta(minutes=15)).astimezone(ZoneInfo(own_zone)) for number in range(quarters)
        ]
        if quarters > 0:
            self.assertEqual(fits(meeting, availability, now), all(is_free(moment, availability) for moment in moments))


def concrete_meeting(meeting: dict[str, Any], now: datetime) -> tuple[datetime, datetime]:
    """Return start and end, in UTC, of a meeting on its day among the seven that begin today."""
    zone = ZoneInfo(meeting["timezone"])
    (slot,) = meeting["slots"]
    midnight = now.astimezone(zone).replace(hour=0, minute=0)
    while DAYS[midnight.weekday()] != slot["day"]:
        midnight += timedelta(days=1)
    start, end = (midnight + timedelta(minutes=minute_of(slot[edge])) for edge in ("start", "end"))
    return start.astimezone(UTC), end.astimezone(UTC)


def is_free(moment: datetime, availability: dict[str, Any]) -> bool:
    """Return whether a local moment lies in one of the slots."""
    minute = moment.hour * 60 + moment.minute
    return any(
        slot["day"] == DAYS[moment.weekday()] and minute_of(slot["start"]) <= minute < minute_of(slot["end"])
        for slot in availability["slots"]
    )


def minute_of(clock: str) -> int:
    """Return how many minutes of the day have passed."""
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
