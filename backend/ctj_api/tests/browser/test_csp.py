"""The content security policy as a browser enforces it; ``test_admin_pages`` opens every admin page under it."""

from django.urls import reverse
from playwright.sync_api import Page, expect

from ctj_api.tests.common import make_admin_user, make_opportunity, make_skill

from .base import BrowserTestCase

INJECTED = '<img src="x" onerror="window.injected = true"><script>window.injected = true</script>'
INJECT = """(html) => {
  document.body.append(document.createRange().createContextualFragment(html));
  return new Promise((resolve) => setTimeout(() => resolve(Boolean(window.injected)), 300));
}"""


class PolicyTests(BrowserTestCase):
    """What runs, and what doesn't."""

    def injected(self, page: Page) -> bool:
        """Return whether a script that was written into the page has run; what the browser says of it is no problem."""
        has_run = bool(page.evaluate(INJECT, INJECTED))
        self.assertTrue(any("Content Security Policy" in problem for problem in self.problems), self.problems)
        self.problems.clear()
        return has_run

    def test_docs_page_shows_and_tries_the_api(self) -> None:
        """Its own script has the page's nonce."""
        make_skill(name="React")
        page = self.open_page()
        page.goto(reverse("docs"))
        page.locator("#operations-skills-skills_list .opblock-summary-control").click()
        page.get_by_role("button", name="Try it out").click()
        page.locator("#operations-skills-skills_list").get_by_role("button", name="Execute").click()
        answer = page.locator("#operations-skills-skills_list .live-responses-table")
        expect(answer.get_by_text("200", exact=True).first).to_be_visible()
        self.assert_no_problems()

    def test_script_that_was_injected_does_not_run(self) -> None:
        """Neither in the admin nor in the docs; without the policy, it would."""
        make_opportunity()
        page = self.open_page(user=make_admin_user())
        for path in (reverse("docs"), reverse("admin:index"), reverse("admin:ctj_api_opportunity_changelist")):
            with self.subTest(path):
                page.goto(path)
                self.assertFalse(self.injected(page))
        with self.settings(SECURE_CSP={}):
            page.goto(reverse("admin:index"))
        self.assertTrue(page.evaluate(INJECT, INJECTED))
        self.problems.clear()
