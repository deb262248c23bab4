"""The screenshots of docs/pm-guide.md. Not a test: ``backend/takeScreenshots.sh`` runs it."""

from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.test import override_settings
from django.urls import reverse
from playwright.sync_api import Page, expect

from ctj_api.models import UserProfile
from ctj_api.tests.common import make_admin_user

from .base import NARROW, WIDE, BrowserTestCase
from .test_journeys import ADD, LIST, choose_skill, describe, row

IMAGES = Path(settings.BASE_DIR).parent / "docs" / "images"


class Screenshots(BrowserTestCase):
    """A project manager of the demo and an administrator, at work."""

    def setUp(self) -> None:
        """Load the catalog and a demo of the usual size; the page is that of the project manager with most listings."""
        super().setUp()
        with override_settings(DEBUG=True):
            for command in (["load_catalog"], ["seed_demo", "--volunteers", "200"]):
                call_command(*command, stdout=StringIO(), stderr=StringIO())
        self.pm = UserProfile.objects.get(email="pm1@example.org")
        self.page = self.open_page(user=self.pm, width=WIDE, height=760)

    def take(self, name: str, page: Page, *, height: int = 0, of: str = "") -> None:
        """Save a picture of the window, in another height, or of an element and what opens below it."""
        page.wait_for_load_state("networkidle")
        if height:
            page.set_viewport_size({"width": WIDE, "height": height})
        box: Any = page.locator(of).bounding_box() if of else None
        clip: Any = {**box, "height": box["height"] + 60} if box else None
        page.screenshot(path=IMAGES / f"{name}.png", clip=clip, animations="disabled")

    def test_take_first_page_and_list(self) -> None:
        """Where a project manager lands, all that they have, and several listings chosen for a step."""
        self.page.goto(reverse("admin:index"))
        self.take("pm-desk", self.page, height=460)
        self.page.get_by_role("link", name="All of yours").click()
        self.take("pm-list", self.page, height=760)
        for number in range(2):
            self.page.locator(".action-select").nth(number).check()
        self.page.get_by_role("combobox", name="Action").select_option("Put on hold")
        self.take("pm-actions", self.page, height=420)

    def test_take_the_form(self) -> None:
        """Filled in, and while a skill is looked for."""
        self.page.goto(ADD)
        purpose = "so that volunteers find their meeting with one tap."
        describe(self.page, f"Help us to rebuild the check-in page, {purpose}")
        choose_skill(self.page, 0, "react", "React (also UI/UX)", 2)
        self.page.get_by_role("button", name="Add a skill").click()
        choose_skill(self.page, 1, "html", "HTML/CSS (also UI/UX)", 1)
        self.page.get_by_label("Hours a week").fill("6")
        expect(self.page.get_by_text("these requirements")).to_be_visible()
        self.take("pm-form", self.page, height=self.page.evaluate("document.scrollingElement.scrollHeight"))
        self.page.get_by_role("button", name="Add a skill").click()
        row(self.page, 2).get_by_label("Skill", exact=True).fill("js")
        expect(self.page.get_by_role("option", name="JavaScript (JS)")).to_be_visible()
        self.take("pm-skills", self.page, of=".field-skill_levels")

    def test_take_candidates(self) -> None:
        """Of an open listing."""
        self.page.goto(f"{LIST}?posted_by=me&status=open")
        self.page.locator(".field-volunteers a").first.click()
        self.take("pm-candidates", self.page)

    def test_take_what_a_phone_shows(self) -> None:
        """The list, and the steps at the end of the form."""
        page = self.open_page(user=self.pm, width=NARROW, height=760)
        page.goto(f"{LIST}?posted_by=me")
        self.take("pm-phone-list", page)
        page.locator("#result_list tbody a").first.click()
        self.take("pm-phone-form", page)

    def test_take_supply_and_demand(self) -> None:
        """As an administrator sees it."""
        administrator = make_admin_user(first_name="Ada", last_name="King")
        page = self.open_page(user=administrator, width=WIDE, height=620)
        page.goto(reverse("admin:supply_and_demand"))
        self.take("admin-supply-and-demand", page)
