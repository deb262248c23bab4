"""The editor of weekly meetings in the form of a listing: wide, narrow, by keyboard only, and without JavaScript."""

from django.urls import reverse
from playwright.sync_api import Locator, Page, expect

from ctj_api.models import Opportunity
from ctj_api.tests.common import change_url, make_opportunity, make_project, make_regular_user

from .base import NARROW, WIDE
from .test_journeys import JourneyTestCase

ZONE = "America/Los_Angeles"
WEDNESDAY = {"day": "wed", "start": "19:00", "end": "20:30", "name": "Team"}
FRIDAY = {"day": "fri", "start": "22:00", "end": "24:00"}


def meeting(page: Page, number: int) -> Locator:
    """Return a row of the week editor, counted from 0."""
    return page.locator(".week-editor li").nth(number)


def fill_in(page: Page, number: int, day: str, start: str, end: str, name: str = "") -> None:
    """Fill in a row of the week editor; there is one."""
    row = meeting(page, number)
    row.get_by_label("Day", exact=True).select_option(day)
    row.get_by_label("from").fill(start)
    row.get_by_label("to").fill(end)
    row.get_by_label("Name").fill(name)


class WeekEditorTests(JourneyTestCase):
    """Meetings of a role, from nothing to what is stored, and back to those of the project."""

    def setUp(self) -> None:
        """Store a listing whose project meets on Mondays."""
        super().setUp()
        slots = [{"day": "mon", "start": "18:00", "end": "20:00"}]
        project = make_project(meeting_times={"timezone": "Europe/Berlin", "slots": slots})
        self.listing = make_opportunity({self.skills["SQL"]: 2}, created_by=self.pm, role=self.role, project=project)
        self.url = change_url(self.listing)

    def assert_stored(self, *slots: dict[str, str], timezone: str = "Europe/Berlin") -> None:
        """Fail unless these meetings are stored; without any, unless the project's count."""
        self.listing.refresh_from_db()
        self.assertEqual(self.listing.meeting_times, {"timezone": timezone, "slots": list(slots)} if slots else None)

    def save(self, page: Page) -> None:
        """Save, and stay on the page."""
        page.get_by_role("button", name="Save and continue editing").click()

    def test_pm_user_enters_meetings_wide_and_narrow(self) -> None:
        """A wrong row is told where it is and nothing is lost; what was typed comes back; the last row can go."""
        for width in (WIDE, NARROW):
            with self.subTest(width=width):
                page = self.open_page(user=self.pm, width=width)
                page.goto(self.url)
                expect(page.locator(".week-editor li")).to_have_count(0)
                expect(page.get_by_text("the meetings of the project count: Monday 18:00 to 20:00")).to_be_visible()
                add = page.get_by_role("button", name="Add a meeting")
                add.click()
                fill_in(page, 0, "Wednesday", "21:00", "20:30", "Team")
                add.click()
                fill_in(page, 1, "Friday", "22:00", "00:00")
                self.assert_no_horizontal_scrolling(page)
                page.locator(".field-weekly_meetings").screenshot(path=f"/tmp/d18-{width}-a.png")
                page.screenshot(path=f"/tmp/d18-{width}-full.png", full_page=True)
                self.save(page)
                problem = meeting(page, 0).get_by_text("Wednesday: it must start before it ends, not 21:00 to 20:30.")
                expect(problem).to_be_visible()
                page.locator(".field-weekly_meetings").screenshot(path=f"/tmp/d18-{width}-b.png")
                expect(meeting(page, 0).get_by_label("Day", exact=True)).to_be_focused()
                self.assert_accessible(page)
                self.assert_no_horizontal_scrolling(page)
                meeting(page, 0).get_by_label("from").fill("19:00")
                expect(problem).to_have_count(0)
                page.goto(self.url)
                page.get_by_role("button", name="Bring it back").click()
                self.save(page)
                self.assert_stored(WEDNESDAY, FRIDAY)
                for day in ("Wednesday", "Friday"):
                    page.get_by_role("button", name=f"Remove {day}").click()
                expect(add).to_be_focused()
                self.save(page)
                self.assert_stored()

    def test_pm_user_enters_a_meeting_by_keyboard_only(self) -> None:
        """From the button that adds a row to the one that saves."""
        page = self.open_page(user=self.pm)
        page.goto(self.url)
        page.get_by_role("button", name="Add a meeting").focus()
        for key in ("Enter", "W", "Tab", *"0700P", "Tab", "Tab", *"0830P", "Tab", "Tab", *"Team", "Enter"):
            page.keyboard.press(key)
        expect(page.get_by_text("was changed successfully")).to_be_visible()
        self.assert_stored(WEDNESDAY)

    def test_pm_user_enters_a_meeting_without_javascript(self) -> None:
        """In a spare row, with another zone; a row that is emptied goes."""
        page = self.open_page(user=self.pm, javascript=False)
        page.goto(self.url)
        expect(page.locator(".week-editor li")).to_have_count(3)
        fill_in(page, 0, "Thursday", "09:00", "08:00")
        fill_in(page, 2, "Wednesday", "19:00", "20:30", "Team")
        page.get_by_label("Time zone").select_option(ZONE)
        self.save(page)
        expect(meeting(page, 0).get_by_text("Thursday: it must start before it ends")).to_be_visible()
        page.screenshot(path="/tmp/d18-nojs.png", full_page=True)
        fill_in(page, 0, "Choose a day", "", "")
        self.save(page)
        expect(page.get_by_text("was changed successfully")).to_be_visible()
        self.assert_stored(WEDNESDAY, timezone=ZONE)
