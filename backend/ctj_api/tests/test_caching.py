"""What caches may keep."""

import re
import tracemalloc
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from django.core.exceptions import FieldDoesNotExist
from django.db import OperationalError, connection
from django.test import SimpleTestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.serializers import CharField
from rest_framework.test import APITestCase

from ctj_api.http.kept_answers import Answer, KeptAnswers
from ctj_api.http.serializer_fields import columns_of
from ctj_api.models import Opportunity, Project, Role, Skill
from ctj_api.serializers import OpportunityReadSerializer

from . import common as make

PUBLIC = ("/api/skills/", "/api/roles/", "/api/projects/", "/api/communities-of-practice/", "/api/opportunities/")

LISTINGS = "/api/opportunities/"
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

    def test_anonymous_read_after_a_change_has_another_validator(self) -> None:
        """Whatever wrote it, with or without a new time."""
        skill, role, project = make.make_skill(), make.make_role(), make.make_project()
        community = make.make_cop()
        changes: list[tuple[str, Callable[[], object]]] = [
            ("/api/skills/", make.make_skill),
            ("/api/skills/", lambda: Skill.objects.filter(pk=skill.pk).update(description="Other words.")),
            ("/api/skills/", lambda: skill.communities_of_practice.add(community)),
            ("/api/skills/", skill.communities_of_practice.clear),
            ("/api/skills/", skill.delete),
            ("/api/roles/", lambda: Role.objects.filter(pk=role.pk).update(title="Tester")),
            ("/api/projects/", lambda: Project.objects.filter(pk=project.pk).update(meeting_times=make.WEEK)),
            ("/api/communities-of-practice/", lambda: make.make_cop(name="Builders")),
        ]
        for path, change in changes:
            before = self.client.get(path)["ETag"]
            change()
            with self.subTest(path):
                self.assertEqual(self.client.get(path, HTTP_IF_NONE_MATCH=before).status_code, 200)

    def test_maintainer_is_told_of_a_table_that_a_public_view_reads_and_does_not_name(self) -> None:
        """Its version would not tell of changes there, and readers would be given the old answer."""
        skill, role, project, community = make.make_skill(), make.make_role(), make.make_project(), make.make_cop()
        details = zip(PUBLIC, (skill, role, project, community), strict=False)
        filtered = [f"{path}?community_of_practice=devops" for path in PUBLIC[:2]]
        for path in [*PUBLIC[:4], *(f"{path}{row.pk}/" for path, row in details), *filtered]:
            with self.subTest(path), CaptureQueriesContext(connection) as queries:
                self.client.get(path)
                version, *others = (set(re.findall(r'"(ctj_api_\w+)" ?', query["sql"])) for query in queries)
                self.assertLessEqual(set().union(*others), version)

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
        make.make_opportunity()
        query = {"limit": 1}
        before = self.client.get("/api/opportunities/", query)
        make.make_opportunity(created_at=timezone.now() - timedelta(days=1))
        after = self.client.get("/api/opportunities/", query, HTTP_IF_NONE_MATCH=before["ETag"])
        self.assertEqual((after.status_code, after["X-Total-Count"]), (200, "2"))
        self.assertEqual(after.content, before.content)

    def test_authenticated_read_is_private(self) -> None:
        """What depends on the user is kept by nobody; the catalogs are the same for everyone."""
        client = make.browser()
        client.force_login(make.make_pm_user())
        for path in ("/api/users/me/", "/api/opportunities/", "/api/auth/csrf/"):
            with self.subTest(path):
                response = client.get(path)
                self.assertEqual(response["Cache-Control"], "private, no-store")
                self.assertIn("Cookie", response["Vary"])
                self.assertEqual("ETag" in response, path == "/api/users/me/")
        with self.assertNumQueries(2):  # the catalogs are the same for everyone: a session costs no query
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


class KeptAnswersTests(TransactionTestCase):
    """What a process keeps of its answers, and who gets it."""

    def setUp(self) -> None:
        """Post a listing."""
        self.pm, self.skill, self.reader = make.make_pm_user(), make.make_skill(), make.browser()
        self.listing = make.make_opportunity({self.skill: 3}, created_by=self.pm)
        self.detail = f"{LISTINGS}{self.listing.pk}/"

    def test_anonymous_asking_again_gets_the_same_answer_without_its_being_made(self) -> None:
        """Only the version is read, with that of the names that searches go by; all headers are as before."""
        queries = {f"{LISTINGS}?search=build": 2, "/api/skills/?search=py": 2, "/api/schema/": 0}
        for path in (*PUBLIC, self.detail, f"/api/skills/{self.skill.pk}/", f"{LISTINGS}?limit=1", *queries):
            first = self.reader.get(path)
            with self.subTest(path):
                with self.assertNumQueries(3 * queries.get(path, 1)):
                    again, head = self.reader.get(path), self.reader.head(path)
                    unchanged = self.reader.get(path, HTTP_IF_NONE_MATCH=first["ETag"])
                self.assertEqual((again.content, head.content), (first.content, b""))
                for answer in (again, head):
                    self.assertEqual(*({**reply.headers, "X-Request-ID": ""} for reply in (answer, first)))
                told = [(answer["ETag"], answer["Cache-Control"]) for answer in (first, unchanged)]
                self.assertEqual((unchanged.status_code, told), (304, [(first["ETag"], "public, max-age=60")] * 2))
                # A shared cache must not give the listing to a project manager, who sees more.
                vary = "Accept" if path == "/api/schema/" else None
                self.assertEqual(first.get("Vary"), "Cookie" if path.startswith(LISTINGS) else vary)
                self.assertNotIn("Content-Length", unchanged)

    def test_everyone_is_told_of_a_change_by_the_next_answer_of_every_process(self) -> None:
        """Whether SQL, the API or the admin has made it."""
        processes = [KeptAnswers(1_000_000), KeptAnswers(1_000_000)]

        def read() -> bytes:
            bodies: list[bytes] = []
            for process in processes:
                with patch("ctj_api.http.caching.ANSWERS", process):
                    bodies.append(self.reader.get(LISTINGS).content)
            self.assertEqual(bodies[0], bodies[1])
            return bodies[0]

        said = {**self.reader.get(self.detail).json(), "body": "By the API."}
        page = f"/admin/ctj_api/opportunity/{self.listing.pk}/delete/"
        manager, administrator, told = make.browser(self.pm), make.browser(make.make_admin_user()), [read()]
        changes: tuple[Callable[[], Any], ...] = (
            partial(make.execute, "UPDATE ctj_api_opportunity SET body = 'By SQL.'"),
            partial(manager.put, self.detail, said),
            partial(administrator.post, page, {"post": "yes"}, "multipart"),
        )
        for change in changes:
            make.in_another_thread(change)
            told.append(read())
        for body, words in zip(told, (b"Help us", b"By SQL.", b"By the API.", b"[]"), strict=True):
            self.assertIn(words, body)

    def test_anonymous_is_given_no_answer_that_a_change_has_overtaken(self) -> None:
        """Not even when the change comes between its last query and its being kept."""

        def interfere(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
            result = execute(sql, *args)
            if 'FROM "ctj_api_skill"' in sql:
                make.in_another_thread(lambda: Opportunity.objects.update(body="Other words."))
            return result

        with connection.execute_wrapper(interfere):
            overtaken = self.reader.get(f"{LISTINGS}?limit=5")
        self.assertNotIn(b"Other words.", overtaken.content)
        self.assertIn(b"Other words.", self.reader.get(f"{LISTINGS}?limit=5").content)

    def test_anonymous_search_follows_the_names_that_say_where_words_are_split(self) -> None:
        """Those of roles and skills, which may be those of no listing."""
        Opportunity.objects.update(body="The front end of the site.")
        found = [self.reader.get(LISTINGS, {"search": "frontend"}).json()]
        make.make_role(title="Front End Developer")
        found.append(self.reader.get(LISTINGS, {"search": "frontend"}).json())
        self.assertEqual([len(listings) for listings in found], [0, 1])

    def test_authenticated_user_neither_gets_nor_leaves_a_kept_answer(self) -> None:
        """Nor does who only says so, by a cookie or a token; other cookies say nothing."""
        make.make_opportunity(status="draft")
        public = self.reader.get(LISTINGS)
        manager = make.browser(self.pm)
        with patch("ctj_api.http.caching.ANSWERS") as answers:
            private = manager.get(LISTINGS, HTTP_IF_NONE_MATCH="*")
            self.assertEqual((len(private.json()), private["Cache-Control"]), (2, "private, no-store"))
            manager.get(self.detail)
            self.reader.get(LISTINGS, HTTP_AUTHORIZATION="Bearer x")
            self.reader.get(LISTINGS, HTTP_COOKIE="sessionid=x")
        self.assertEqual(answers.mock_calls, [])
        with self.assertNumQueries(1):
            again = self.reader.get(LISTINGS, HTTP_COOKIE="csrftoken=x; theme=dark")
        self.assertEqual((again.content, len(again.json())), (public.content, 1))

    def test_anyone_asking_in_vain_leaves_no_answer(self) -> None:
        """Neither errors nor refusals are kept, and none is replaced by a kept answer."""
        self.reader.get(LISTINGS)
        self.reader.get(f"{LISTINGS}?format=json")
        cases: list[tuple[int, str, dict[str, Any]]] = [
            (400, f"{LISTINGS}?limit=0", {}),
            (400, f"{LISTINGS}?format=json", {}),
            (400, LISTINGS, {"HTTP_HOST": "elsewhere.example.org"}),
            (404, f"{LISTINGS}{self.skill.pk}/", {}),
            (406, LISTINGS, {"HTTP_ACCEPT": "text/html"}),
            (406, LISTINGS, {"HTTP_ACCEPT": ""}),
        ]
        with patch.object(KeptAnswers, "keep") as keep:
            for status, path, headers in cases:
                with self.subTest(path, **headers):
                    self.assertEqual(self.reader.get(path, **headers).status_code, status)
            self.reader.raise_request_exception = False
            with patch("ctj_api.ranking.row_changes.changes_since", side_effect=OperationalError):
                away = self.reader.get(LISTINGS)
        self.assertEqual((away.status_code, away.json()["error"]["code"]), (503, "service_unavailable"))
        keep.assert_not_called()


class BoundOfKeptAnswersTests(SimpleTestCase):
    """How much is kept."""

    def test_attacker_with_made_up_queries_fills_no_more_than_the_bound(self) -> None:
        """Keys and bytes count; who is asked for again stays the longest, and no answer is another's."""
        answers, known = KeptAnswers(1_000_000), ("/", "known", "")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(3_000):
            size = number % 7 * 1_000
            headers = {"Content-Type": f"application/json {number}", "Link": "<" * (size // 10), "ETag": f'"{number}"'}
            key = "/", f"{number}" + "a" * size, ""
            answers.keep(Answer(key, f"version {number}", b"b" * size, headers))
            if number == 0:
                answers.keep(Answer(known, "1", b"known", {}))
            self.assertIsNotNone(answers.find(known, "1"))
        self.assertLess(tracemalloc.get_traced_memory()[0], 1_000_000)
        self.assertIsNone(answers.find(known, "2"))
        self.assertIsNone(answers.find(("/", "0", ""), "version 0"))
        answers.keep(Answer(known, "2", b"b" * 2_000_000, {}))
        self.assertIsNone(answers.find(known, "2"))
