"""The screenshots of docs/pm-guide.md. Not a test: ``backend/takeScreenshots.sh`` runs it."""

from io import StringIO
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.test import override_settings
from django.urls import reverse
from playwright.sync_api import Locator, Page, expect

from ctj_api.models import Opportunity, UserProfile
from ctj_api.tests.common import change_url

from .base import BrowserTestCase
from .test_journeys import choose_skill, row

IMAGES = Path(settings.BASE_DIR).parent / "docs" / "images"
LIST = reverse("admin:ctj_api_opportunity_changelist")
WIDTH = 1280


class Screenshots(BrowserTestCase):
    """A project manager of the demo, at work."""

    def setUp(self) -> None:
        """Load the catalog and a demo of the usual size; the page is that of the project manager with most listings."""
        super().setUp()
        with override_settings(DEBUG=True):
            for command in (["load_catalog"], ["seed_demo", "--volunteers", "200"]):
                call_command(*command, stdout=StringIO(), stderr=StringIO())
        self.pm = UserProfile.objects.get(email="pm1@example.org")
        self.page = self.open_page(user=self.pm, width=WIDTH, height=760)

    def take(self, name: str, of: Page | Locator | None = None) -> None:
        """Save a picture of the page, or of a part of it."""
        IMAGES.mkdir(exist_ok=True)
        (of or self.page).screenshot(path=IMAGES / f"{name}.png", animations="disabled")

    def whole_page(self, path: str) -> None:
        """Open a page in a window that is as high as it."""
        self.page.goto(path)
        height = self.page.evaluate("document.scrollingElement.scrollHeight")
        self.page.set_viewport_size({"width": WIDTH, "height": height})

    def test_take_the_list(self) -> None:
        """Where a project manager lands, and several listings chosen for a step."""
        self.page.goto("/admin/")
        self.take("pm-list")
        for number in range(2):
            self.page.locator(".action-select").nth(number).check()
        self.page.get_by_role("combobox", name="Action").select_option("Put on hold")
        self.page.set_viewport_size({"width": WIDTH, "height": 420})
        self.take("pm-actions")

    def test_take_the_form(self) -> None:
        """Filled in, and while a skill is looked for."""
        self.page.goto(reverse("admin:ctj_api_opportunity_add"))
        self.page.get_by_label("Project").select_option("VRMS")
        self.page.get_by_label("Role").select_option("Front End Developer")
        self.page.get_by_label("Description").fill(
            "Help us to rebuild the check-in page, so that volunteers find their meeting with one tap."
        )
        choose_skill(self.page, 0, "react", "React (also UI/UX)", 2)
        self.page.get_by_role("button", name="Add a skill").click()
        choose_skill(self.page, 1, "html", "HTML/CSS (also UI/UX)", 1)
        self.page.get_by_label("Hours a week").fill("6")
        expect(self.page.get_by_text("these requirements")).to_be_visible()
        height = self.page.evaluate("document.scrollingElement.scrollHeight")
        self.page.set_viewport_size({"width": WIDTH, "height": height})
        self.take("pm-form")
        self.page.get_by_role("button", name="Add a skill").click()
        row(self.page, 2).get_by_label("Skill", exact=True).fill("test")
        self.page.keyboard.press("ArrowDown")
        box = self.page.locator(".field-skill_levels").bounding_box()
        assert box is not None
        self.page.screenshot(
            path=IMAGES / "pm-skills.png", clip={**box, "height": box["height"] + 240}, animations="disabled"
        )

    def test_take_who_fits(self) -> None:
        """Of an open listing whose requirements somebody meets."""
        for listing in Opportunity.objects.filter(created_by=self.pm, status="open"):
            self.whole_page(change_url(listing))
            if self.page.get_by_text("100 %").count():
                break
        self.take("pm-who-fits", self.page.locator("#who-fits"))

    def test_take_the_history(self) -> None:
        """After three changes."""
        listing = Opportunity.objects.filter(created_by=self.pm, status="draft")[0]
        for change in ("Publish", "Put on hold"):
            self.page.goto(change_url(listing))
            self.page.get_by_role("button", name=change).click()
        self.page.goto(change_url(listing))
        self.page.get_by_label("Hours a week").fill("12")
        row(self.page, 0).get_by_label("Level").select_option("5")
        self.page.get_by_role("button", name="Save", exact=True).click()
        self.page.goto(reverse("admin:ctj_api_opportunity_history", args=[listing.pk]))
        self.page.set_viewport_size({"width": WIDTH, "height": 420})
        self.take("pm-history")
