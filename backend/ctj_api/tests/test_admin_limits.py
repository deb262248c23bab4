"""What the admin refuses: lookups that its filters don't offer, reads that take long, and forms beyond their limits."""

from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Any
from unittest.mock import patch

from django.contrib import admin
from django.db import connection
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ctj_api.desk.site import MAX_QUERY, UNUSABLE_FILTER
from ctj_api.exceptions import MAX_MESSAGES
from ctj_api.http.query_parameters import MAX_SEARCH
from ctj_api.models import Skill

from . import common as make

LISTINGS = reverse("admin:ctj_api_opportunity_changelist")
CATASTROPHIC = "(.*)(.*)(.*)x"
MAX_ERROR = 64 * 1024


def lists() -> Iterator[tuple[Any, str]]:
    """Return the pages of each model that is registered, with the path of its list."""
    for model, pages in admin.site._registry.items():
        yield pages, reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def lookups(model: Any) -> Iterator[str]:
    """Return lookups that no filter offers: by each field, and through each relation into what it leads to."""
    yield from ("body__regex", "members__id__startswith", "created_by__password__startswith", "nonsense", "pk")
    for field in model._meta.get_fields():
        yield from (f"{field.name}__{kind}" for kind in ("regex", "iregex", "contains", "startswith", "in", "gt"))
        if field.is_relation:
            inner = (inner.name for inner in field.related_model._meta.get_fields())
            yield from (f"{field.name}__{name}__startswith" for name in inner)


class AdminListTests(TestCase):
    """What may be asked of the list of any model, and sent to it."""

    def setUp(self) -> None:
        """Sign an administrator in, and make rows of each kind."""
        community = make.make_cop("engineering")
        make.make_skill().communities_of_practice.add(community)
        make.make_opportunity(created_by=make.make_pm_user(community_of_practice=community))
        make.make_sync_run()
        for factory in (make.make_skill, make.make_role, make.make_project):
            factory(retired_at=timezone.now())
        self.client.force_login(make.make_admin_user())

    def test_attacker_asking_by_a_lookup_that_no_filter_offers_is_refused(self) -> None:
        """Administrators and project managers are, and the value comes near no query."""
        for user in (make.make_admin_user(), make.make_pm_user()):
            self.client.force_login(user)
            for pages, path in lists():
                page = self.client.get(path)
                if page.status_code == HTTPStatus.FORBIDDEN:
                    continue
                refused = list(lookups(pages.model))
                self.assertFalse([name for name in refused if pages.lookup_allowed(name, "x", page.wsgi_request)])
                for lookup in refused[:7]:
                    with self.subTest(path, lookup=lookup), CaptureQueriesContext(connection) as queries:
                        answer = self.client.get(path, {lookup: CATASTROPHIC})
                        self.assertRedirects(answer, path, fetch_redirect_response=False)
                        self.assertFalse([query for query in queries if CATASTROPHIC in query["sql"]])
                self.assertContains(self.client.get(path), UNUSABLE_FILTER, html=True)

    def test_administrator_narrows_every_list_by_every_link_of_its_filters(self) -> None:
        """Whatever a page offers, it takes."""
        for pages, path in lists():
            page = self.client.get(path).context["cl"]
            links = [choice["query_string"] for spec in page.filter_specs for choice in spec.choices(page)]
            self.assertGreaterEqual(len(links), 2 * len(pages.list_filter))
            if pages.date_hierarchy:
                links.append("?" + "&".join(f"{pages.date_hierarchy}__{part}=12" for part in ("year", "month", "day")))
            for link in links:
                with self.subTest(path + link):
                    self.assertEqual(self.client.get(path + link).status_code, 200)

    def test_administrator_asking_for_too_much_at_once_is_told_so(self) -> None:
        """A text may be as long as in the API; sorting by many columns, or by many values, is refused as well."""
        many = f"p=1&{'e=111&' * (MAX_QUERY // 5)}"
        for _, path in lists():
            self.assertEqual(self.client.get(path, {"q": "\N{GRINNING FACE}" * MAX_SEARCH}).status_code, 200)
            for query in (f"q={'x' * (MAX_SEARCH + 1)}", f"o={'1.-2.' * MAX_SEARCH}", many):
                with self.subTest(path, query=query[:10]):
                    answer = self.client.get(f"{path}?{query}", follow=True)
                    self.assertRedirects(answer, path)
                    self.assertContains(answer, UNUSABLE_FILTER, html=True)

    def test_attacker_sending_an_oversized_form_is_refused(self) -> None:
        """No selection, row or field beyond the limits is an error, and few of many mistakes are told."""
        make.make_skill()
        oversized: list[tuple[dict[str, Any], int]] = [
            ({"action": "delete_selected", "_selected_action": ["x" * 100_000]}, 200),
            ({"action": "delete_selected", "_selected_action": ["x"] * 1001}, 400),
            ({"action": "delete_selected", "_selected_action": "x", "select_across": "on", "post": "yes"}, 200),
            ({"_save": "x", "form-TOTAL_FORMS": "9" * 9, "form-INITIAL_FORMS": "9" * 9}, 200),
        ]
        for _, path in lists():
            for data, status in oversized:
                with self.subTest(path, data=list(data)), patch("ctj_api.desk.site.MAX_CHOSEN", 0):
                    answer = self.client.post(path, data, follow=True)
                    self.assertEqual((answer.status_code, len(answer.content) < MAX_ERROR), (status, True))
        self.assertTrue(Skill.objects.exists())
        rows = {"skill_levels_name": [f"{number}{'x' * 3000}" for number in range(400)]}
        add = self.client.post(reverse("admin:ctj_api_opportunity_add"), rows)
        self.assertEqual(len(add.context["adminform"].form.errors["skill_levels"]), MAX_MESSAGES)
        count = self.client.get(reverse("admin:ctj_api_opportunity_volunteer_count"), rows)
        self.assertEqual((count.status_code, len(count.content) < MAX_ERROR), (400, True))


class AdminReadTests(TransactionTestCase):
    """Reads and writes that are really committed."""

    def setUp(self) -> None:
        """Sign a project manager in, who has posted a listing; another one has, too."""
        self.pm = make.make_pm_user()
        self.own, self.foreign = (make.make_opportunity(created_by=user) for user in (self.pm, make.make_pm_user()))
        self.client.force_login(self.pm)
        self.client.raise_request_exception = False

    def test_pm_user_reading_what_takes_too_long_gets_the_page_for_it(self) -> None:
        """The limit doesn't outlive the request, and a write has a longer one."""
        limits = []
        show = partial(make.execute, "SHOW statement_timeout")

        def take_long(*_: Any, **__: Any) -> None:
            limits.append(show())
            make.execute("SELECT pg_sleep(60)")

        with patch("ctj_api.desk.site.READ_TIMEOUT_MS", 200):
            with patch("ctj_api.desk.opportunities.timesince", take_long):
                self.assertContains(self.client.get(LISTINGS), "Not available at the moment", status_code=503)
            with patch("ctj_api.desk.opportunities.OpportunityAdmin.take", lambda *_: limits.append(show())):
                self.client.post(LISTINGS, {"action": "hold", "_selected_action": [str(self.own.pk)]})
        self.assertEqual([*limits, show()], [("200ms",), ("30s",), ("30s",)])

    def test_pm_user_choosing_all_listings_locks_own_ones_only(self) -> None:
        """Somebody else is changing another listing meanwhile."""
        action = {"action": "hold", "select_across": "1", "_selected_action": [str(self.own.pk)]}
        with make.other_connection() as other:
            other.execute("SELECT 1 FROM ctj_api_opportunity WHERE id = %s FOR UPDATE", [self.foreign.pk])
            page = self.client.post(LISTINGS, action, follow=True)
        for told in ("1 listing was put on hold.", "1 listing was not put on hold: only its owner can change"):
            self.assertContains(page, told)
