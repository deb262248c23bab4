"""What was typed into a form of the admin survives until it is saved, and is never mixed with what is stored."""

from django.conf import settings
from django.urls import reverse
from playwright.sync_api import Dialog, expect

from ctj_api.models import Opportunity, UserProfile
from ctj_api.tests.common import PASSWORD, change_url, make_admin_user, make_opportunity, make_regular_user

from .test_journeys import ADD, LIST, WEDNESDAY, JourneyTestCase, choose_skill, describe, fill_meeting, row

LOST = "What you typed here was not saved"
SINCE = "and what is stored has been changed since."
COME_BACK = "() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))"
ROWS = "rows => rows.map((row) => [...row.querySelectorAll('[name]')].map((field) => field.value))"


class UnsavedFormTests(JourneyTestCase):
    """A form, above all that of a listing, left before it was saved."""

    def setUp(self) -> None:
        """Store a listing that requires two skills, and sign its author in."""
        super().setUp()
        required = {self.skills["React"]: 3, self.skills["SQL"]: 2}
        listing = make_opportunity(required, created_by=self.pm, role=self.role, project=self.project, body="Stored.")
        self.form = change_url(listing)
        self.page = self.open_page(user=self.pm)
        self.description = self.page.get_by_label("Description")
        self.save = self.page.get_by_role("button", name="Save and continue editing")
        self.bring_back = self.page.get_by_role("button", name="Bring it back")
        self.offer = self.page.get_by_text(LOST)

    def assert_skills(self, **levels: str) -> None:
        """Fail unless these levels stand beside these skills in the form."""
        self.assertEqual(dict(self.page.locator(".skill-row").evaluate_all(ROWS)), levels)

    def type_description(self) -> None:
        """Open the form of the listing and change its description."""
        self.page.goto(self.form)
        self.description.fill("Typed.")

    def save_after_the_session_ended(self, user: UserProfile) -> None:
        """Save, and sign ``user`` in where that leads."""
        self.page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
        self.save.click()
        self.page.get_by_label("E-mail address").fill(user.email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.description).to_have_value("Stored.")
        self.page.wait_for_load_state()

    def test_pm_user_going_back_gets_the_whole_new_listing(self) -> None:
        """After Back, Forward and Back again it is empty, then all that was typed; once saved, nothing comes back."""
        page = self.page
        page.goto(ADD)
        describe(page, "Typed.")
        choose_skill(page, 0, "figma", "Figma", 1)
        page.get_by_role("button", name="Add a skill").click()
        choose_skill(page, 1, "sql", "SQL", 4)
        page.get_by_role("button", name="Add a meeting").click()
        fill_meeting(page, 0, "Wednesday", "19:00", "20:30", "Team")
        page.goto(LIST)
        page.locator(".action-select").first.check()
        page.go_back()
        page.go_forward()
        expect(page.locator(".action-select:checked")).to_have_count(0)
        page.go_back()
        self.assert_skills(**{"": ""})
        expect(self.bring_back).to_be_focused()
        self.assert_accessible(page)
        page.keyboard.press("Enter")
        expect(page.get_by_label("Project")).to_be_focused()
        self.assert_skills(Figma="1", SQL="4")
        page.get_by_role("button", name="Publish").click()
        expect(page.get_by_text("was published.")).to_be_visible()
        self.assertEqual([skill["level"] for skill in self.listed()[0]["skills_required"]], [4, 1])
        self.assertEqual(self.listed()[0]["meeting_times"]["slots"], [WEDNESDAY])
        page.go_back()
        self.assert_skills(**{"": ""})
        expect(self.offer).to_have_count(0)

    def test_pm_user_duplicating_keeps_what_was_typed_into_a_new_listing(self) -> None:
        """The two forms have one path, and each its own draft."""
        self.page.goto(ADD)
        describe(self.page, "Typed.")
        self.page.goto(f"{ADD}?duplicate={Opportunity.objects.get().pk}")
        expect(self.description).to_have_value("Stored.")
        expect(self.offer).to_have_count(0)
        self.page.get_by_role("button", name="Publish").click()
        expect(self.page.get_by_text("was published.")).to_be_in_viewport()
        self.page.goto(ADD)
        self.bring_back.click()
        expect(self.description).to_have_value("Typed.")

    def test_pm_user_whose_listing_was_given_away_is_shown_what_was_typed(self) -> None:
        """It can't be saved any more, but copied."""
        self.type_description()
        Opportunity.objects.update(created_by=None)
        self.page.goto(self.form)
        expect(self.page.get_by_text("This is not yours to change any more.")).to_contain_text("Typed.")

    def test_pm_user_reloading_finds_levels_beside_their_skills(self) -> None:
        """Those that another window has stored, or those that were typed until they are thrown away."""
        self.page.goto(self.form)
        self.page.get_by_role("button", name="Remove React").click()
        self.page.get_by_role("button", name="Add a skill").click()
        choose_skill(self.page, 1, "figma", "Figma", 1)
        other = self.open_page(user=make_admin_user())
        other.goto(self.form)
        row(other, 0).get_by_label("Level").select_option("5")
        other.get_by_role("button", name="Save", exact=True).click()
        expect(other.get_by_text("was changed successfully")).to_be_visible()
        self.page.reload()
        self.assert_skills(React="5", SQL="2")
        expect(self.page.get_by_role("group", name=f"{LOST}, {SINCE}")).to_be_visible()
        self.bring_back.click()
        self.assert_skills(SQL="2", Figma="1")
        with self.page.expect_navigation():
            self.page.evaluate(COME_BACK)
        self.assert_skills(React="5", SQL="2")
        self.page.get_by_role("button", name="Throw it away").click()
        self.page.reload()
        self.assert_skills(React="5", SQL="2")
        expect(self.offer).to_have_count(0)

    def test_pm_user_signing_in_again_gets_what_was_typed(self) -> None:
        """On coming back to the form, as nobody else does, nor anybody after a sign-out in another window."""
        self.type_description()
        self.save_after_the_session_ended(self.pm)
        self.bring_back.click()
        expect(self.description).to_have_value("Typed.")
        self.save_after_the_session_ended(make_admin_user())
        expect(self.offer).to_have_count(0)
        self.assertEqual(self.page.evaluate("sessionStorage.getItem('unsaved')"), "[]")
        self.type_description()
        other = self.page.context.new_page()
        other.goto(LIST)
        other.get_by_role("button", name="Log out").click()
        expect(other.get_by_role("link", name="Log in again")).to_be_visible()
        self.sign_in(self.page, self.pm)
        self.page.reload()
        expect(self.description).to_have_value("Stored.")
        expect(self.offer).to_have_count(0)

    def test_pm_user_leaving_an_unsaved_form_is_asked(self) -> None:
        """But not on saving, nor once it is saved."""
        asked: list[str] = []

        def stay(dialog: Dialog) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        self.page.on("dialog", stay)
        self.type_description()
        self.page.get_by_role("link", name="Home").click()
        self.save.click()
        expect(self.page.get_by_text("was changed successfully")).to_be_visible()
        self.page.get_by_role("link", name="Home").click()
        expect(self.page.get_by_role("heading", name="Your opportunities")).to_be_visible()
        self.assertEqual(asked, ["beforeunload"])

    def test_pm_user_composing_a_word_neither_chooses_nor_sends(self) -> None:
        """Enter belongs to the input method, in the skill picker and in every other field."""
        input_method = self.page.context.new_cdp_session(self.page)
        self.page.goto(self.form)
        self.page.get_by_role("button", name="Add a skill").click()
        input_method.send("Input.imeSetComposition", {"text": "figm", "selectionStart": 4, "selectionEnd": 4})
        expect(self.page.get_by_role("option", name="Figma")).to_be_visible()
        self.page.keyboard.press("Enter")
        self.assert_skills(React="3", SQL="2", figm="")
        self.page.get_by_label("Hours a week, at least").focus()
        input_method.send("Input.imeSetComposition", {"text": "8", "selectionStart": 1, "selectionEnd": 1})
        self.page.keyboard.press("Enter")
        self.assert_skills(React="3", SQL="2", figm="")

    def test_pm_user_refused_finds_the_cursor_in_the_first_wrong_field(self) -> None:
        """All that was typed is there still, and offered where the form was opened before."""
        self.page.goto(self.form)
        self.page.get_by_role("button", name="Add a skill").click()
        choose_skill(self.page, 2, "figma", "Figma", 1)
        row(self.page, 2).get_by_label("Level").select_option("")
        self.page.get_by_label("Hours a week, at least").fill("-1")
        self.save.click()
        expect(self.page.get_by_text("Figma: choose a level.").first).to_be_visible()
        expect(row(self.page, 2).get_by_label("Level")).to_be_focused()
        self.assert_skills(React="3", SQL="2", Figma="")
        self.page.go_back()
        self.assert_skills(React="3", SQL="2")
        self.bring_back.click()
        self.assert_skills(React="3", SQL="2", Figma="")

    def test_administrator_reloading_gets_what_was_typed(self) -> None:
        """Into the forms of an account and of a skill, boxes included; of a password, nothing is kept."""
        page = self.page
        self.sign_in(page, make_admin_user())
        account = make_regular_user({self.skills["SQL"]: 2})
        forms = (
            (reverse("admin:ctj_api_userprofile_change", args=[account.pk]), "First name", "Project manager"),
            (reverse("admin:ctj_api_skill_add"), "Name:", "Engineering"),
        )
        for path, field, box in forms:
            with self.subTest(path):
                page.goto(path)
                page.get_by_label(field).fill("Typed")
                page.get_by_label(box).check()
                page.reload()
                expect(page.get_by_label(box)).not_to_be_checked()
                self.bring_back.click()
                expect(page.get_by_label(field)).to_have_value("Typed")
                expect(page.get_by_label(box)).to_be_checked()
        page.goto(reverse("admin:password_change"))
        page.get_by_label("Old password").fill("secret of mine")
        page.reload()
        self.assertNotIn("secret of mine", page.evaluate("JSON.stringify(sessionStorage)"))
