"""The skill catalog in the admin: how it is listed, merged, exported and imported."""

import csv
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from html import unescape
from io import StringIO
from typing import Any
from unittest.mock import patch

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.core import signing
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client, TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.test import APIClient

from ctj_api.desk.skill_csv import (
    MAX_FILE_SIZE,
    MAX_ROWS,
    ConfirmationStorage,
    SkillCSV,
    SkillResource,
    UnusableFileError,
)
from ctj_api.models import Opportunity, Skill, SkillMatrix, UserProfile
from ctj_api.querysets import Usage

from .common import (
    PASSWORD,
    UNKNOWN_ID,
    make_admin_user,
    make_cop,
    make_opportunity,
    make_pm_user,
    make_regular_user,
    make_skill,
    opportunity_payload,
    wait_until,
)
from .test_concurrency import at_once

ROUNDS = 6
HEADER = "name,description,communities_of_practice\n"
LIST = reverse("admin:ctj_api_skill_changelist")
IMPORT = reverse("admin:ctj_api_skill_import")
CONFIRM = reverse("admin:ctj_api_skill_process_import")
EXPORT = reverse("admin:ctj_api_skill_export")


class CatalogTestCase(TestCase):
    """An administrator at work."""

    def setUp(self) -> None:
        """Sign an administrator in."""
        self.administrator = make_admin_user()
        self.client.force_login(self.administrator)

    def count_queries(self, url: str) -> int:
        """Return how many queries a page takes."""
        with CaptureQueriesContext(connection) as queries:
            self.assertEqual(self.client.get(url).status_code, 200)
        return len(queries)

    def listed(self, query: str = "") -> list[str]:
        """Return the names of the skills of the list, in its order."""
        return [skill.name for skill in self.client.get(f"{LIST}{query}").context["cl"].result_list]


class SkillListTests(CatalogTestCase):
    """What the list shows."""

    def test_admin_user_sees_usage_and_practice_areas(self) -> None:
        """The numbers are those of opportunities and volunteers, each once."""
        react, unused = make_skill(name="React", description="x" * 200), make_skill(name="Unused")
        react.communities_of_practice.set([make_cop("engineering"), make_cop("ui_ux")])
        for _ in range(2):
            make_opportunity({react: 3})
        make_regular_user({react: 1}, is_active=False)
        page = self.client.get(LIST)
        first, second = page.context["cl"].result_list
        self.assertEqual((first.name, first.opportunity_count, first.volunteer_count), ("React", 2, 1))
        self.assertEqual((second.name, second.opportunity_count, second.volunteer_count), ("Unused", 0, 0))
        self.assertEqual(second, unused)
        for column in ("Opportunities", "Volunteers", "Practice areas"):
            self.assertContains(page, column)
        self.assertContains(page, ", ".join(str(area) for area in react.communities_of_practice.all()))
        self.assertNotContains(page, "x" * 100)

    def test_list_counts_what_usage_of_counts(self) -> None:
        """The list and the refusal to delete say the same."""
        skills = [make_skill() for _ in range(4)]
        for number in range(4):
            make_opportunity(dict.fromkeys(skills[number:], 3))
            make_regular_user(dict.fromkeys(skills[: number // 2], 2))
        counted = {skill: Usage(skill.opportunity_count, skill.volunteer_count) for skill in Skill.objects.with_usage()}  # type: ignore[attr-defined]
        self.assertEqual(counted, SkillMatrix.objects.usage_of(skills))
        self.assertEqual(counted[skills[3]], Usage(4, 0))

    def test_list_is_sorted_by_usage(self) -> None:
        """By either number, in both directions."""
        required, rated = make_skill(name="Required"), make_skill(name="Rated")
        make_opportunity({required: 3})
        make_regular_user({rated: 3})
        self.assertEqual(self.listed("?o=-4"), ["Required", "Rated"])
        self.assertEqual(self.listed("?o=4"), ["Rated", "Required"])
        self.assertEqual(self.listed("?o=-5"), ["Rated", "Required"])

    def test_list_is_filtered_and_searched(self) -> None:
        """By community, and by words of name and description."""
        react = make_skill(name="React", description="For pages")
        react.communities_of_practice.add(make_cop("engineering"))
        make_skill(name="Figma").communities_of_practice.add(make_cop("ui_ux"))
        community = make_cop("engineering").pk
        self.assertEqual(self.listed(f"?communities_of_practice__id__exact={community}"), ["React"])
        self.assertEqual(self.listed("?q=PAGES"), ["React"])
        self.assertEqual(self.listed("?q=fig"), ["Figma"])

    def test_list_takes_a_constant_number_of_queries(self) -> None:
        """With one skill and with thirty, sorted by usage as well."""
        for query in ("", "?o=-4"):
            make_opportunity({make_skill(): 3})
            before = self.count_queries(LIST + query)
            for _ in range(30):
                skill = make_skill()
                skill.communities_of_practice.add(make_cop())
                make_opportunity({skill: 3})
            self.assertEqual(self.count_queries(LIST + query), before)

    def test_counting_asks_the_index_by_key(self) -> None:
        """The GIN index serves the operator ``?``; an unnested matrix would be read whole."""
        self.assertIn('"levels" ? ', str(Skill.objects.with_usage().query))


class SkillMergeTests(CatalogTestCase):
    """Making one skill of several."""

    def setUp(self) -> None:
        """Make two names of one skill, and another skill."""
        super().setUp()
        self.react = make_skill(name="React")
        self.reactjs = make_skill(name="React.js", description="The same, with a dot")
        self.other = make_skill(name="Figma")

    def merge(self, *skills: Skill, **data: str) -> Any:
        """Return the answer to the action."""
        chosen = [str(skill.pk) for skill in skills]
        return self.client.post(LIST, {"action": "merge_selected", "_selected_action": chosen, **data}, follow=True)

    def merge_into_react(self, *skills: Skill) -> Any:
        """Return the answer to a confirmed merging."""
        return self.merge(self.react, *(skills or (self.reactjs,)), post="yes", kept=str(self.react.pk))

    def test_merging_asks_which_skill_stays(self) -> None:
        """Each with its numbers and its description; nothing changes before the answer."""
        make_opportunity({self.reactjs: 3})
        page = self.merge(self.react, self.reactjs)
        self.assertContains(page, 'type="radio" name="kept"', count=2)
        self.assertContains(page, f'value="{self.react.pk}"')
        self.assertContains(page, "The same, with a dot")
        self.assertRegex(page.content.decode(), r"Required by 1 opportunity,\s+rated by 0 volunteers")
        self.assertEqual(Skill.objects.count(), 3)

    def test_question_is_accessible_and_free_of_inline_code(self) -> None:
        """A labelled group of labelled choices; scripts and styles are files of this site."""
        html = self.merge(self.react, self.reactjs).content.decode()
        content = html[html.index('<div id="content"') : html.index("</form>", html.index("merge-choice"))]
        self.assertIn("<legend", content)
        ids = re.findall(r'type="radio"[^>]* id="(\w+)"', content)
        self.assertEqual(ids, re.findall(r'<label for="(\w+)"', content))
        self.assertEqual([f"{id_}_about" for id_ in ids], re.findall(r'aria-describedby="(\w+)"', content))
        self.assertNotRegex(content, r"<script(?![^>]* src=)|<style| style=| on\w+=")

    def test_merging_without_an_answer_asks_again(self) -> None:
        """Also where the answer is no skill of the selection."""
        for kept in ("", "x", UNKNOWN_ID, str(self.other.pk)):
            page = self.merge(self.react, self.reactjs, post="yes", kept=kept)
            self.assertContains(page, "Choose the skill to keep.")
        self.assertEqual(Skill.objects.count(), 3)

    def test_merging_keeps_the_highest_level(self) -> None:
        """Other skills of a matrix stay as they are, and so do other matrices."""
        third = make_skill(name="ReactJS")
        cases: list[tuple[dict[Skill, int], dict[Skill, int]]] = [
            ({self.reactjs: 4}, {self.react: 4}),
            ({self.reactjs: 2, self.react: 5}, {self.react: 5}),
            ({self.reactjs: 5, self.react: 2, third: 3}, {self.react: 5}),
            ({third: 1, self.other: 2}, {self.react: 1, self.other: 2}),
            ({self.other: 3}, {self.other: 3}),
            ({self.react: 2}, {self.react: 2}),
            ({}, {}),
        ]
        users = [make_regular_user(levels) for levels, _ in cases]
        listings = [make_opportunity(levels) for levels, _ in cases]
        page = self.merge_into_react(self.reactjs, third)
        self.assertContains(page, "React.js, ReactJS were merged into React: 4 opportunities and 4 volunteers changed")
        for user, listing, (_, expected) in zip(users, listings, cases, strict=True):
            levels = {str(skill.pk): level for skill, level in expected.items()}
            user.refresh_from_db()
            listing.refresh_from_db()
            assert user.skills_learned_matrix is not None
            self.assertEqual(user.skills_learned_matrix.levels, levels)
            self.assertEqual(listing.skills_required_matrix.levels, levels)
        self.assertEqual(set(Skill.objects.values_list("name", flat=True)), {"Figma", "React"})

    def test_merging_stamps_only_what_it_changes(self) -> None:
        """The time of a matrix without a dropped skill stays."""
        changed, same = make_opportunity({self.reactjs: 4}), make_opportunity({self.react: 4})
        before = {row.pk: row.updated_at for row in SkillMatrix.objects.all()}
        self.merge_into_react()
        after = {row.pk: row.updated_at for row in SkillMatrix.objects.all()}
        self.assertGreater(after[changed.skills_required_matrix_id], before[changed.skills_required_matrix_id])
        self.assertEqual(after[same.skills_required_matrix_id], before[same.skills_required_matrix_id])

    def test_merging_joins_the_practice_areas(self) -> None:
        """Those of all skills, each once."""
        self.react.communities_of_practice.set([make_cop("engineering")])
        self.reactjs.communities_of_practice.set([make_cop("engineering"), make_cop("ui_ux")])
        self.merge_into_react()
        areas = self.react.communities_of_practice.values_list("practice_area", flat=True)
        self.assertEqual(sorted(areas), ["engineering", "ui_ux"])

    def test_merging_says_what_changed(self) -> None:
        """How many of either kind."""
        make_opportunity({self.reactjs: 3})
        for _ in range(2):
            make_regular_user({self.reactjs: 3})
        self.assertContains(
            self.merge_into_react(),
            "React.js was merged into React: 1 opportunity and 2 volunteers changed; "
            "where both were rated, the higher level was kept.",
        )

    def test_merging_is_logged(self) -> None:
        """With the one that stays, and with the one that goes."""
        self.merge_into_react()
        kept = LogEntry.objects.get(object_id=str(self.react.pk))
        dropped = LogEntry.objects.get(object_id=str(self.reactjs.pk))
        self.assertEqual((kept.action_flag, kept.change_message), (CHANGE, "Merged into it: React.js."))
        self.assertEqual((dropped.action_flag, dropped.object_repr), (DELETION, "React.js"))
        self.assertEqual((kept.user, dropped.user), (self.administrator, self.administrator))

    def test_merging_fewer_than_two_is_refused(self) -> None:
        """One is not enough, and the message says so."""
        for data in ({}, {"post": "yes", "kept": str(self.react.pk)}):
            self.assertContains(self.merge(self.react, **data), "Select at least two skills to merge them.")
        self.assertEqual(Skill.objects.count(), 3)
        self.assertFalse(LogEntry.objects.exists())

    def test_merging_is_told_in_the_history_of_listings(self) -> None:
        """Of those that required a skill that went, and of no others."""
        changed, other = make_opportunity({self.reactjs: 3}), make_opportunity({self.react: 3})
        self.merge_into_react()
        pages = [reverse("admin:ctj_api_opportunity_history", args=[listing.pk]) for listing in (changed, other)]
        self.assertContains(self.client.get(pages[0]), "Changed React.js, which became React.")
        self.assertNotContains(self.client.get(pages[1]), "which became")

    def test_merging_renews_what_search_finds(self) -> None:
        """A listing is found by the name that stays, and not by the one that went."""
        self.reactjs.name = "Zeppelin"
        self.reactjs.save()
        make_opportunity({self.reactjs: 3})
        self.merge_into_react()
        self.assertEqual(Opportunity.objects.search("react").count(), 1)
        self.assertEqual(Opportunity.objects.search("zeppelin").count(), 0)

    def test_merging_what_was_deleted_meanwhile_changes_nothing(self) -> None:
        """Whoever comes too late is told so by the admin."""
        matrix = make_opportunity({self.reactjs: 3}).skills_required_matrix
        self.react.delete()
        self.react.pk = UNKNOWN_ID
        with self.assertRaises(ValidationError):
            Skill.objects.filter(pk=self.reactjs.pk).merge_into(self.react)
        matrix.refresh_from_db()
        self.assertEqual(matrix.levels, {str(self.reactjs.pk): 3})

    def test_merging_takes_a_constant_number_of_queries(self) -> None:
        """However many matrices rate the skills."""
        make_opportunity({self.reactjs: 3})
        self.merge_into_react()
        counts = []
        for number in (1, 20):
            dropped = make_skill()
            for _ in range(number):
                make_opportunity({dropped: 3})
                make_regular_user({dropped: 3})
            with CaptureQueriesContext(connection) as queries:
                self.merge_into_react(dropped)
            counts.append(len(queries))
        self.assertEqual(counts[0], counts[1])


class MergeConcurrencyTests(TransactionTestCase):
    """Merging while others write; transactions that are really committed."""

    serialized_rollback = True

    def client_of(self, user: UserProfile) -> APIClient:
        """Return an API client."""
        client = APIClient()
        client.force_authenticate(user)
        return client

    def write_everywhere(self, kept: Skill, dropped: Skill) -> list[Callable[[], Any]]:
        """Return requests that rate the dropped skill anew, raise its level, and post a listing with it."""
        pm = make_pm_user()
        payload = opportunity_payload(skills_required_matrix={str(dropped.pk): 4})
        calls: list[Callable[[], Any]] = []
        for number in range(3):
            listing = make_opportunity({dropped: 2}, created_by=pm)
            volunteer = make_regular_user({dropped: 2} if number else {kept: 1})
            calls += [
                partial(self.client_of(pm).put, f"/api/opportunities/{listing.pk}/", payload),
                partial(
                    self.client_of(volunteer).patch,
                    "/api/users/me/",
                    {"skills_learned_matrix": {str(dropped.pk): 5, str(kept.pk): 1}},
                ),
            ]
        return [*calls, partial(self.client_of(pm).post, "/api/opportunities/", payload)]

    def test_merging_while_matrices_are_written_loses_no_rating(self) -> None:
        """Each write comes before the merging and is rewritten, or after it and is refused; none waits for ever."""
        administrator = make_admin_user()
        for _ in range(ROUNDS):
            kept, dropped = make_skill(), make_skill()
            client = Client()
            client.force_login(administrator)
            chosen = {"_selected_action": [str(kept.pk), str(dropped.pk)], "kept": str(kept.pk)}
            merge = partial(client.post, LIST, {"action": "merge_selected", "post": "yes", **chosen})
            *answers, merged = at_once(*self.write_everywhere(kept, dropped), merge)
            self.assertEqual(merged.status_code, 302)
            self.assertLessEqual({answer.status_code for answer in answers}, {200, 201, 400})
            self.assertFalse(Skill.objects.filter(pk=dropped.pk).exists())
            self.assertFalse(SkillMatrix.objects.filter(levels__has_key=str(dropped.pk)).exists())
            self.check_levels(kept, answers)
            Opportunity.objects.all().delete()
            UserProfile.objects.filter(skills_learned_matrix__isnull=False).delete()

    def check_levels(self, kept: Skill, answers: list[Any]) -> None:
        """Expect the level that each accepted write gave, and the former one where it was refused."""
        rated = SkillMatrix.objects.filter(levels__has_key=str(kept.pk))
        puts, patches, (post,) = answers[:-1:2], answers[1:-1:2], answers[-1:]
        posted = [4] if post.status_code == 201 else []
        required = [4 if answer.status_code == 200 else 2 for answer in puts] + posted
        former = [1, 2, 2]
        learned = [5 if answer.status_code == 200 else level for answer, level in zip(patches, former, strict=True)]
        found = [
            sorted(matrix.levels[str(kept.pk)] for matrix in rated.filter(**{f"{owner}__isnull": False}))
            for owner in ("opportunity", "volunteer")
        ]
        self.assertEqual(found, [sorted(required), sorted(learned)])

    def merge_in_a_thread(self, pool: ThreadPoolExecutor, kept: Skill, dropped: Skill) -> Future[Usage]:
        """Start a merging in a connection of its own, and return when it waits for this one."""

        def merge() -> Usage:
            try:
                return Skill.objects.filter(pk=dropped.pk).merge_into(kept)
            finally:
                connection.close()

        merging = pool.submit(merge)
        waiting = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        with connection.cursor() as cursor:
            wait_until(lambda: bool(cursor.execute(waiting).rowcount))
        return merging

    def test_merging_waits_for_who_starts_to_use_a_skill(self) -> None:
        """A rating that is being saved when the merging begins is rewritten as well."""
        kept, dropped = make_skill(), make_skill()
        user = make_regular_user({})
        assert user.skills_learned_matrix is not None
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                SkillMatrix.objects.store({str(dropped.pk): 3}, into=user.skills_learned_matrix)
                merging = self.merge_in_a_thread(pool, kept, dropped)
            self.assertEqual(merging.result(), Usage(opportunities=0, volunteers=1))
        self.assertEqual(SkillMatrix.objects.get().levels, {str(kept.pk): 3})

    def test_merging_takes_its_locks_in_the_order_of_the_api(self) -> None:
        """Who has locked a listing or an account goes on to save its matrix; neither is given up."""
        kept, dropped = make_skill(), make_skill()
        make_opportunity({dropped: 2})
        make_regular_user({dropped: 2})
        for model in (Opportunity, UserProfile):
            with self.subTest(model), ThreadPoolExecutor(1) as pool:
                with transaction.atomic():
                    owner: Any = model._default_manager.select_for_update(no_key=True).get()
                    merging = self.merge_in_a_thread(pool, kept, dropped)
                    matrix = owner.skills_required_matrix if model is Opportunity else owner.skills_learned_matrix
                    SkillMatrix.objects.store({str(dropped.pk): 5}, into=matrix)
                self.assertEqual(merging.result(), Usage(opportunities=1, volunteers=1))
            matrix.refresh_from_db()
            self.assertEqual(matrix.levels, {str(kept.pk): 5})
            kept, dropped = make_skill(), kept

    def test_simultaneous_mergings_of_the_same_skills_happen_once(self) -> None:
        """The second one finds the skill gone and changes nothing, whichever of the two it would keep."""
        administrator = make_admin_user()
        for _ in range(ROUNDS):
            skills = [make_skill() for _ in range(2)]
            listing = make_opportunity({skills[0]: 2, skills[1]: 3})
            calls: list[Callable[[], Any]] = []
            for kept in skills:
                client = Client()
                client.force_login(administrator)
                chosen = {"_selected_action": [str(skill.pk) for skill in skills], "kept": str(kept.pk)}
                calls.append(partial(client.post, LIST, {"action": "merge_selected", "post": "yes", **chosen}))
            answers = at_once(*calls)
            self.assertLessEqual({answer.status_code for answer in answers}, {200, 302})
            (left,) = Skill.objects.filter(pk__in=[skill.pk for skill in skills])
            listing.refresh_from_db()
            self.assertEqual(SkillMatrix.objects.get(opportunity=listing).levels, {str(left.pk): 3})


class SkillFileTestCase(CatalogTestCase):
    """Uploads of files."""

    def upload(self, content: str | bytes, name: str = "skills.csv") -> Any:
        """Return the preview of a file."""
        data = content.encode() if isinstance(content, str) else content
        return self.client.post(IMPORT, {"import_file": SimpleUploadedFile(name, data), "resource": "0"})

    def confirm(self, page: Any) -> Any:
        """Return the answer to the confirmation of a preview."""
        return self.client.post(CONFIRM, page.context["confirm_form"].initial, follow=True)

    def import_file(self, content: str | bytes) -> Any:
        """Return the answer to an import, previewed and confirmed."""
        return self.confirm(self.upload(content))

    def export(self, query: str = "") -> bytes:
        """Return the exported file."""
        response = self.client.get(EXPORT + query)
        self.assertEqual((response.status_code, response["Content-Type"]), (200, "text/csv; charset=utf-8"))
        content: bytes = response.content
        return content

    def exported_rows(self, query: str = "") -> list[list[str]]:
        """Return the exported cells without the names of the columns."""
        return list(csv.reader(StringIO(self.export(query).decode("utf-8-sig"), newline="")))[1:]

    def problems(self, content: str | bytes) -> list[tuple[int, list[str]]]:
        """Return the rows that a preview refuses, as spreadsheets count them, with the reasons."""
        page = self.upload(content)
        self.assertNotIn("confirm_form", page.context)
        for row in page.context["result"].invalid_rows:
            for message in row.error.messages:
                self.assertIn(message, unescape(page.content.decode()))
        return [(row.number + 1, row.error.messages) for row in page.context["result"].invalid_rows]


class SkillImportTests(SkillFileTestCase):
    """A file that is right."""

    def test_import_adds_and_changes_skills(self) -> None:
        """Known by their names in any case; what the file doesn't name stays."""
        react, figma = make_skill(name="React", description="Old"), make_skill(name="Figma")
        page = self.import_file(
            HEADER + "react,New,engineering|ui_ux\nDjango,,Engineering\n" + '"Soft, skills","Two\nlines",\n'
        )
        self.assertContains(page, "Skills imported: 2 new, 1 changed, 0 as they were.")
        react.refresh_from_db()
        self.assertEqual((react.name, react.description), ("react", "New"))
        self.assertEqual(set(self.areas(react)), {"engineering", "ui_ux"})
        self.assertEqual(self.areas(Skill.objects.get(name="Django")), ["engineering"])
        self.assertEqual(Skill.objects.get(name="Soft, skills").description, "Two\nlines")
        self.assertTrue(Skill.objects.filter(pk=figma.pk).exists())

    def areas(self, skill: Skill) -> list[str]:
        """Return the practice areas of a skill."""
        return list(skill.communities_of_practice.values_list("practice_area", flat=True))

    def test_preview_shows_the_changes_and_writes_nothing(self) -> None:
        """The old text struck out and the new one after it, with what is new and what stays."""
        make_skill(name="React", description="Old <b>")
        make_skill(name="Figma")
        page = self.upload(HEADER + "React,New <i>,\nFigma,,\nDjango,,devops\n")
        self.assertContains(page, "<del>Old &lt;b&gt;</del> <ins>New &lt;i&gt;</ins>")
        self.assertContains(page, "<ins>devops</ins>")
        types = [row.import_type for row in page.context["result"].valid_rows()]
        self.assertEqual(types, ["update", "skip", "new"])
        self.assertEqual(Skill.objects.get(name="React").description, "Old <b>")
        self.assertEqual(Skill.objects.count(), 2)

    def test_import_of_some_columns_leaves_the_others(self) -> None:
        """Neither the description nor the communities are emptied."""
        skill = make_skill(name="React", description="Old")
        skill.communities_of_practice.add(make_cop("devops"))
        self.import_file("name,description\nReact,New\nDjango,\n")
        skill.refresh_from_db()
        self.assertEqual((skill.description, self.areas(skill)), ("New", ["devops"]))
        self.import_file("communities_of_practice,name\nui_ux,React\n")
        skill.refresh_from_db()
        self.assertEqual((skill.description, self.areas(skill)), ("New", ["ui_ux"]))

    def test_import_reads_what_spreadsheets_write(self) -> None:
        """A byte order mark, semicolons, their line ends, empty rows and columns at the end."""
        files: dict[str, str | bytes] = {
            "mark": b"\xef\xbb\xbf" + (HEADER + "Café,,devops\n").encode(),
            "semicolons": "name;description;communities_of_practice\r\nCafé;;devops\r\n",
            "empty": "Name,Description,Communities_of_practice,,\r\nCafé,,devops,,\r\n,,,,\r\n\r\n",
            "short": "name,description,communities_of_practice\nCafé\n",
        }
        for name, content in files.items():
            with self.subTest(name):
                self.import_file(content)
                self.assertEqual(list(Skill.objects.values_list("name", flat=True)), ["Café"])
                Skill.objects.all().delete()

    def test_import_is_logged(self) -> None:
        """With who did it, for what is new and what changed, and not for what stayed."""
        make_skill(name="React")
        make_skill(name="Figma")
        self.import_file(HEADER + "React,New,\nFigma,,\nDjango,,\n")
        entries = LogEntry.objects.filter(user=self.administrator)
        self.assertEqual(sorted(entries.values_list("object_repr", flat=True)), ["Django", "React"])

    def test_import_stamps_only_what_it_changes(self) -> None:
        """Nothing is saved that the file has as it is."""
        react, figma = make_skill(name="React"), make_skill(name="Figma")
        self.import_file(HEADER + "React,New,\nFigma,,\n")
        before = {skill.pk: skill.updated_at for skill in (react, figma)}
        after = {skill.pk: skill.updated_at for skill in Skill.objects.all()}
        self.assertGreater(after[react.pk], before[react.pk])
        self.assertEqual(after[figma.pk], before[figma.pk])

    def test_preview_of_what_stays_takes_one_query_a_row_at_most(self) -> None:
        """Skills are found and checked without asking the database for each."""
        counts = []
        for number in (2, 30):
            for _ in range(number):
                make_skill().communities_of_practice.add(make_cop())
            file = self.export()
            with CaptureQueriesContext(connection) as queries:
                self.upload(file)
            counts.append(sum("SAVEPOINT" not in query["sql"] for query in queries))
        self.assertLessEqual(counts[1] - counts[0], 30)

    def test_import_survives_without_files_and_caches(self) -> None:
        """What was previewed by one process can be confirmed by another: the page carries it."""
        with patch("builtins.open", side_effect=AssertionError), patch("tempfile.NamedTemporaryFile"):
            page = self.upload(HEADER + "React,,\n")
        self.assertContains(page, 'name="import_file_name"')
        self.client.logout()
        self.client.force_login(self.administrator)
        self.confirm(page)
        self.assertTrue(Skill.objects.filter(name="React").exists())


class SkillImportErrorTests(SkillFileTestCase):
    """A file that is wrong: nothing is written, and the page says what to mend."""

    def tearDown(self) -> None:
        """Expect that nothing was written."""
        self.assertEqual(list(Skill.objects.values_list("name", flat=True)), [])
        self.assertFalse(LogEntry.objects.exists())

    def test_wrong_rows_are_told_with_reasons(self) -> None:
        """All of them at once, with the number that a spreadsheet shows."""
        areas = "The practice areas are: data_science, devops, engineering, project_management, ui_ux."
        rows = [
            ("Good,,devops", []),
            (",no name,", ["A skill needs a name."]),
            (f"{'x' * 256},,", ["The name has 256 characters; at most 255 are possible."]),
            ("GOOD,,", ["Row 2 has this name already."]),
            ("a\0b,,", ["This has a null character, which can't be stored."]),
            ("c,\0,", ["This has a null character, which can't be stored."]),
            ("d,,devops|cooking", [f'There is no practice area "cooking". {areas}']),
            (" ,,cooking", ["A skill needs a name.", f'There is no practice area "cooking". {areas}']),
        ]
        expected = [(number, reasons) for number, (_, reasons) in enumerate(rows, start=2) if reasons]
        self.assertEqual(self.problems(HEADER + "\n".join(row for row, _ in rows)), expected)

    def test_unusable_files_are_told_with_the_reason(self) -> None:
        """The message names what is wrong with the file as a whole."""
        files: list[tuple[str | bytes, str]] = [
            (HEADER.encode() + "Café,,".encode("latin-1"), "The file is not in UTF-8."),
            ((HEADER + "Cafe,,").encode("utf-16-le"), "The file is not in UTF-8."),
            ((HEADER + "Café,,").encode("utf-16"), "The file is not in UTF-8."),
            (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xff\xfe", "The file is not in UTF-8."),
            ("React,For pages,engineering\n", 'The file has a column "react"'),
            ("description\nx\n", "The first row must name the columns"),
            ("name,name\na,b\n", "more than once"),
            ("name,id\na,b\n", 'The file has a column "id"'),
            (HEADER, "The file has no skills"),
            (HEADER + "a,b,,c\n", "Row 2 has more cells than there are columns"),
            (HEADER + 'a,"b\n', "The file is not CSV"),
            (HEADER + f"a,{'x' * 140_000}\n", "The file is not CSV"),
            ("name\n" + "a\n" * (MAX_ROWS + 1), "The file has 1,001 rows; at most 1,000 can be imported at once."),
            ("name\n" + "a" * MAX_FILE_SIZE, "The file has 1.0 MB; at most 1 MB can be imported."),
            ("", "The submitted file is empty."),
        ]
        for content, message in files:
            with self.subTest(message, start=content[:20]):
                page = self.upload(content)
                self.assertEqual(page.status_code, 200)
                self.assertIn(message, unescape(page.content.decode()))
                self.assertNotIn("confirm_form", page.context)

    def test_import_without_a_file_is_refused(self) -> None:
        """The field says that it is needed."""
        self.assertContains(self.client.post(IMPORT, {"format": "7", "resource": "9"}), "This field is required.")

    def test_confirmation_of_what_was_not_previewed_is_refused(self) -> None:
        """A forged, an old or a missing file leads back to the choice."""
        form = self.upload(HEADER + "React,,\n").context["confirm_form"].initial
        for name in ("x", "/etc/passwd", form["import_file_name"][:-1], signing.dumps("x"), "\0", "é"):
            with self.subTest(name):
                answer = self.client.post(CONFIRM, {**form, "import_file_name": name}, follow=True)
                self.assertEqual(answer.status_code, 200)
                self.assertRegex(
                    answer.content.decode(), "This could not be done|This is not a file that was previewed"
                )
        with patch("django.core.signing.time.time", return_value=10**11):
            answer = self.client.post(CONFIRM, form, follow=True)
        self.assertContains(answer, "This could not be done")
        self.assertContains(self.client.post(CONFIRM), "This is not a file that was previewed")

    def test_confirmation_that_is_only_opened_leads_to_the_choice(self) -> None:
        """As when the page is loaded again."""
        self.assertRedirects(self.client.get(CONFIRM), IMPORT)

    def test_import_overtaken_by_another_write_is_told_so(self) -> None:
        """Rows that were right in the preview are checked again, and nothing of the file is written."""
        page = self.upload(HEADER + "Django,,\nReact,,\n")
        skill = make_skill(name="REACT")
        with patch("ctj_api.desk.skill_csv.SkillLoader.get_instance", return_value=None):
            answer = self.confirm(page)
        self.assertContains(answer, "Nothing was imported. Somebody else changed these skills at the same moment.")
        self.assertFalse(Skill.objects.filter(name="Django").exists())
        skill.delete()

    def test_import_with_one_wrong_row_writes_none(self) -> None:
        """Also where the rows were right in the preview."""
        storage = ConfirmationStorage()
        storage.save((HEADER + "Good,,\n,,\nAlso good,,\n").encode())
        form = {"import_file_name": storage.name, "original_file_name": "skills.csv"}
        answer = self.client.post(CONFIRM, form, follow=True)
        self.assertContains(answer, "Nothing was imported. Row 3: A skill needs a name. Try again.")

    def test_skill_merged_meanwhile_does_not_come_back(self) -> None:
        """Saving what is gone is an error, not a new row."""
        skill = make_skill(name="React")
        skill.delete()
        with patch("ctj_api.desk.skill_csv.SkillLoader.get_instance", return_value=Skill(name="React")):
            dataset = SkillCSV().create_dataset((HEADER + "React,New,\n").encode())
            result = SkillResource().import_data(dataset)
        self.assertTrue(result.has_errors())

    def test_confirmation_with_other_fields_imports_as_previewed(self) -> None:
        """There is one format and one resource, whatever the form says."""
        form = self.upload(HEADER + "React,,\n").context["confirm_form"].initial
        for extra in ({"format": "9"}, {"format": "x"}, {"resource": "9"}, {"resource": "x", "format": ""}):
            self.assertContains(self.client.post(CONFIRM, {**form, **extra}, follow=True), "Skills imported: 1 new")
            Skill.objects.all().delete()
            LogEntry.objects.all().delete()

    def test_unusable_file_is_an_error_of_its_own(self) -> None:
        """So that nothing else is taken for the user's mistake."""
        with self.assertRaises(UnusableFileError):
            SkillCSV().create_dataset(b"\xff")


class SkillExportTests(SkillFileTestCase):
    """The catalog as a file."""

    def test_export_has_all_skills(self) -> None:
        """With a mark by which spreadsheets see that it is UTF-8."""
        skill = make_skill(name="Café", description='He said "hi",\nand left')
        skill.communities_of_practice.set([make_cop("ui_ux"), make_cop("engineering")])
        make_skill(name="Unused")
        self.assertTrue(self.export().startswith(b"\xef\xbb\xbfname,description,communities_of_practice\r\n"))
        expected = [["Café", 'He said "hi",\nand left', "engineering|ui_ux"], ["Unused", "", ""]]
        self.assertEqual(self.exported_rows(), expected)

    def test_export_has_what_the_list_shows(self) -> None:
        """Searched, filtered and sorted alike."""
        make_skill(name="React")
        make_skill(name="Figma").communities_of_practice.add(make_cop("ui_ux"))
        self.assertEqual([row[0] for row in self.exported_rows("?q=rea")], ["React"])
        community = make_cop("ui_ux").pk
        rows = self.exported_rows(f"?communities_of_practice__id__exact={community}")
        self.assertEqual([row[0] for row in rows], ["Figma"])
        self.assertEqual([row[0] for row in self.exported_rows("?o=-1")], ["React", "Figma"])

    def test_export_has_no_formulas(self) -> None:
        """No cell starts with what a spreadsheet calculates."""
        for start in ("=", "+", "-", "@", "\t", "'=", "\uff1d"):
            make_skill(name=f"{start}1+1", description=f"{start}cmd|' /C calc'!A0")
        for row in self.exported_rows():
            for cell in row[:2]:
                self.assertRegex(cell, r"\A'")

    def test_import_of_an_export_changes_nothing(self) -> None:
        """Whatever the names and descriptions are made of."""
        odd = [
            "=1",
            "'=1",
            "''=1",
            "'quoted'",
            "-",
            "@x",
            "a,b",
            'a"b',
            "a;b;c;d",
            "ß",
            "\uff21\uff22",
            "\uff1d1",
            "a|b",
            "'",
            "x\ty",
        ]
        for name in odd:
            make_skill(name=name, description=name)
        for number, text in enumerate(("one\r\ntwo", "\n=x", "  spaces  ", "\r\n", "-\r\n-", "'\n")):
            make_skill(name=f"Text {number}", description=text)
        make_skill(name="Areas").communities_of_practice.set([make_cop("ui_ux"), make_cop("devops")])
        before = list(Skill.objects.values_list("pk", "name", "description", "updated_at"))
        page = self.import_file(self.export())
        self.assertContains(page, f"Skills imported: 0 new, 0 changed, {len(before)} as they were.")
        self.assertEqual(list(Skill.objects.values_list("pk", "name", "description", "updated_at")), before)

    def test_import_of_an_export_into_an_empty_catalog_restores_it(self) -> None:
        """Escaped cells become what they were."""
        for name in ("=1", "'=1", "-x", "Café"):
            make_skill(name=name, description=name).communities_of_practice.add(make_cop("devops"))
        rows, file = self.exported_rows(), self.export()
        names = set(Skill.objects.values_list("name", "description"))
        Skill.objects.all().delete()
        self.import_file(file)
        self.assertEqual(set(Skill.objects.values_list("name", "description")), names)
        self.assertEqual(self.exported_rows(), rows)

    def test_export_with_unusable_filter_leads_to_the_list(self) -> None:
        """No query string leads to an error page."""
        make_skill()
        for query in (
            "name__regex=(",
            "created_at__year=99999",
            "o=x",
            "communities_of_practice__id__exact=x",
            "nonsense__x=1",
            "e=1",
        ):
            with self.subTest(query):
                self.assertEqual(self.client.get(f"{EXPORT}?{query}", follow=True).status_code, 200)

    def test_export_takes_a_constant_number_of_queries(self) -> None:
        """With one skill and with thirty."""
        make_skill()
        before = self.count_queries(EXPORT)
        for _ in range(30):
            make_skill().communities_of_practice.add(make_cop())
        self.assertEqual(self.count_queries(EXPORT), before)


class SkillCatalogPermissionTests(TestCase):
    """Administrators may do all of it, project managers read, and nobody else gets in."""

    def setUp(self) -> None:
        """Make two skills."""
        self.skills = [make_skill(), make_skill()]
        chosen = [str(skill.pk) for skill in self.skills]
        self.merge = {"action": "merge_selected", "_selected_action": chosen, "post": "yes", "kept": chosen[0]}

    def statuses(self) -> dict[str, int]:
        """Return the status of each page."""
        file = SimpleUploadedFile("skills.csv", b"name\nReact\n")
        return {
            "list": self.client.get(LIST).status_code,
            "import": self.client.get(IMPORT).status_code,
            "upload": self.client.post(IMPORT, {"import_file": file, "resource": "0"}).status_code,
            "reload": self.client.get(CONFIRM).status_code,
            "confirm": self.client.post(CONFIRM, {}).status_code,
            "export": self.client.get(EXPORT).status_code,
            "merge": self.client.post(LIST, self.merge).status_code,
        }

    def test_administrator_may_do_everything(self) -> None:
        """A merging ends at the list, and a reload of the confirmation at the choice of a file."""
        self.client.force_login(make_admin_user())
        self.assertContains(self.client.get(LIST), "Merge selected skills")
        self.assertContains(self.client.get(LIST), IMPORT)
        expected = {
            **dict.fromkeys(("list", "import", "upload", "confirm", "export"), 200),
            "reload": 302,
            "merge": 302,
        }
        self.assertEqual(self.statuses(), expected)
        self.assertEqual(Skill.objects.count(), 1)

    def test_pm_reads_only(self) -> None:
        """Neither the links nor the pages are for them."""
        self.client.force_login(make_pm_user())
        page = self.client.get(LIST)
        for hidden in ("Merge selected skills", IMPORT, EXPORT):
            self.assertNotContains(page, hidden)
        refused = dict.fromkeys(("import", "upload", "reload", "confirm", "export", "merge"), 403)
        self.assertEqual(self.statuses(), {"list": 200, **refused})
        self.assertEqual(Skill.objects.count(), 2)

    def test_anonymous_and_volunteers_are_sent_to_the_sign_in(self) -> None:
        """Whatever they ask for."""
        names = ("list", "import", "upload", "reload", "confirm", "export", "merge")
        self.assertEqual(self.statuses(), dict.fromkeys(names, 302))
        self.client.login(email=make_regular_user().email, password=PASSWORD)
        self.assertEqual(self.statuses(), dict.fromkeys(names, 302))
        self.assertEqual(Skill.objects.count(), 2)
