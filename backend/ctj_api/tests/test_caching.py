"""What caches may keep."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.core.exceptions import FieldDoesNotExist
from django.db import connection
from django.utils import timezone
from rest_framework.serializers import CharField
from rest_framework.test import APITestCase

from ctj_api.http.serializer_fields import columns_of
from ctj_api.models import Opportunity, Project, Role, Skill
from ctj_api.serializers import OpportunityReadSerializer, SkillReadSerializer

from .common import WEEK, browser, make_cop, make_opportunity, make_pm_user, make_project, make_role, make_skill

PUBLIC = ("/api/skills/", "/api/roles/", "/api/projects/", "/api/communities-of-practice/", "/api/opportunities/")


NOTED_COLUMNS = """
    SELECT relname || '.' || attname
    FROM pg_trigger
    JOIN pg_class ON pg_class.oid = tgrelid
    JOIN pg_attribute ON attrelid = tgrelid AND attnum = ANY (tgattr)
    JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE proname = 'ctj_note_owner_of_matrix' OR (proname = 'ctj_note_row' AND tgargs LIKE '%listing%')
"""


def unnoted_columns(paths: Iterable[str]) -> set[str]:
    """Return as ``table.column`` what the paths from a listing lead to and no trigger notes a change of."""
    columns = set()
    for path in paths:
        *references, last = path.split("__")
        model: Any = Opportunity
        for reference in references:
            model = model._meta.get_field(reference).related_model
        columns.add(f"{model._meta.db_table}.{model._meta.get_field(last).column}")
    with connection.cursor() as cursor:
        cursor.execute(NOTED_COLUMNS)
        return columns - {name for (name,) in cursor.fetchall()}


class CachingTests(APITestCase):
    """Public answers carry a validator, private ones are kept by nobody."""

    def test_anonymous_read_is_public_and_revalidated(self) -> None:
        """The second request with the ETag costs no body."""
        skill, opportunity = make_skill(), make_opportunity()
        for path in (*PUBLIC, f"/api/skills/{skill.pk}/", f"/api/opportunities/{opportunity.pk}/", "/api/schema/"):
            with self.subTest(path):
                first = self.client.get(path)
                self.assertEqual(first["Cache-Control"], "public, max-age=60")
                # A shared cache must not give the listing to a project manager, who sees more.
                self.assertEqual("Cookie" in first.get("Vary", ""), "opportunities" in path)
                again = self.client.get(path, HTTP_IF_NONE_MATCH=first["ETag"])
                self.assertEqual((again.status_code, again.content), (304, b""))
                self.assertEqual((again["ETag"], again["Cache-Control"]), (first["ETag"], first["Cache-Control"]))
        etag = self.client.get("/api/skills/")["ETag"]
        with self.assertNumQueries(1), patch.object(SkillReadSerializer, "to_representation") as serialize:
            self.client.get("/api/skills/", HTTP_IF_NONE_MATCH=etag)
        serialize.assert_not_called()

    def test_anonymous_read_after_a_change_has_another_validator(self) -> None:
        """Whatever wrote it, with or without a new time; so has one after a release."""
        skill, role, project = make_skill(), make_role(), make_project()
        community = make_cop()
        changes: list[tuple[str, Callable[[], object]]] = [
            ("/api/skills/", make_skill),
            ("/api/skills/", lambda: Skill.objects.filter(pk=skill.pk).update(description="Other words.")),
            ("/api/skills/", lambda: skill.communities_of_practice.add(community)),
            ("/api/skills/", skill.communities_of_practice.clear),
            ("/api/skills/", skill.delete),
            ("/api/roles/", lambda: Role.objects.filter(pk=role.pk).update(title="Tester")),
            ("/api/projects/", lambda: Project.objects.filter(pk=project.pk).update(meeting_times=WEEK)),
            ("/api/communities-of-practice/", lambda: make_cop(name="Builders")),
        ]
        for path, change in changes:
            before = self.client.get(path)["ETag"]
            change()
            with self.subTest(path):
                self.assertEqual(self.client.get(path, HTTP_IF_NONE_MATCH=before).status_code, 200)
        before = self.client.get("/api/skills/")["ETag"]
        with self.settings(RELEASE="the next one"):  # the same rows may be told in another shape
            self.assertEqual(self.client.get("/api/skills/", HTTP_IF_NONE_MATCH=before).status_code, 200)

    def test_client_revalidating_with_a_wrong_parameter_gets_400(self) -> None:
        """Whatever validator comes with it."""
        wrong = {
            "skills": ("search=" + "a" * 300, "community_of_practice=nowhere", "unknown=1"),
            "opportunities": ("limit=0", "offset=x", "status=lost", "unknown=1", "ordering=relevance", "created_by=me"),
        }
        for name, query in ((name, query) for name, queries in wrong.items() for query in queries):
            with self.subTest(query):
                self.assertEqual(self.client.get(f"/api/{name}/?{query}", HTTP_IF_NONE_MATCH="*").status_code, 400)

    def test_anonymous_page_after_a_change_elsewhere_has_another_validator(self) -> None:
        """Its headers tell of the whole list: a listing more on a later page is a change."""
        make_opportunity()
        query = {"limit": 1}
        before = self.client.get("/api/opportunities/", query)
        make_opportunity(created_at=timezone.now() - timedelta(days=1))
        after = self.client.get("/api/opportunities/", query, HTTP_IF_NONE_MATCH=before["ETag"])
        self.assertEqual((after.status_code, after["X-Total-Count"]), (200, "2"))
        self.assertEqual(after.content, before.content)

    def test_authenticated_read_is_private(self) -> None:
        """What depends on the user is kept by nobody; the catalogs are the same for everyone."""
        client = browser()
        client.force_login(make_pm_user())
        for path in ("/api/users/me/", "/api/opportunities/", "/api/auth/csrf/"):
            with self.subTest(path):
                response = client.get(path)
                self.assertEqual(response["Cache-Control"], "private, no-store")
                self.assertIn("Cookie", response["Vary"])
                self.assertEqual("ETag" in response, path == "/api/users/me/")
        with self.assertNumQueries(3):  # the catalogs are the same for everyone: a session costs no query
            response = client.get("/api/roles/")
        self.assertEqual(response["Cache-Control"], "public, max-age=60")

    def test_client_asking_for_the_head_gets_the_headers_of_get_and_no_body(self) -> None:
        """The length of the body among them."""
        for path in (*PUBLIC, "/api/docs/", "/api/nowhere/"):
            with self.subTest(path):
                head, get = self.client.head(path), self.client.get(path)
                self.assertEqual((head.status_code, head.content), (get.status_code, b""))
                for header in ("Content-Length", "Content-Type", "Cache-Control"):
                    self.assertEqual(head[header], get[header])

    def test_maintainer_is_told_of_a_column_that_no_trigger_notes_or_that_is_misspelt(self) -> None:
        """A bulk update of one would leave readers with a 304 and the old value; an id never changes."""
        told = [*OpportunityReadSerializer.columns.values(), "role__community_of_practice__practice_area"]
        missing = unnoted_columns(told) - {"ctj_api_opportunity.id"}
        self.assertEqual(
            missing,
            set(),
            "Write a migration that drops the trigger which notes the updates of this table for 'listing' and creates "
            "it anew, as in 0006_changes, with these columns in UPDATE OF (and in WHEN, where it has one).",
        )
        self.assertEqual(unnoted_columns(["project__created_at"]), {"ctj_api_project.created_at"})

        class Misspelt(OpportunityReadSerializer):
            project_name = CharField(source="project.nmae")

        with self.assertRaisesMessage(FieldDoesNotExist, "Project has no field named 'nmae'"):
            columns_of(Misspelt(), but=("skills_required",))
