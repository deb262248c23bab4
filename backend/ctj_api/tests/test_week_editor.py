"""The editor of a listing's weekly meetings: what its rows mean, what it says of wrong ones, and what it changes."""

from typing import Any

from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.datastructures import MultiValueDict

from ctj_api.desk.forms import NO_DAY, NONE_AND_SOME, MeetingTimesFormField

from .common import WEEK, change_url, make_opportunity, make_pm_user, make_project
from .test_admin_opportunities import OpportunityTestCase, hidden, listing_form

MONDAY, LATE = ("mon", "18:00", "20:00", ""), ("fri", "22:00", "00:00", " Late ")
NONE = {"weekly_meetings_none": ["on"]}


def sent(*rows: tuple[str, ...], timezone: str = "America/Los_Angeles") -> dict[str, list[str]]:
    """Return what a browser sends for rows of day, start, end and name."""
    parts = enumerate(("day", "start", "end", "name"))
    fields = {f"weekly_meetings_{part}": [row[number] for row in rows] for number, part in parts}
    return {**fields, "weekly_meetings_timezone": [timezone]}


def read(data: dict[str, list[str]]) -> tuple[Any, list[str]]:
    """Return the week that was sent, or the messages of its refusal, and what stands beside the rows."""
    field: Any = MeetingTimesFormField(required=False)
    value = field.widget.value_from_datadict(MultiValueDict(data), {}, "weekly_meetings")
    problems = [row.problem for row in field.prepare_value(value).rows if row.problem]
    try:
        return field.clean(value), problems
    except ValidationError as error:
        return error.messages, problems


class WeekEditorTests(OpportunityTestCase):
    """Rows on one side, week slots on the other."""

    def test_pm_user_gets_the_week_that_the_rows_mean_or_is_told_why_not(self) -> None:
        """Without rows the project's count; each wrong row is told, and beside it."""
        late = {"day": "fri", "start": "22:00", "end": "24:00", "name": "Late"}
        weeks: list[tuple[dict[str, list[str]], Any]] = [
            ({}, None),
            (sent(("", "", "", " "), MONDAY), WEEK),
            (sent(LATE, timezone="Asia/Kolkata"), {"timezone": "Asia/Kolkata", "slots": [late]}),
            (sent() | NONE, {**WEEK, "slots": []}),
            (sent(MONDAY) | NONE, [NONE_AND_SOME]),
            (sent(MONDAY, timezone="<i>"), ['Choose a time zone such as "America/Los_Angeles".']),
            (sent(*[MONDAY] * 101), ["The slots must be a list of at most 100."]),
        ]
        for data, expected in weeks:
            with self.subTest(data):
                self.assertEqual(read(data), (expected, []))
        wrong = [
            (("", "18:00", "", ""), NO_DAY),
            (("wed", "20:00", "19:00", ""), "Wednesday: it must start before it ends, not 20:00 to 19:00."),
            (("sun", "", "20:00", ""), 'Sunday: the start must be a time such as "18:00".'),
            (("<b>", "18:00", "20:00", ""), '"<b>": the day must be one of mon, tue, wed, thu, fri, sat, sun.'),
            (("mon", "18:00", "20:00", "\0"), "Monday: the name must be a text of at most 255 characters."),
        ]
        for row, told in wrong:
            with self.subTest(row):
                self.assertEqual(read(sent(MONDAY, row)), ([told], [told]))

    def test_pm_user_edits_meetings_as_any_other_field(self) -> None:
        """What is stored stays unless it is changed, the history tells, and nobody else's change is undone."""
        week, project = {"timezone": "Europe/Berlin", "slots": []}, make_project(meeting_times=WEEK)
        listing = make_opportunity(created_by=self.pm, meeting_times=week, project=project)
        url, history = change_url(listing), reverse("admin:ctj_api_opportunity_history", args=[listing.pk])
        page = self.client.get(url)
        self.assertContains(page, "the meetings of the project count: <ul")
        kept = sent(timezone="Europe/Berlin") | NONE
        for data, stored, entries in ((kept, week, 0), (sent(MONDAY), WEEK, 1), ({}, None, 2)):
            self.client.post(url, listing_form(project=str(project.pk), **data))
            listing.refresh_from_db()
            self.assertEqual(listing.meeting_times, stored)
            self.assertContains(self.client.get(history), "meeting times", count=entries)
        refused = self.client.post(url, listing_form(**sent(LATE), **hidden(page)))
        for text in ('<th role="rowheader" scope="row">Meeting times</th>', 'value="Late"'):
            self.assertContains(refused, text)
        self.client.force_login(make_pm_user())
        self.assertContains(self.client.get(url), 'Those of the project: <ul class="week"><li>Monday 18:00 to 20:00 ')
