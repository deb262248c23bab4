"""What the skill picker suggests: by other names, by the role, and where there is no such skill."""

from playwright.sync_api import expect

from ctj_api.models import Skill
from ctj_api.tests.common import make_cop, make_opportunity, make_role

from .base import NARROW
from .test_journeys import ADD, JourneyTestCase, row


class SkillSuggestionTests(JourneyTestCase):
    """The form of a new listing."""

    def setUp(self) -> None:
        """Give a skill another name, and a role an earlier listing, and open the form."""
        super().setUp()
        Skill.objects.filter(name="TypeScript").update(aliases=["TS", "Typed JS"])
        designer = make_role(title="Designer", community_of_practice=make_cop("ui_ux"))
        make_opportunity({self.skills["Figma"]: 3, self.skills["React"]: 2}, role=designer)
        self.page = self.open_page(user=self.pm)
        self.page.goto(ADD)
        self.field = row(self.page, 0).get_by_label("Skill", exact=True)

    def test_pm_user_finds_a_skill_by_another_name_or_is_told_whom_to_ask(self) -> None:
        """Enter takes the only one that is found, and a name that is typed becomes the skill's."""
        self.field.fill("Juggling")
        told = self.page.get_by_text("There is no skill “Juggling”. Choose one from the list, or ask an administrator")
        expect(told).to_be_visible()
        self.assert_accessible(self.page)
        for typed, alias, key in (("typed j", "Typed JS", "Enter"), ("ts", "TS", "Tab")):
            self.field.fill(typed)
            expect(self.page.get_by_role("option", name=f"TypeScript ({alias})")).to_be_visible()
            expect(told).to_have_count(0)
            self.field.press(key)
            expect(self.field).to_have_value("TypeScript")

    def test_pm_user_sees_what_the_role_is_about_first(self) -> None:
        """Its community opens the list, and what its listings require is added by one click, also on a phone."""
        self.page.set_viewport_size({"width": NARROW, "height": 800})
        usual = self.page.locator(".skill-usual")
        expect(usual).to_be_hidden()
        self.page.get_by_label("Role").select_option("Designer")
        self.field.click()
        expect(self.page.locator(".skill-group")).to_have_text(["UI/UX", "Engineering"])
        self.assert_accessible(self.page)
        self.assert_no_horizontal_scrolling(self.page)
        self.field.press("Escape")
        for number, name in enumerate(("Figma", "React")):
            self.page.get_by_role("button", name=f"Add {name}").click()
            expect(row(self.page, number).get_by_label("Skill", exact=True)).to_have_value(name)
            expect(row(self.page, number).get_by_label("Level")).to_be_focused()
        expect(usual).to_be_hidden()
