"""What was typed into a form of the admin survives until it is saved, and is never mixed with what is stored."""

from django.conf import settings
from django.urls import reverse
from playwright.sync_api import Page, expect

from ctj_api.models import Opportunity, UserProfile
from ctj_api.tests.common import PASSWORD, make_admin_user, make_opportunity, make_regular_user

from .test_journeys import ADD, LIST, JourneyTestCase, choose_skill, row

LOST = "What you typed here was not saved"
OUTDATED = f"{LOST}, and what is stored has been changed since."
COME_BACK = "() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))"


class UnsavedListingTests(JourneyTestCase):
    """The form of a listing, left before it was saved."""

    def setUp(self) -> None:
        """Store a listing that requires two skills, and sign its author in."""
        super().setUp()
        required = {self.skills["React"]: 3, self.skills["SQL"]: 2}
        self.listing = make_opportunity(
            required, created_by=self.pm, role=self.role, project=self.project, body="Stored."
        )
        self.form = self.change_url(self.listing)
        self.page = self.open_page(user=self.pm)

    def rows(self) -> dict[str, str]:
        """Return which level stands beside which skill."""
        script = "rows => rows.map((row) => [...row.querySelectorAll('[name]')].map((field) => field.value))"
        return dict(self.page.locator(".skill-row").evaluate_all(script))

    def type_description(self, text: str) -> None:
        """Open the form of the listing and change its description."""
        self.page.goto(self.form)
        self.page.get_by_label("Description").fill(text)

    def sign_in_where_asked(self, user: UserProfile) -> None:
        """Fill in the sign-in form to which the page has led."""
        self.page.get_by_label("E-mail address").fill(user.email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_label("Description")).to_be_visible()
        self.page.wait_for_load_state()

    def test_pm_user_going_back_gets_the_whole_new_listing(self) -> None:
        """After Back, Forward and Back again it is empty, then all that was typed, and after saving gone."""
        page = self.page
        page.goto(ADD)
        page.get_by_label("Project").select_option("VRMS")
        page.get_by_label("Role").select_option("Front End Developer")
        page.get_by_label("Description").fill("Help us.")
        choose_skill(page, 0, "figma", "Figma", 1)
        page.get_by_role("button", name="Add a skill").click()
        choose_skill(page, 1, "typ", "TypeScript", 4)
        page.goto(LIST)
        page.go_back()
        page.go_forward()
        page.go_back()
        back = page.get_by_role("group", name=f"{LOST}.").get_by_role("button", name="Bring it back")
        expect(back).to_be_focused()
        self.assertEqual(self.rows(), {"": ""})
        self.assert_accessible(page)
        back.press("Enter")
        expect(page.get_by_label("Project")).to_be_focused()
        self.assertEqual(self.rows(), {"Figma": "1", "TypeScript": "4"})
        page.get_by_role("button", name="Save and publish").click()
        expect(page.get_by_text("was added successfully")).to_be_visible()
        [public] = [shape for shape in self.listed() if shape["body"] == "Help us."]
        self.assertEqual({skill["name"]: skill["level"] for skill in public["skills_required"]}, {"Figma": 1, "TypeScript": 4})
        page.go_back()
        self.assertEqual(self.rows(), {"": ""})
        expect(page.get_by_text(LOST)).to_have_count(0)

    def test_pm_user_reloading_finds_levels_beside_their_skills(self) -> None:
        """Those that are stored, or on demand those that were typed; thrown away, they don't come back."""
        self.page.goto(self.form)
        self.page.get_by_role("button", name="Remove React").click()
        self.page.get_by_role("button", name="Add a skill").click()
        choose_skill(self.page, 1, "figma", "Figma", 1)
        self.page.reload()
        self.assertEqual(self.rows(), {"React": "3", "SQL": "2"})
        self.page.get_by_role("button", name="Bring it back").click()
        self.assertEqual(self.rows(), {"SQL": "2", "Figma": "1"})
        with self.page.expect_navigation():
            self.page.evaluate(COME_BACK)
        self.assertEqual(self.rows(), {"React": "3", "SQL": "2"})
        self.page.get_by_role("button", name="Throw it away").click()
        self.page.reload()
        self.assertEqual(self.rows(), {"React": "3", "SQL": "2"})
        expect(self.page.get_by_text(LOST)).to_have_count(0)

    def test_pm_user_signing_in_again_gets_what_was_typed(self) -> None:
        """The sign-in, to which Save has led because the session had ended, comes back to the form."""
        self.type_description("Typed for an hour.")
        self.page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
        self.page.get_by_role("button", name="Save", exact=True).click()
        self.sign_in_where_asked(self.pm)
        expect(self.page.get_by_label("Description")).to_have_value("Stored.")
        self.page.get_by_role("button", name="Bring it back").click()
        self.page.get_by_role("button", name="Save", exact=True).click()
        expect(self.page.get_by_text("was changed successfully")).to_be_visible()
        self.listing.refresh_from_db()
        self.assertEqual(self.listing.body, "Typed for an hour.")
        self.page.goto(self.form)
        expect(self.page.get_by_text(LOST)).to_have_count(0)

    def test_pm_user_is_told_that_the_stored_listing_has_changed(self) -> None:
        """By an administrator in another window, while the page was open."""
        self.type_description("Typed.")
        other = self.open_page(user=make_admin_user())
        other.goto(self.form)
        other.get_by_label("Description").fill("Corrected.")
        other.get_by_role("button", name="Save", exact=True).click()
        expect(other.get_by_text("was changed successfully")).to_be_visible()
        self.page.reload()
        expect(self.page.get_by_role("group", name=OUTDATED)).to_be_visible()
        expect(self.page.get_by_label("Description")).to_have_value("Corrected.")

    def test_pm_user_signing_out_leaves_nothing(self) -> None:
        """In another window of the same browser; neither does one whose session ended, for anybody else."""
        self.type_description("Typed.")
        other = self.page.context.new_page()
        other.goto(LIST)
        other.get_by_role("button", name="Log out").click()
        expect(other.get_by_role("link", name="Log in again")).to_be_visible()
        self.page.reload()
        self.sign_in_where_asked(self.pm)
        expect(self.page.get_by_text(LOST)).to_have_count(0)
        self.type_description("Typed.")
        self.page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
        self.page.reload()
        self.sign_in_where_asked(make_admin_user())
        expect(self.page.get_by_text(LOST)).to_have_count(0)
        self.assertEqual(self.page.evaluate("sessionStorage.getItem('unsaved')"), "[]")

    def test_pm_user_leaving_an_unsaved_form_is_asked(self) -> None:
        """But not on saving, nor where nothing was typed."""
        asked: list[str] = []
        self.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
        self.type_description("Typed.")
        self.page.get_by_role("link", name="Home").click()
        self.page.get_by_role("button", name="Save and continue editing").click()
        expect(self.page.get_by_text("was changed successfully")).to_be_visible()
        self.page.get_by_role("link", name="Home").click()
        expect(self.page.get_by_role("heading", name="Your opportunities")).to_be_visible()
        self.assertEqual(asked, ["beforeunload"])

    def test_pm_user_composing_a_word_neither_chooses_nor_sends(self) -> None:
        """Enter belongs to the input method, in the skill picker and in every other field."""
        self.page.goto(self.form)
        self.page.get_by_role("button", name="Add a skill").click()
        compose(self.page, "figm")
        expect(self.page.get_by_role("option", name="Figma")).to_be_visible()
        self.page.keyboard.press("Enter")
        self.assertEqual(self.rows(), {"React": "3", "SQL": "2", "figm": ""})
        self.page.get_by_label("Hours a week, at least").focus()
        compose(self.page, "8")
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_text(LOST)).to_have_count(0)
        expect(self.page.get_by_text("Please correct the error below.")).to_have_count(0)

    def test_pm_user_refused_finds_the_cursor_in_the_wrong_field(self) -> None:
        """The first one; what was typed is offered where the form was opened before."""
        self.type_description("")
        self.page.get_by_label("Hours a week, at least").fill("-1")
        self.page.get_by_role("button", name="Save", exact=True).click()
        expect(self.page.get_by_text("Please correct the errors below.")).to_be_visible()
        expect(self.page.get_by_label("Description")).to_be_focused()
        self.page.go_back()
        expect(self.page.get_by_label("Description")).to_have_value("Stored.")
        self.page.get_by_role("button", name="Bring it back").click()
        expect(self.page.get_by_label("Hours a week, at least")).to_have_value("-1")


class UnsavedFormTests(JourneyTestCase):
    """The other forms of the admin."""

    def test_administrator_reloading_gets_what_was_typed(self) -> None:
        """Into the forms of an account and of a skill, boxes included; of a password, nothing is kept."""
        page = self.open_page(user=make_admin_user())
        account = make_regular_user({self.skills["SQL"]: 2})
        forms = (
            (reverse("admin:ctj_api_userprofile_change", args=[account.pk]), "First name", "Project manager"),
            (reverse("admin:ctj_api_skill_add"), "Name", "Engineering"),
        )
        for path, field, box in forms:
            with self.subTest(path):
                page.goto(path)
                page.get_by_label(field).fill("Typed")
                page.get_by_label(box).check()
                page.reload()
                expect(page.get_by_label(box)).not_to_be_checked()
                page.get_by_role("button", name="Bring it back").click()
                expect(page.get_by_label(field)).to_have_value("Typed")
                expect(page.get_by_label(box)).to_be_checked()
        page.goto(reverse("admin:password_change"))
        page.get_by_label("Old password").fill("secret of mine")
        page.reload()
        self.assertNotIn("secret of mine", page.evaluate("JSON.stringify(sessionStorage)"))


def compose(page: Page, text: str) -> None:
    """Let an input method compose ``text`` in the field that has the cursor."""
    session = page.context.new_cdp_session(page)
    session.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})
