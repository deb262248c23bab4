"""The filters of the listing: for each parameter its good values, its bad ones, and its absence."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone
from rest_framework.test import APITestCase

from ctj_api.filters import OpportunityListFilter
from ctj_api.models import Opportunity

from . import common

URL = "/api/opportunities/"
PARAMETERS = OpportunityListFilter.base_filters


class OpportunityFilterTests(APITestCase):
    """Two listings that differ in everything."""

    def setUp(self) -> None:
        """Make a remote one for a developer, and one in person for a designer, which is older."""
        self.pm = common.make_pm_user()
        self.react, self.css, self.figma = (common.make_skill(name=name) for name in ("React", "CSS", "Figma"))
        self.developer = common.make_opportunity(
            {self.react: 3, self.css: 1},
            project=common.make_project(name="Food Oasis"),
            role=common.make_role(title="Front End Developer", community_of_practice=common.make_cop("engineering")),
            body="Help us to map food pantries.",
            work_environment="remote",
            min_experience_required="junior",
            min_hours_required=6,
            created_by=self.pm,
        )
        self.designer = common.make_opportunity(
            {self.figma: 4},
            project=common.make_project(name="Expunge Assist"),
            role=common.make_role(title="UI/UX Designer", community_of_practice=common.make_cop("ui_ux")),
            body="Design forms that people finish.",
            work_environment="in_person",
            min_experience_required="",
            min_hours_required=10,
            status="on_hold",
            created_at=timezone.now() - timedelta(days=1),
        )

    def listed(self, **query: Any) -> list[Opportunity]:
        """Return the listings that the query finds, in their order."""
        response = self.client.get(URL, query)
        self.assertEqual(response.status_code, 200, response.content)
        rows = {str(row.pk): row for row in (self.developer, self.designer)}
        self.assertEqual(response["X-Total-Count"], str(len(response.json())))
        return [rows[row["id"]] for row in response.json()]

    def refusal(self, **query: Any) -> dict[str, list[str]]:
        """Return field → messages of the refused query."""
        response = self.client.get(URL, query)
        self.assertEqual((response.status_code, common.error_of(response)["code"]), (400, "validation_error"))
        fields: dict[str, list[str]] = common.error_of(response)["fields"]
        return fields

    def test_anonymous_list_takes_every_filter(self) -> None:
        """Each finds the developer's listing only."""
        good: dict[str, Any] = {
            "status": "open",
            "work_environment": "remote",
            "min_experience_required": "junior",
            "project": self.developer.project_id,
            "role": self.developer.role_id,
            "community_of_practice": "engineering",
            "skill": self.css.pk,
            "max_hours": 6,
            "search": "pantries",
        }
        self.assertEqual(self.listed(), [self.developer, self.designer])
        for name, value in good.items():
            with self.subTest(name):
                self.assertEqual(self.listed(**{name: value}), [self.developer])
        self.assertEqual(self.listed(**good), [self.developer])
        self.assertEqual(self.listed(**{**good, "project": self.designer.project_id}), [])
        self.assertEqual(set(good) | {"created_by", "ordering", "limit", "offset"}, set(PARAMETERS))

    def test_anonymous_list_takes_several_values_of_repeatable_filters(self) -> None:
        """Any of them counts; ids in any case, no more than so many hours; links keep the filters."""
        both = [self.developer, self.designer]
        cases: list[tuple[dict[str, Any], list[Opportunity]]] = [
            ({"status": ["open", "on_hold"]}, both),
            ({"work_environment": ["hybrid", "in_person"]}, [self.designer]),
            ({"min_experience_required": ["", "senior"]}, [self.designer]),
            ({"skill": [self.css.pk, self.figma.pk]}, both),
            ({"skill": [self.react.pk, self.css.pk]}, [self.developer]),
            ({"skill": str(self.css.pk).upper()}, [self.developer]),
            ({"project": str(self.developer.project_id).upper()}, [self.developer]),
            ({"community_of_practice": str(common.make_cop("ui_ux").pk).upper()}, [self.designer]),
            *(({"max_hours": hours}, found) for hours, found in ((0, []), (5, []), (10, both))),
        ]
        for query, found in cases:
            with self.subTest(query):
                self.assertEqual(self.listed(**query), found)
        filters: dict[str, Any] = {"status": ["open", "on_hold"], "limit": 1, "search": ""}
        link = self.client.get(URL, filters)["Link"]
        self.assertIn(f'<{URL}?limit=1&offset=1&search=&status=open&status=on_hold>; rel="next"', link)

    def test_pm_user_lists_own_listings(self) -> None:
        """``created_by=me`` is what the signed-in user posted; drafts are for project managers."""
        self.assertEqual(self.refusal(created_by="me"), {"created_by": ["Sign in to ask for what you have posted."]})
        for user, found in ((self.pm, [self.developer]), (common.make_regular_user(), [])):
            self.client.force_authenticate(user)
            self.assertEqual(self.listed(created_by="me"), found)
        draft = common.make_opportunity(status="draft")
        for viewer, drafts in ((None, []), (self.pm, [str(draft.pk)])):
            self.client.force_authenticate(viewer)
            self.assertEqual([row["id"] for row in self.client.get(URL, {"status": "draft"}).json()], drafts)

    def test_anonymous_list_takes_every_ordering(self) -> None:
        """Both ways; equals stand in the order of their ids, whichever way the order goes."""
        Opportunity.objects.filter(pk=self.designer.pk).update(updated_at=timezone.now() + timedelta(days=1))
        for ordering, first in (
            ("created_at", self.designer),
            ("-created_at", self.developer),
            ("updated_at", self.developer),
            ("-updated_at", self.designer),
            ("min_hours_required", self.developer),
            ("-min_hours_required", self.designer),
        ):
            with self.subTest(ordering):
                self.assertEqual(self.listed(ordering=ordering)[0], first)
        by_id = [f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(9)]
        for id_ in reversed(by_id):
            common.make_opportunity(id=id_, min_hours_required=3)
        for ordering in ("min_hours_required", "-min_hours_required"):
            rows = self.client.get(f"{URL}?ordering={ordering}&max_hours=3").json()
            self.assertEqual([row["id"] for row in rows], by_id)

    def test_anonymous_list_orders_by_relevance(self) -> None:
        """A hit in a title comes before one in a description; without a search there is nothing to be relevant to."""
        Opportunity.objects.filter(pk=self.developer.pk).update(body="Work with our designer.")
        self.assertEqual(self.listed(search="designer"), [self.developer, self.designer])
        self.assertEqual(self.listed(search="designer", ordering="relevance"), [self.designer, self.developer])
        self.assertEqual(self.refusal(ordering="relevance"), {"ordering": ['"relevance" needs a search.']})
        self.assertEqual(list(self.refusal(ordering="relevance", search=" ")), ["ordering"])

    def test_anonymous_list_refuses_bad_values(self) -> None:
        """Each is told by its name and what would have been right; few may be given twice."""
        bad: dict[str, tuple[Any, ...]] = {
            "status": ("nonsense", "OPEN", "open,closed", ["open", "nonsense"], ""),
            "work_environment": ("nonsense", ""),
            "min_experience_required": ("expert", "any"),
            "project": ("nonsense", common.UNKNOWN_ID, "7", "", "\x00", common.make_project().pk.hex),
            "role": ("nonsense", common.UNKNOWN_ID, "", f"{{{common.make_role().pk}}}"),
            "community_of_practice": ("nonsense", common.UNKNOWN_ID, "", "Engineering"),
            "skill": ("nonsense", common.UNKNOWN_ID, "", [str(self.css.pk), common.UNKNOWN_ID], "\x00"),
            "max_hours": ("-1", "169", "6.5", "six", "", "1e1", "1_0", "5.0", "+5", " 5", "\u0665", "9" * 5000),
            "created_by": ("you", "", str(self.pm.pk)),
            "ordering": ("body", "created_at,id", "--created_at", ""),
            "search": ("\x00", "x" * 201),
            "limit": ("0", "501", "-1", "9" * 20, "ten", "", "\x00", "1.5"),
            "offset": ("-1", "9" * 20, "x", "", "\u0661"),
            "page": ("1",),
        }
        self.client.force_authenticate(self.pm)
        for name, values in bad.items():
            for value in values:
                with self.subTest(name=name, value=value):
                    self.assertEqual(list(self.refusal(**{name: value})), [name])
        self.assertLessEqual(set(PARAMETERS), set(bad))
        right = {
            "status": ['"nonsense" is not one of draft, open, on_hold, filled, closed.'],
            "max_hours": ["Give a whole number from 0 to 168."],
            "skill": [f'There is no skill with the id "{common.UNKNOWN_ID}".'],
            "project": ["There is no such project. Choose another one."],
        }
        told = self.refusal(status="nonsense", max_hours="169", skill=common.UNKNOWN_ID, project=common.UNKNOWN_ID)
        self.assertEqual(told, right)
        repeatable = {name for name, parameter in PARAMETERS.items() if parameter.is_repeatable}
        self.assertEqual(repeatable, {"status", "work_environment", "min_experience_required", "skill"})
        for name in PARAMETERS.keys() - repeatable:
            with self.subTest(name):
                self.assertEqual(self.refusal(**{name: ["1", "1"]}), {name: ["Give this query parameter once."]})

    def test_anonymous_search_is_told_in_pages(self) -> None:
        """Counted and ordered as the whole list of hits, beyond its end as well."""
        hits = [self.developer, *(common.make_opportunity(body="More food for all.") for _ in range(4))]
        for ordering in ("-created_at", "created_at", "relevance"):
            whole = self.client.get(URL, {"search": "food", "ordering": ordering}).json()
            self.assertEqual({row["id"] for row in whole}, {str(row.pk) for row in hits})
            for offset in range(7):
                page = self.client.get(URL, {"search": "food", "ordering": ordering, "limit": 2, "offset": offset})
                with self.subTest(ordering=ordering, offset=offset):
                    self.assertEqual((page.json(), page["X-Total-Count"]), (whole[offset : offset + 2], "5"))

    def test_anonymous_search_leaves_out_what_is_hidden_meanwhile(self) -> None:
        """A hit that became a draft before its row is read, and one that was deleted."""
        drafted, deleted = common.make_opportunity(body="Food."), common.make_opportunity(body="Food.")

        def interfere(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
            found = execute(sql, *args)
            if "OVER ()" in sql:
                Opportunity.objects.filter(pk=drafted.pk).update(status="draft")
                Opportunity.objects.filter(pk=deleted.pk).delete()
            return found

        with connection.execute_wrapper(interfere):
            response = self.client.get(URL, {"search": "food"})
        self.assertEqual([row["id"] for row in response.json()], [str(self.developer.pk)])

    def test_anonymous_list_takes_a_constant_number_of_queries(self) -> None:
        """A filter by row looks that row up, a search begins and ends a transaction; the rest is the same for all."""
        for _ in range(20):
            common.make_opportunity({self.css: 2}, min_hours_required=3)
        queried: tuple[tuple[dict[str, Any], int], ...] = (
            ({"max_hours": 5, "status": "open", "search": "build"}, 7),
            ({"skill": [str(self.css.pk), str(self.react.pk)], "community_of_practice": "engineering"}, 6),
            ({"project": str(self.developer.project_id), "role": str(self.developer.role_id)}, 6),
        )
        for query, queries in queried:
            with self.subTest(query), self.assertNumQueries(queries):
                self.client.get(URL, query)
