"""The admin's sign-in by the pool's pages, on another site, and out again."""

import re
from typing import ClassVar

from django.urls import reverse
from playwright.sync_api import BrowserContext, Page, Request, expect

from ctj_api.tests.common import PASSWORD, make_pm_user
from ctj_api.tests.pools import PM, VOLUNTEER, Pool, node_pool

from .base import NARROW, WIDE, BrowserTestCase

LOGIN = reverse("admin:login")
SIGN_IN = "Sign in with Hack for LA"


class CognitoTests(BrowserTestCase):
    """With oidc-provider in the pool's place, whose pages ask for a font that nobody has."""

    pool: ClassVar[Pool]

    @classmethod
    def setUpClass(cls) -> None:
        """Run the server, which is told where this one is."""
        super().setUpClass()
        cls.pool = cls.enterClassContext(node_pool(cls.live_server_url))
        cls.enterClassContext(cls.pool.settings())

    def _watch(self, context: BrowserContext) -> None:
        super()._watch(context)
        context.route(re.compile(re.escape(self.pool.domain)), lambda route: route.continue_())
        context.route(re.compile("fonts.googleapis"), lambda route: route.fulfill(body=""))

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.pool.domain, "https://fonts.googleapis")):
            super()._on_request(request)

    def sign_in_at_pool(self, page: Page, email: str) -> None:
        """Fill in the form of the pool."""
        page.get_by_role("textbox", name="Enter any login").fill(email)
        page.get_by_placeholder("and password").fill(PASSWORD)
        page.get_by_role("button", name="Sign-in").click()

    def test_pm_user_comes_in_by_the_pool_and_leaves_it(self) -> None:
        """The session at the pool ends, too, as the next sign-in asks again; what was typed isn't kept."""
        make_pm_user(email=PM)
        page = self.open_page()
        page.goto("/admin/")
        page.get_by_role("link", name=SIGN_IN).click()
        self.sign_in_at_pool(page, PM)
        expect(page.get_by_role("heading", name="Your opportunities")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(re.compile(f"{self.live_server_url}{LOGIN}"))
        self.assertTrue(page.evaluate("localStorage.getItem('signed-out')"))
        page.get_by_role("link", name=SIGN_IN).click()
        self.sign_in_at_pool(page, VOLUNTEER)
        expect(page.get_by_role("heading", name="You are not signed in")).to_be_visible()
        self.problems.clear()
        self.assert_accessible(page)
        page.get_by_role("link", name="sign in as somebody else").click()
        page.get_by_role("link", name=SIGN_IN).click()
        self.sign_in_at_pool(page, PM)
        expect(page.get_by_role("heading", name="Your opportunities")).to_be_visible()

    def test_anyone_can_use_the_sign_in_page(self) -> None:
        """Wide and narrow, light and dark."""
        for width in (WIDE, NARROW):
            page = self.open_page(width=width)
            page.goto(LOGIN)
            self.assert_accessible(page)
            self.assert_no_horizontal_scrolling(page)
