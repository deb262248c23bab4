"""Hours and meetings: minutes of the week on the volunteer's clock, time zones and daylight saving."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from ctj_api.ranking.availability import ComingWeek, FreeTime, Meeting, fits_hours, fits_meetings
from ctj_api.validators import DAYS, MIDNIGHT, normal_week, validate_week_slots

from .matching_oracle import naive_times

PACIFIC, NEW_YORK, LONDON = "America/Los_Angeles", "America/New_York", "Europe/London"
WINTER = datetime(2026, 1, 14, 20, tzinfo=UTC)


def clock(quarter: int) -> str:
    """Return the time at which a quarter of an hour of the day begins."""
    return f"{quarter // 4:02}:{quarter % 4 * 15:02}"


zone_names = st.sampled_from([PACIFIC, LONDON, "Asia/Kolkata", "Pacific/Auckland", "Pacific/Chatham", "UTC"])
slots = st.builds(
    lambda day, start, length: f"{day} {clock(start)}-{clock(min(start + length, 96))}",
    st.sampled_from(DAYS),
    st.integers(0, 95),
    st.integers(1, 96),
)


posted_slots = st.lists(slots, max_size=2)


def until(clock: str) -> st.SearchStrategy[str]:
    """Return slots, those that end at midnight in either way of writing it."""
    return slots.flatmap(lambda slot: st.sampled_from([slot, slot.replace("24:00", clock)]))


def week(timezone: str, *slots: str) -> dict[str, Any]:
    """Return week slots, each of them given as ``mon 18:00-20:00``."""
    parsed = [{"day": slot[:3], "start": slot[4:9], "end": slot[10:]} for slot in slots]
    return {"timezone": timezone, "slots": parsed}


def meetings_of(posted: Any, availability: Any, now: datetime = WINTER) -> list[Meeting]:
    """Return what a match tells of each meeting."""
    return ComingWeek(now).meetings(posted, FreeTime(availability))


class MeetingTests(SimpleTestCase):
    """Meetings of a project."""

    def assert_fits(self, expected: bool | None, meetings: Any, availability: Any, now: datetime = WINTER) -> None:
        """Fail unless the availability leaves room for a meeting as it should."""
        with self.subTest(meetings=meetings, availability=availability, now=now):
            self.assertIs(fits_meetings(meetings_of(meetings, availability, now), any), expected)

    def test_meeting_fits_when_the_whole_of_it_is_free(self) -> None:
        """To the minute, on both ends; adjacent slots are one; one of several meetings is enough."""
        monday, later = "mon 18:00-19:30", "mon 18:30-19:30"
        several = (PACIFIC, "mon 18:00-19:00", "thu 12:00-13:00")
        into_tuesday, into_monday = (PACIFIC, "mon 20:30-21:30"), (NEW_YORK, "sun 23:00-24:00", "mon 00:00-01:00")
        for expected, meetings, availability in (
            (True, (PACIFIC, monday), (PACIFIC, "mon 18:00-19:30")),
            (True, (PACIFIC, monday), (PACIFIC, "mon 17:00-21:00")),
            (False, (PACIFIC, monday), (PACIFIC, "mon 18:00-19:29")),
            (False, (PACIFIC, monday), (PACIFIC, "mon 18:01-19:30")),
            (False, (PACIFIC, monday), (PACIFIC, "tue 18:00-19:30")),
            (True, several, (PACIFIC, "thu 12:00-13:00")),
            (False, several, (PACIFIC, "fri 12:00-13:00")),
            (True, (PACIFIC, later), (PACIFIC, "mon 19:00-20:00", "mon 17:00-19:00")),
            (True, (PACIFIC, later), (PACIFIC, "mon 18:00-19:15", "mon 19:05-20:00")),
            (False, (PACIFIC, later), (PACIFIC, "mon 18:00-19:00", "mon 19:01-20:00")),
            # Until midnight, which forms also write as 23:59; any other minute that is not free is a gap.
            (True, (PACIFIC, "sun 22:00-24:00"), (PACIFIC, "sun 20:00-24:00")),
            (True, (PACIFIC, "sun 22:00-24:00"), (PACIFIC, "sun 20:00-23:59")),
            (True, into_tuesday, (NEW_YORK, "mon 22:00-23:59", "tue 00:00-02:00")),
            (False, into_tuesday, (NEW_YORK, "mon 22:00-23:58", "tue 00:00-02:00")),
            (False, into_tuesday, (NEW_YORK, "mon 22:00-23:59", "tue 00:01-02:00")),
            # 20:30 to 21:30 in Los Angeles is 23:30 to 00:30 in New York, and noon of the next day in Tokyo.
            (False, into_tuesday, (NEW_YORK, "mon 22:00-24:00")),
            (True, into_tuesday, (NEW_YORK, "mon 22:00-24:00", "tue 00:00-02:00")),
            (True, into_tuesday, ("Asia/Tokyo", "tue 13:30-14:30")),
            (False, into_tuesday, ("Asia/Tokyo", "mon 13:30-14:30")),
            (True, (PACIFIC, "sun 20:30-21:30"), into_monday),
            (True, (PACIFIC, "sun 21:00-22:00"), into_monday),
            (False, (PACIFIC, "sun 21:00-22:01"), into_monday),
        ):
            self.assert_fits(expected, week(*meetings), week(*availability))

    def test_offsets_are_those_of_the_coming_week(self) -> None:
        """In March, Los Angeles changes its clocks three weeks before London; in Phoenix nobody does."""
        meeting = week(PACIFIC, "wed 10:00-11:00")
        for zone, month, day, hours in (
            (LONDON, 3, 2, "18:00-19:00"),
            (LONDON, 3, 10, "17:00-18:00"),
            (LONDON, 4, 1, "18:00-19:00"),
            ("America/Phoenix", 3, 2, "11:00-12:00"),
            ("America/Phoenix", 3, 10, "10:00-11:00"),
        ):
            now = datetime(2026, month, day, 12, tzinfo=UTC)
            self.assert_fits(True, meeting, week(zone, f"wed {hours}"), now)
            self.assert_fits(False, meeting, week(zone, "wed 20:00-21:00"), now)
        now = datetime(2026, 3, 6, 20, tzinfo=UTC)  # on Saturday it is 8 hours behind London; from Sunday on, 7
        for slot, expected in {"sat 17:00-18:00": True, "sun 16:00-17:00": True, "sun 17:00-18:00": False}.items():
            self.assert_fits(expected, week(PACIFIC, f"{slot[:3]} 09:00-10:00"), week(LONDON, slot), now)

    def test_hour_that_the_clocks_skip_or_repeat_is_no_error_nor_in_the_meeting(self) -> None:
        """In Berlin, 01:00 UTC is 03:00 on that Sunday; only a meeting all in a skipped hour doesn't take place."""
        free, sunday = week("Europe/Berlin", "sun 00:00-02:00", "sun 03:00-04:00"), datetime(2027, 3, 26, tzinfo=UTC)
        for hours, expected in (("00:00-01:00", True), ("00:20-01:40", True), ("00:20-02:20", False)):
            self.assert_fits(expected, week("UTC", f"sun {hours}"), free, sunday)
        all_week = week(PACIFIC, *(f"{day} 00:00-24:00" for day in DAYS))
        spring, autumn = datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 10, 30, tzinfo=UTC)
        for now in (spring, autumn):
            for hours in ("01:30-02:00", "01:00-03:00", "00:00-24:00"):
                self.assert_fits(True, week(PACIFIC, f"sun {hours}"), all_week, now)
        self.assert_fits(None, week(PACIFIC, "sun 02:30-03:00"), all_week, spring)

    def test_each_meeting_is_told_on_the_clock_of_the_volunteer(self) -> None:
        """The posted order stays; over midnight the end is before the start; where clocks change, both are as read."""
        spring, autumn = datetime(2027, 3, 26, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)
        berlin, friday = "Europe/Berlin", datetime(2026, 3, 6, tzinfo=UTC)
        for now, zone, slot, own, expected in (
            (WINTER, PACIFIC, "mon 20:30-21:30", NEW_YORK, "mon 23:30-00:30"),
            (WINTER, PACIFIC, "mon 20:00-21:00", NEW_YORK, "mon 23:00-24:00"),
            (WINTER, PACIFIC, "sun 22:00-24:00", PACIFIC, "sun 22:00-24:00"),
            (WINTER, PACIFIC, "sun 22:00-24:00", LONDON, "mon 06:00-08:00"),
            (WINTER, "Asia/Kolkata", "mon 00:00-01:00", PACIFIC, "sun 10:30-11:30"),
            (spring, "UTC", "sun 00:30-01:30", berlin, "sun 01:30-03:30"),
            (autumn, "UTC", "sun 00:45-01:15", berlin, "sun 02:45-02:15"),
            (friday, PACIFIC, "sun 01:30-03:30", LONDON, "sun 09:30-10:30"),
            (friday, PACIFIC, "sun 02:30-03:00", LONDON, None),
        ):
            with self.subTest(zone=zone, slot=slot, own=own):
                (meeting,) = meetings_of(week(zone, slot), week(own), now)
                (local,) = week(own, expected)["slots"] if expected else (None,)
                self.assertEqual(meeting["local"], local and {**local, "timezone": own})
                self.assertIs(meeting["fits"], local and False)

    def test_nothing_given_fits_neither_way(self) -> None:
        """No meetings or hours, none in a list, an unknown zone; an empty availability is never free."""
        for available, required, expected in ((6, 6, True), (6, 7, False), (0, 0, True), (None, 0, None)):
            self.assertIs(fits_hours(available, required), expected)
        meeting = week(PACIFIC, "mon 18:00-19:00")
        self.assert_fits(None, None, meeting)
        self.assert_fits(None, meeting, None)
        self.assert_fits(None, week(PACIFIC), meeting)
        self.assert_fits(False, meeting, week(PACIFIC))
        for zone in ("Mars/Olympus", "", "America", "../etc/passwd"):
            self.assert_fits(None, meeting, week(zone, "mon 18:00-19:00"))
            self.assert_fits(None, week(zone, "mon 18:00-19:00"), meeting)
        told = {**meeting["slots"][0], "name": "", "timezone": PACIFIC, "local": None, "fits": None}
        self.assertEqual(meetings_of(meeting, None), [told])

    @given(st.lists(until(MIDNIGHT), min_size=1), st.permutations(["timezone", "slots"]))
    def test_normal_form_of_weeks_changes_midnight_only(self, given_slots: list[str], keys: list[str]) -> None:
        """It is reached at once, keeps the order of slots and keys, and is what the validators take."""
        given_week = {key: week(PACIFIC, *given_slots)[key] for key in keys}
        normal = normal_week(given_week)
        validate_week_slots(normal)
        self.assertEqual(normal_week(normal), normal)
        self.assertEqual(json.dumps(normal).replace("24:00", "00:00"), json.dumps(given_week).replace("24:00", "00:00"))

    @given(zone_names, zone_names, posted_slots, st.lists(until("23:59"), max_size=8), st.integers(0, 364))
    def test_meetings_fit_as_they_do_quarter_by_quarter(
        self, meeting_zone: str, own_zone: str, meeting_slots: list[str], free: list[str], days: int
    ) -> None:
        """A volunteer is free when each quarter of an hour of a meeting, on their clock, lies in a slot."""
        now = datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=days)
        posted, availability = week(meeting_zone, *meeting_slots), week(own_zone, *free)
        meetings = meetings_of(posted, availability, now)
        told = {"fits_meetings": fits_meetings(meetings, any), "fits_all_meetings": fits_meetings(meetings, all)}
        self.assertEqual({"meetings": meetings, **told}, naive_times(posted, availability, now))
