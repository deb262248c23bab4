"""The admin's sign-in by the pool's pages, on another site, and out again."""

import re

from django.urls import reverse
from playwright.sync_api import Page, expect

from ctj_api.tests.cognito import cognito
from ctj_api.tests.common import PASSWORD, make_pm_user
from ctj_api.tests.test_cognito_sign_in import ADMIN_CLIENT, PM, VOLUNTEER, node_pools

from .base import NARROW, BrowserTestCase

SIGN_IN = "Sign in with Hack for LA"


class CognitoTests(BrowserTestCase):
    """With oidc-provider in the pool's place."""

    def sign_in_at_pool(self, page: Page, email: str, heading: str) -> None:
        """Sign in as people do, and see a page of ours; the pool's own pages may do what ours may not."""
        self.assert_no_problems()
        page.get_by_role("link", name=SIGN_IN).click()
        page.get_by_role("textbox", name="Enter any login").fill(email)
        page.get_by_placeholder("and password").fill(PASSWORD)
        page.get_by_role("button", name="Sign-in").click()
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        self.problems.clear()

    def test_pm_user_comes_in_by_the_pool_and_leaves_it(self) -> None:
        """The session at the pool ends, too, as the next sign-in asks again; what was typed isn't kept."""
        make_pm_user(email=PM)
        [pool, _] = self.enterContext(node_pools(self.live_server_url))
        self.enterContext(cognito(**ADMIN_CLIENT, **pool))
        page = self.open_page(width=NARROW)
        page.context.route(re.compile(re.escape(pool["COGNITO_DOMAIN"])), lambda route: route.continue_())
        page.goto("/admin/")
        self.assert_accessible(page)
        self.assert_no_horizontal_scrolling(page)
        self.sign_in_at_pool(page, PM, "Your opportunities")
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(re.compile(f"{self.live_server_url}{reverse('admin:login')}"))
        self.assertTrue(page.evaluate("localStorage.getItem('signed-out')"))
        self.assertFalse([problem for problem in self.problems if "Content Security Policy" in problem])
        self.problems.clear()
        self.sign_in_at_pool(page, VOLUNTEER, "You are not signed in")
        self.assert_accessible(page)
        page.get_by_role("link", name="sign in as somebody else").click()
        expect(page.get_by_role("link", name=SIGN_IN)).to_be_visible()
        self.problems.clear()
        self.sign_in_at_pool(page, PM, "Your opportunities")
