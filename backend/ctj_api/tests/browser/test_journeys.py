"""What project managers and administrators come for, from the sign-in to the result."""

import re
from typing import Any
from urllib.parse import quote

from django.urls import reverse
from playwright.sync_api import FilePayload, Locator, Page, expect

from ctj_api.models import Opportunity, Skill
from ctj_api.tests import common

from .base import NARROW, WIDE, BrowserTestCase

ADD = reverse("admin:ctj_api_opportunity_add")
LIST = reverse("admin:ctj_api_opportunity_changelist")
API = reverse("opportunity-list")
REQUIRED = {"React": 3, "SQL": 2, "Figma": 1, "TypeScript": 4}
WEDNESDAY = {"day": "wed", "start": "19:00", "end": "20:30", "name": "Team"}


class JourneyTestCase(BrowserTestCase):
    """A small catalog, and a project manager."""

    def setUp(self) -> None:
        """Make skills of two communities, a project, a role, and a project manager."""
        super().setUp()
        engineering, design = common.make_cop("engineering"), common.make_cop("ui_ux")
        self.skills = {name: common.make_skill(name=name) for name in (*REQUIRED, "JavaScript", "Java")}
        for name, skill in self.skills.items():
            skill.communities_of_practice.add(design if name == "Figma" else engineering)
        self.project = common.make_project(name="VRMS")
        self.role = common.make_role(title="Front End Developer")
        self.pm = common.make_pm_user(first_name="Ana", last_name="Diaz")

    def listed(self) -> list[dict[str, Any]]:
        """Return what the public API lists."""
        listings: list[dict[str, Any]] = self.client.get(API).json()
        return listings


def row(page: Page, number: int) -> Locator:
    """Return a row of the skill picker, counted from 0."""
    return page.locator(".skill-row").nth(number)


def run_action(page: Page, name: str, *titles: str) -> None:
    """Tick the rows with these titles in a list, choose an action, and run it."""
    for title in titles:
        cells = page.get_by_role("row").filter(has=page.get_by_role("link", name=title, exact=True))
        cells.get_by_role("checkbox").check()
    page.get_by_role("combobox", name="Action").select_option(name)
    page.get_by_role("button", name="Run").click()


def describe(page: Page, text: str = "Help us.") -> None:
    """Choose project and role of a new listing, and write its description."""
    page.get_by_label("Project").select_option("VRMS")
    page.get_by_label("Role").select_option("Front End Developer")
    page.get_by_label("Description").fill(text)


def choose_skill(page: Page, number: int, typed: str, name: str, level: int) -> None:
    """Fill in a row of the skill picker with the mouse; there is one."""
    field = row(page, number).get_by_label("Skill", exact=True)
    field.fill(typed)
    page.get_by_role("option", name=name, exact=True).click()
    row(page, number).get_by_label("Level").select_option(str(level))


def fill_meeting(page: Page, number: int, day: str, start: str, end: str, name: str = "") -> None:
    """Fill in a row of the editor of weekly meetings, counted from 0; there is one."""
    meeting = page.locator(".week-editor li").nth(number)
    meeting.get_by_label("Day", exact=True).select_option(day)
    for label, text in (("from", start), ("to", end), ("Name of the meeting", name)):
        meeting.get_by_label(label).fill(text)


def tab_to(page: Page, button: str) -> None:
    """Press Tab until a button has the focus."""
    wanted = page.get_by_role("button", name=button)
    for _ in range(20):
        if wanted.evaluate("button => button === document.activeElement"):
            break
        page.keyboard.press("Tab")


class OpportunityJourneyTests(JourneyTestCase):
    """From nothing to a published listing, in several ways."""

    def test_pm_user_posts_publishes_finds_people_and_holds(self) -> None:
        """The public API reflects each step; it takes ten presses of the mouse, the sign-in among them."""
        for number in range(12):
            common.make_regular_user({self.skills["React"]: number % 5 + 1, self.skills["SQL"]: 2}, first_name="Vera")
        page = self.open_page()
        clicks = self.count_clicks(page)
        self.sign_in_by_form(page, self.pm)
        expect(page.get_by_role("heading", name="Your opportunities")).to_be_visible()
        page.get_by_role("link", name="Add opportunity").click()
        expect(page.get_by_label("Project")).to_be_focused()
        for typed in ("VRMS", "Front", "Help us to build it."):
            page.keyboard.type(typed)
            page.keyboard.press("Tab")
        for number, (name, level) in enumerate(REQUIRED.items()):
            if number:
                page.get_by_role("button", name="Add a skill").click()
            row(page, number).get_by_label("Skill", exact=True).press_sequentially(name.lower()[:4])
            page.get_by_role("option", name=name, exact=True).click()
            page.keyboard.type(str(level))
        expect(page.get_by_text("No volunteer meets all of these requirements, 12 meet them in part.")).to_be_visible()
        page.get_by_role("button", name="Publish").click()
        expect(page.get_by_text("was published.")).to_be_in_viewport()
        self.assertEqual(len(clicks), 10, clicks)
        [public] = self.listed()
        self.assertEqual((public["status"], public["body"]), ("open", "Help us to build it."))
        self.assertEqual({skill["name"]: skill["level"] for skill in public["skills_required"]}, REQUIRED)
        best = page.locator(".who-fits tbody tr")
        expect(best).to_have_count(12)
        expect(best.first).to_contain_text("React: met (5)")
        expect(best.first).to_contain_text("TypeScript: missing (4)")
        page.locator(".messagelist a").click()
        page.get_by_role("button", name="Put on hold").click()
        expect(page.get_by_text("was put on hold.")).to_be_visible()
        self.assertEqual(self.listed()[0]["status"], "on_hold")

    def test_pm_user_duplicates_and_publishes_with_four_clicks(self) -> None:
        """From the sign-in on; the second says all that the first does."""
        required = {self.skills["React"]: 3, self.skills["SQL"]: 2}
        original = common.make_opportunity(required, created_by=self.pm, meeting_times=common.WEEK, body="One.\n\nTwo.")
        page = self.open_page()
        clicks = self.count_clicks(page)
        self.sign_in_by_form(page, self.pm)
        page.get_by_role("link", name="All of yours").click()
        page.get_by_role("link", name=f"Duplicate {original}").click()
        expect(page.get_by_text("A duplicate of")).to_be_visible()
        expect(page.get_by_text("10 of at most 20,000 letters")).to_be_visible()
        page.get_by_role("button", name="Publish").click()
        expect(page.get_by_text("was published.")).to_be_visible()
        self.assertEqual(len(clicks), 4, clicks)
        one, two = self.listed()
        self.assertEqual(one.keys(), two.keys())
        for name in one.keys() - {"id", "skills_required_matrix", "created_at", "updated_at"}:
            self.assertEqual(one[name], two[name], name)

    def test_pm_user_posts_by_keyboard_only(self) -> None:
        """Project, role, description, two skills, a weekly meeting, and the button that publishes."""
        page = self.open_page(user=self.pm)
        page.goto(ADD)
        keyboard = page.keyboard
        page.get_by_label("Project").focus()
        for typed in ("VRMS", "Front", "Help us."):
            keyboard.type(typed)
            keyboard.press("Tab")
        keyboard.type("java")
        expect(page.get_by_role("listbox").get_by_role("option")).to_have_text(["Java", "JavaScript"])
        for key in ("ArrowDown", "ArrowDown", "Enter", "4"):
            keyboard.press(key)
        expect(row(page, 0).get_by_label("Level")).to_have_value("4")
        for _ in range(2):
            keyboard.press("Tab")
        expect(page.get_by_role("button", name="Add a skill")).to_be_focused()
        keyboard.press("Enter")
        keyboard.type("figm")
        keyboard.press("Enter")
        keyboard.type("1")
        tab_to(page, "Add a meeting")
        for key in ("Enter", "W", "Tab", *"0700P", "Tab", "Tab", *"0830P", "Tab", "Tab", *"Team"):
            keyboard.press(key)
        tab_to(page, "Publish")
        keyboard.press("Enter")
        expect(page.get_by_text("was published.")).to_be_visible()
        [public] = self.listed()
        levels = {skill["name"]: skill["level"] for skill in public["skills_required"]}
        self.assertEqual(levels, {"JavaScript": 4, "Figma": 1})
        self.assertEqual(public["meeting_times"], {"timezone": "America/Los_Angeles", "slots": [WEDNESDAY]})

    def test_pm_user_posts_on_a_phone(self) -> None:
        """Nothing stands out of the window, also with the suggestions open; Enter saves, and publishes nothing."""
        page = self.open_page(user=self.pm, width=NARROW)
        page.goto(LIST)
        page.get_by_role("link", name="Add opportunity").click()
        describe(page)
        page.get_by_role("button", name="Add a meeting").click()
        fill_meeting(page, 0, "Wednesday", "19:00", "20:30", "Team")
        row(page, 0).get_by_label("Skill", exact=True).fill("s")
        self.assert_no_horizontal_scrolling(page)
        self.assert_accessible(page)
        choose_skill(page, 0, "sql", "SQL", 2)
        page.get_by_label("Hours a week").press("Enter")
        expect(page.get_by_text("was added successfully.")).to_be_visible()
        self.assertEqual(self.listed(), [])
        page.locator(".messagelist a").click()
        page.get_by_role("button", name="Publish").click()
        expect(page.get_by_text("was published.")).to_be_visible()
        self.assert_no_horizontal_scrolling(page)
        self.assertEqual(self.listed()[0]["skills_required"][0]["name"], "SQL")
        self.assertEqual(self.listed()[0]["meeting_times"]["slots"], [WEDNESDAY])

    def test_pm_user_posts_without_javascript(self) -> None:
        """Spare rows, names as text with the browser's suggestions, and the same messages."""
        page = self.open_page(user=self.pm, javascript=False)
        page.goto(ADD)
        describe(page)
        expect(page.locator(".skill-row")).to_have_count(5)
        expect(page.locator(".week-editor li")).to_have_count(3)
        expect(page.get_by_text("Empty rows are left out.")).to_have_count(2)
        row(page, 0).get_by_label("Skill", exact=True).fill("Reakt")
        row(page, 2).get_by_label("Skill", exact=True).fill("sql")
        row(page, 2).get_by_label("Level").select_option("2")
        fill_meeting(page, 0, "Thursday", "09:00", "08:00")
        fill_meeting(page, 2, "Wednesday", "19:00", "20:30", "Team")
        page.get_by_label("Time zone").select_option("Asia/Kolkata")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator(".skill-problem").get_by_text('There is no skill "Reakt".')).to_be_visible()
        expect(page.locator(".row-problem").get_by_text("Thursday: it must start before it ends")).to_be_visible()
        row(page, 0).get_by_label("Skill", exact=True).fill("")
        fill_meeting(page, 0, "Choose a day", "", "")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("was added successfully")).to_be_visible()
        listing = Opportunity.objects.get()
        self.assertEqual(listing.skills_required_matrix.levels, {str(self.skills["SQL"].pk): 2})
        self.assertEqual(listing.meeting_times, {"timezone": "Asia/Kolkata", "slots": [WEDNESDAY]})

    def test_pm_user_replaces_a_meeting(self) -> None:
        """Removing the last row keeps the focus; a wrong row is told where it stands until it is changed."""
        listing = common.make_opportunity(created_by=self.pm, meeting_times=common.WEEK)
        page = self.open_page(user=self.pm)
        page.goto(common.change_url(listing))
        page.get_by_role("button", name="Remove Monday").click()
        expect(page.get_by_role("button", name="Add a meeting")).to_be_focused()
        page.keyboard.press("Enter")
        fill_meeting(page, 0, "Wednesday", "21:00", "20:30")
        page.get_by_role("button", name="Save and continue editing").click()
        problem = page.locator(".row-problem").get_by_text("Wednesday: it must start before it ends, not 21:00 to")
        expect(problem).to_be_visible()
        expect(page.get_by_label("Day", exact=True).first).to_be_focused()
        self.assert_accessible(page)
        fill_meeting(page, 0, "Wednesday", "19:00", "20:30", "Team")
        expect(problem).to_have_count(0)
        page.get_by_role("button", name="Save", exact=True).click()
        self.assertEqual(self.listed()[0]["meeting_times"], {**common.WEEK, "slots": [WEDNESDAY]})

    def test_pm_user_closes_several_and_finds_them_in_the_archive(self) -> None:
        """By ticking, choosing a step, and a click on the filter."""
        for title in ("Designer", "Developer", "Writer"):
            common.make_opportunity(created_by=self.pm, role=common.make_role(title=title))
        page = self.open_page(user=self.pm)
        page.goto(f"{LIST}?posted_by=me")
        run_action(page, "Close listing", "Designer", "Writer")
        expect(page.get_by_text("2 listings were closed.")).to_be_visible()
        page.get_by_text("Filter: owner: Me").click()
        page.get_by_role("link", name="Archive").click()
        expect(page.locator("#result_list tbody tr")).to_have_count(2)
        self.assertEqual(sorted(listing["status"] for listing in self.listed()), ["closed", "closed", "open"])

    def test_pm_user_writes_to_the_best_volunteer(self) -> None:
        """With four clicks or fewer from the sign-in, on a telephone as well; a wide list shows twelve at once."""
        required = {self.skills["React"]: 3, self.skills["SQL"]: 2}
        *_, listing = (common.make_opportunity(required, created_by=self.pm) for _ in range(12))
        best = common.make_regular_user(required, first_name="Vera")
        common.make_regular_user({self.skills["SQL"]: 1})
        for width in (WIDE, NARROW):
            with self.subTest(width=width):
                page = self.open_page(width=width)
                page.goto(reverse("admin:login"))
                clicks = self.count_clicks(page)
                self.sign_in_by_form(page, self.pm)
                page.get_by_role("link", name="All of yours").click()
                row_of = page.locator("#result_list tbody tr")
                expect(row_of.nth(11 if width == WIDE else 4)).to_be_in_viewport(ratio=1)
                row_of.first.get_by_role("link", name="2 1 meets all").click()
                self.assert_no_horizontal_scrolling(page)
                mail = page.get_by_role("link", name="Write to the best Vera")
                mail.evaluate("link => link.addEventListener('click', event => event.preventDefault())")
                mail.click()
                self.assertIn(f"mailto:{best.email}?", str(mail.get_attribute("href")))
                self.assertIn(quote(str(listing)), str(mail.get_attribute("href")))
                self.assertLessEqual(len(clicks), 4)


class SkillPickerTests(JourneyTestCase):
    """The rows, one by one."""

    def setUp(self) -> None:
        """Open the form of a listing that requires two skills."""
        super().setUp()
        required = {self.skills["React"]: 3, self.skills["SQL"]: 2}
        self.listing = common.make_opportunity(required, created_by=self.pm, role=self.role, project=self.project)
        self.page = self.open_page(user=self.pm)
        self.page.goto(common.change_url(self.listing))

    def names(self) -> list[str]:
        """Return the skills of the rows."""
        names: list[str] = self.page.locator(".skill-name").evaluate_all("fields => fields.map((field) => field.value)")
        return names

    def test_pm_user_sees_suggestions_by_community(self) -> None:
        """What is chosen already is not suggested again; what is typed is found as the API finds it, in names first."""
        self.page.get_by_role("button", name="Add a skill").click()
        row(self.page, 2).get_by_label("Skill", exact=True).press("ArrowDown")
        expect(self.page.get_by_role("group", name="UI/UX").get_by_role("option")).to_have_text(["Figma"])
        expect(self.page.get_by_role("group", name="Engineering").get_by_role("option")).to_have_text(
            ["Java", "JavaScript", "TypeScript"]
        )
        row(self.page, 2).get_by_label("Skill", exact=True).fill("Jáva-script")
        expect(self.page.get_by_role("listbox").get_by_role("option")).to_have_text(["JavaScript"])
        Skill.objects.update(description="Typed by many.")
        row(self.page, 2).get_by_label("Skill", exact=True).fill("type")
        expect(self.page.get_by_role("listbox").get_by_role("option")).to_have_text(["TypeScript"])
        self.assert_accessible(self.page)

    def test_pm_user_sees_at_once_what_is_wrong_and_not_what_is_gone(self) -> None:
        """An unknown skill, and one that is listed twice, until the other row is gone."""
        self.page.get_by_role("button", name="Add a skill").click()
        field = row(self.page, 2).get_by_label("Skill", exact=True)
        for typed, problem in (("Reakt", "There is no skill “Reakt”."), ("REACT", "React is listed already.")):
            with self.subTest(typed):
                field.fill(typed)
                field.press("Tab")
                expect(row(self.page, 2).get_by_text(problem)).to_be_visible()
                expect(field).to_have_attribute("aria-invalid", "true")
        self.assert_accessible(self.page)
        with self.page.expect_response("**/volunteer-count/**"):
            row(self.page, 2).get_by_label("Level").select_option("1")
        told = self.page.get_by_text("React is listed already.")
        expect(told).to_have_count(2)
        self.page.get_by_role("button", name="Remove React").first.click()
        expect(told).to_have_count(0)

    def test_pm_user_removing_a_row_keeps_the_focus(self) -> None:
        """On the next row, and on the button that adds one after the last."""
        self.page.get_by_role("button", name="Remove React").click()
        expect(row(self.page, 0).get_by_label("Skill", exact=True)).to_be_focused()
        self.assertEqual(self.names(), ["SQL"])
        self.page.get_by_role("button", name="Remove SQL").click()
        expect(self.page.get_by_role("button", name="Add a skill")).to_be_focused()
        expect(self.page.get_by_text("Nobody is matched with a listing that requires no skills.").first).to_be_visible()
        self.page.get_by_role("button", name="Save", exact=True).click()
        self.page.get_by_role("button", name="Save without skills").click()
        self.assertEqual(Opportunity.objects.get().skills_required_matrix.levels, {})

    def test_pm_user_typing_an_exact_name_gets_that_skill(self) -> None:
        """Enter chooses it, also after Escape, and doesn't send the form where no skill fits."""
        for number, key in ((2, "Enter"), (3, "Escape")):
            self.page.get_by_role("button", name="Add a skill").click()
            field = row(self.page, number).get_by_label("Skill", exact=True)
            field.fill("java")
            field.press(key)
            expect(self.page.get_by_role("listbox")).to_have_count(0)
            field.press("Enter")
        self.assertEqual(self.names(), ["React", "SQL", "Java", "Java"])
        last = row(self.page, 3).get_by_label("Skill", exact=True)
        last.fill("nothing")
        last.press("Enter")
        expect(self.page).to_have_url(re.compile("change"))
        self.assertEqual(self.names()[3], "nothing")


class AdminJourneyTests(JourneyTestCase):
    """Users and skills."""

    def setUp(self) -> None:
        """Sign an administrator in."""
        super().setUp()
        self.page = self.open_page(user=common.make_admin_user())

    def test_administrator_merges_two_skills(self) -> None:
        """After choosing which name stays."""
        common.make_opportunity({self.skills["Java"]: 3})
        self.page.goto(reverse("admin:ctj_api_skill_changelist"))
        run_action(self.page, "Merge selected skills", "Java", "JavaScript")
        self.assert_accessible(self.page)
        self.page.get_by_role("radio", name=re.compile("^JavaScript")).check()
        self.page.get_by_role("button", name="Merge").click()
        expect(self.page.get_by_text("Java was merged into JavaScript: 1 opportunity")).to_be_visible()
        self.assertFalse(Skill.objects.filter(name="Java").exists())

    def test_administrator_imports_skills_after_a_preview(self) -> None:
        """Nothing is written before the confirmation."""
        self.page.goto(reverse("admin:ctj_api_skill_changelist"))
        self.page.get_by_role("link", name="Import").click()
        rows = b"name,description,communities_of_practice\nRust,Fast and safe,engineering\nreact,For pages,\n"
        file: FilePayload = {"name": "skills.csv", "mimeType": "text/csv", "buffer": rows}
        self.page.locator("input[type=file]").set_input_files(file)
        self.page.get_by_role("button", name="Show what would change").click()
        expect(self.page.get_by_text("Fast and safe")).to_be_visible()
        self.assert_accessible(self.page)
        self.assertFalse(Skill.objects.filter(name="Rust").exists())
        self.page.get_by_role("button", name="Confirm import").click()
        expect(self.page.get_by_text("Skills imported: 1 new, 1 changed")).to_be_visible()
        self.assertEqual(Skill.objects.get(name="Rust").description, "Fast and safe")
