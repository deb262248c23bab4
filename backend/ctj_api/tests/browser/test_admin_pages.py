"""Every admin page that somebody may see, wide and narrow, light and dark: for all eyes and for screen readers."""

from collections.abc import Iterator

from django.apps import apps
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from ctj_api.desk.deleted import keep_deleted
from ctj_api.models import Opportunity, Project, UserProfile
from ctj_api.tests.common import (
    PASSWORD,
    WEEK,
    make_admin_user,
    make_cop,
    make_opportunity,
    make_pm_user,
    make_project,
    make_regular_user,
    make_role,
    make_skill,
    make_sync_run,
)
from ctj_api.tests.test_permissions import ADMIN_MODELS, ADMIN_SITE, LISTS

from .axe import COLOR_RULES
from .base import NARROW, WIDE, BrowserTestCase

HEIGHT = 800
NO_PAGES = {"view_on_site", "login", "logout"}

# What is loud: capitals or letters below 12 px in headings and buttons, a second button in the brand's colour, and
# the end of a form that can't be seen without scrolling.
LOUD = """() => {
  const style = (element) => getComputedStyle(element);
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.backgroundColor = "var(--brand)";
  const brand = style(probe).backgroundColor;
  probe.remove();
  const all = (selector) => [...document.querySelectorAll(selector)].filter((element) => element.checkVisibility());
  return [
    ...all("h1, h2, h3, h4, caption, legend, summary, th, button, .button, [type=submit]").filter((element) =>
      style(element).textTransform === "uppercase" || parseFloat(style(element).fontSize) < 12),
    ...all("a, button, input").filter((element) => style(element).backgroundColor === brand).slice(1),
    ...all(".form-end").filter((element) => element.getBoundingClientRect().bottom > innerHeight),
  ].map((element) => element.outerHTML.slice(0, 200));
}"""


class AdminPageTests(BrowserTestCase):
    """What is seen by opening a page and by doing something, of rows with all they can hold."""

    def setUp(self) -> None:
        """Make a handful of rows, some with long names."""
        super().setUp()
        make_role(title="Title that waits", community_of_practice=None)
        react, analysis = make_skill(name="React"), make_skill(name="Stakeholder Management: Organizing Meetings")
        for skill in (react, analysis):
            skill.communities_of_practice.add(make_cop("engineering"), make_cop("ui_ux"))
        self.pm = make_pm_user(first_name="Ana", last_name="Diaz", email="ana.diaz.of.the.long.address@example.org")
        self.administrator = make_admin_user(first_name="Ada", last_name="King")
        role, project = make_role(title="Product Management Practice Lead"), make_project(meeting_times=None)
        for level, status in enumerate(("draft", "open", "on_hold", "filled", "closed"), 1):
            make_opportunity({react: level, analysis: 5}, role=role, project=project, status=status, created_by=self.pm)
            make_regular_user({react: level}, first_name="Vera", max_available_hours=9, meeting_availability=WEEK)
        keep_deleted(self.pm, Opportunity.objects.all())
        left = make_pm_user(is_active=False)
        foreign = make_opportunity({react: 1}, created_by=left)
        self.client.force_login(self.administrator)
        form = {"description": "Renamed", "name": "React"}
        self.client.post(reverse("admin:ctj_api_skill_change", args=[react.pk]), form)
        Project.objects.filter(pk=project.pk).update(retired_at=timezone.now())
        plan = {"added": ["skill Vue"], "conflicts": ["skill Java is ours under another id: run it with --adopt"]}
        make_sync_run(outcome="conflicts", plan=plan, reason="1 conflict")
        self.foreign = reverse("admin:ctj_api_opportunity_change", args=[foreign.pk])
        self.listings = reverse("admin:ctj_api_userprofile_listings", query={"user": [str(left.pk)]})

    def paths(self, user: UserProfile) -> list[str]:
        """Return the path of each page that ``user`` may see: an answer with HTML, and no redirect."""
        self.client.force_login(user)
        return [path for path in self.all_paths() if is_page(self.client.get(path))]

    def all_paths(self) -> Iterator[str]:
        """Return the path of every page of the permission matrix, of the newest row if it has one."""
        for name in ADMIN_SITE.keys() - NO_PAGES:
            yield reverse(f"admin:{name}", args=["ctj_api"] if name == "app_list" else [])
        for model, pages in ADMIN_MODELS.items():
            newest = {"syncrun": "started_at", "deletedopportunity": "deleted_at"}.get(model, "created_at")
            row = apps.get_model("ctj_api", model)._default_manager.latest(newest)
            for page in pages:
                yield reverse(f"admin:ctj_api_{model}_{page}", args=[] if page in LISTS else [row.pk])
        yield from (self.foreign, self.listings)

    def look_at(self, page: Page) -> None:
        """Check the page that is open: wide and narrow, light and dark, and that it is calm."""
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": WIDE, "height": HEIGHT})
        self.assert_accessible(page)
        page.emulate_media(color_scheme="dark")
        self.assert_accessible(page, rules=COLOR_RULES)
        page.set_viewport_size({"width": NARROW, "height": HEIGHT})
        self.assert_no_horizontal_scrolling(page)
        self.assert_accessible(page)
        self.assertEqual(page.evaluate(LOUD), [])

    def look_at_all(self, user: UserProfile, at_least: int) -> None:
        """Open each page of ``user``."""
        page, paths = self.open_page(user=user), self.paths(user)
        self.assertGreaterEqual(len(paths), at_least)
        for path in paths:
            with self.subTest(path):
                page.goto(path)
                self.look_at(page)

    def test_administrator_can_use_every_page(self) -> None:
        """Lists, forms, questions and histories of all models."""
        self.look_at_all(self.administrator, 30)

    def test_pm_user_can_use_every_page(self) -> None:
        """Their own listings, those of others, and the catalogs."""
        self.look_at_all(self.pm, 20)

    def test_anonymous_can_use_the_pages_around_the_sign_in(self) -> None:
        """The form, the same after a wrong password, and the page after signing out."""
        page = self.open_page()
        page.goto(reverse("admin:login"))
        with self.subTest("sign-in"):
            self.look_at(page)
        with self.subTest("wrong password"):
            self.sign_in_by_form(page, self.pm, "wrong")
            expect(page.locator(".errornote")).to_be_visible()
            self.look_at(page)
        with self.subTest("signed out"):
            self.sign_in_by_form(page, self.pm, PASSWORD)
            page.get_by_role("button", name="Log out").click()
            expect(page.get_by_role("link", name="Log in again")).to_be_visible()
            self.look_at(page)

    def test_administrator_can_use_what_actions_show(self) -> None:
        """Each action of each list, with all rows chosen: a question, or a message."""
        page = self.open_page(user=self.administrator)
        for model in ADMIN_MODELS:
            path = reverse(f"admin:ctj_api_{model}_changelist")
            page.goto(path)
            options = page.locator("select[name=action] option").evaluate_all("all => all.map((one) => one.value)")
            for action in filter(None, options):
                with self.subTest(path, action=action):
                    page.goto(path)
                    page.locator("#action-toggle").check()
                    page.locator("select[name=action]").select_option(action)
                    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).first.click()
                    self.look_at(page)

    def test_administrator_can_use_forms_that_were_refused(self) -> None:
        """Those to add a row, without anything in them, and that of the password."""
        page = self.open_page(user=self.administrator)
        for path in self.paths(self.administrator):
            if path.endswith(("/add/", "/password_change/")):
                with self.subTest(path):
                    page.goto(path)
                    page.locator("#content form").first.evaluate("(form) => { form.noValidate = true }")
                    page.locator("#content form [type=submit]").first.click()
                    expect(page.locator(".errornote").first).to_be_visible()
                    self.look_at(page)


def is_page(response: HttpResponseBase) -> bool:
    """Return whether this is for people to see."""
    return (
        response.status_code == 200
        and response.headers["Content-Type"].startswith("text/html")
        and "Content-Disposition" not in response.headers
    )
