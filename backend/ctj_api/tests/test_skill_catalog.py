"""The skill catalog in the admin: how it is listed, merged, exported and imported, and by whom."""

import csv
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from html import unescape
from io import StringIO
from typing import Any
from unittest.mock import patch

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import TestCase, TransactionTestCase
from django.urls import reverse
from psycopg.errors import LockNotAvailable

from ctj_api.desk.site import OVERTAKEN
from ctj_api.desk.skill_csv import MAX_FILE_SIZE, MAX_ROWS, SkillImport, sign
from ctj_api.models import Opportunity, Skill, SkillMatrix, UserProfile
from ctj_api.querysets import Usage

from . import common as make

ROUNDS = 6
CAFE = [("Café", ["devops"])]
HEADER = "name,description,communities_of_practice\n"
LIST = reverse("admin:ctj_api_skill_changelist")
ADD = reverse("admin:ctj_api_skill_add")
IMPORT = reverse("admin:ctj_api_skill_import")
EXPORT = reverse("admin:ctj_api_skill_export")
LINKS = {"merge": "Merge selected skills", "import": IMPORT, "export": EXPORT, "add": ADD}


class SkillTestCase(TestCase):
    """An administrator at work on the catalog."""

    def setUp(self) -> None:
        """Sign an administrator in."""
        self.administrator = make.make_admin_user()
        self.client.force_login(self.administrator)

    def upload(self, content: str | bytes) -> Any:
        """Return the preview of a file."""
        data = content.encode() if isinstance(content, str) else content
        return self.client.post(IMPORT, {"import_file": SimpleUploadedFile("skills.csv", data)})

    def confirm(self, page: Any) -> Any:
        """Return the answer to the confirmation of a preview."""
        return self.client.post(IMPORT, {"previewed": page.context["previewed"]}, follow=True)

    def import_file(self, content: str | bytes) -> Any:
        """Return the answer to an import, previewed and confirmed."""
        return self.confirm(self.upload(content))

    def export(self, query: str = "") -> bytes:
        """Return the exported file."""
        response = self.client.get(EXPORT + query)
        self.assertEqual((response.status_code, response["Content-Type"]), (200, "text/csv; charset=utf-8"))
        self.assertIn("attachment", response["Content-Disposition"])
        return bytes(response.content)

    def exported_rows(self, query: str = "") -> list[list[str]]:
        """Return the exported cells without the names of the columns."""
        return list(csv.reader(StringIO(self.export(query).decode("utf-8-sig"), newline="")))[1:]

    def areas(self, skill: Skill) -> list[str]:
        """Return the practice areas of a skill."""
        return list(skill.communities_of_practice.values_list("practice_area", flat=True))


class SkillMergeTests(SkillTestCase):
    """Making one skill of several."""

    def setUp(self) -> None:
        """Make two names of one skill, and another skill."""
        super().setUp()
        self.react = make.make_skill(name="React")
        self.reactjs = make.make_skill(name="React.js", description="The same, with a dot")
        self.other = make.make_skill(name="Figma")

    def merge(self, *skills: Skill, **data: str) -> Any:
        """Return the answer to the action."""
        chosen = [str(skill.pk) for skill in skills]
        return self.client.post(LIST, {"action": "merge_selected", "_selected_action": chosen, **data}, follow=True)

    def merge_into_react(self, *skills: Skill) -> Any:
        """Return the answer to a confirmed merging."""
        return self.merge(self.react, *(skills or (self.reactjs,)), post="yes", kept=str(self.react.pk))

    def test_administrator_is_asked_which_skill_stays(self) -> None:
        """Each with its numbers and its description; nothing changes before an answer that names one of two or more."""
        make.make_opportunity({self.reactjs: 3})
        page = self.merge(self.react, self.reactjs)
        self.assertContains(page, 'type="radio" name="kept"', count=2)
        self.assertContains(page, f'value="{self.react.pk}"')
        self.assertContains(page, "The same, with a dot")
        self.assertRegex(page.content.decode(), r"Required by 1 opportunity,\s+rated by 0 volunteers")
        for kept in ("", "x", make.UNKNOWN_ID, str(self.other.pk)):
            page = self.merge(self.react, self.reactjs, post="yes", kept=kept)
            self.assertContains(page, "Choose the skill to keep.")
        for data in ({}, {"post": "yes", "kept": str(self.react.pk)}):
            self.assertContains(self.merge(self.react, **data), "Select at least two skills to merge them.")
        self.assertEqual((Skill.objects.count(), LogEntry.objects.count()), (3, 0))

    def test_administrator_merging_keeps_the_highest_level(self) -> None:
        """Other skills of a matrix stay as they are, and so do other matrices, with their times."""
        third = make.make_skill(name="ReactJS")
        cases: list[tuple[dict[Skill, int], dict[Skill, int]]] = [
            ({self.reactjs: 4}, {self.react: 4}),
            ({self.reactjs: 2, self.react: 5}, {self.react: 5}),
            ({self.reactjs: 5, self.react: 2, third: 3}, {self.react: 5}),
            ({third: 1, self.other: 2}, {self.react: 1, self.other: 2}),
            ({self.other: 3}, {self.other: 3}),
            ({self.react: 2}, {self.react: 2}),
            ({}, {}),
        ]
        owners = [(make.make_regular_user(levels), make.make_opportunity(levels)) for levels, _ in cases]
        before = {matrix.pk: (matrix.levels, matrix.updated_at) for matrix in SkillMatrix.objects.all()}
        page = self.merge_into_react(self.reactjs, third)
        self.assertContains(page, "React.js, ReactJS were merged into React: 4 opportunities and 4 volunteers changed")
        for (user, listing), (_, expected) in zip(owners, cases, strict=True):
            levels = {str(skill.pk): level for skill, level in expected.items()}
            for matrix in (SkillMatrix.objects.get(volunteer=user), SkillMatrix.objects.get(opportunity=listing)):
                former, time = before[matrix.pk]
                self.assertEqual((matrix.levels, matrix.updated_at > time), (levels, levels != former))
        self.assertEqual(set(Skill.objects.values_list("name", flat=True)), {"Figma", "React"})

    def test_administrator_merging_is_told_what_changed_and_logged(self) -> None:
        """The history of both skills names the other, that of a listing the skill that went; others say nothing."""
        changed, same = make.make_opportunity({self.reactjs: 3}), make.make_opportunity({self.react: 3})
        for _ in range(2):
            make.make_regular_user({self.reactjs: 3})
        told = "React.js was merged into React: 1 opportunity and 2 volunteers changed; "
        told += "where both were rated, the higher level was kept."
        self.assertContains(self.merge_into_react(), told)
        for skill, flag, name, message in (
            (self.react, CHANGE, "React", "Merged into it: React.js."),
            (self.reactjs, DELETION, "React.js", "Merged into React."),
        ):
            logged = LogEntry.objects.filter(object_id=skill.pk)
            entry = logged.values_list("user", "action_flag", "object_repr", "change_message").get()
            self.assertEqual(entry, (self.administrator.pk, flag, name, message))
        pages = [reverse("admin:ctj_api_opportunity_history", args=[listing.pk]) for listing in (changed, same)]
        self.assertContains(self.client.get(pages[0]), "Changed React.js, which became React.")
        self.assertNotContains(self.client.get(pages[1]), "which became")

    def test_administrator_merging_joins_the_practice_areas_and_renews_what_search_finds(self) -> None:
        """Each area once; a listing is found by the name that stays, and by the one that went."""
        self.react.communities_of_practice.set([make.make_cop("engineering")])
        self.reactjs.communities_of_practice.set([make.make_cop("engineering"), make.make_cop("ui_ux")])
        Skill.objects.filter(pk=self.reactjs.pk).update(name="Zeppelin")
        make.make_opportunity({self.reactjs: 3})
        self.merge_into_react()
        self.assertEqual(Opportunity.objects.search("react").count(), 1)
        self.assertEqual(Opportunity.objects.search("zeppelin").count(), 1)
        areas = self.react.communities_of_practice.values_list("practice_area", flat=True)
        self.assertEqual(sorted(areas), ["engineering", "ui_ux"])

    def test_administrator_merging_what_was_deleted_meanwhile_is_told_so(self) -> None:
        """Nothing is changed, and the message gives the reason."""
        matrix = make.make_opportunity({self.reactjs: 3}).skills_required_matrix
        with patch.object(Skill.objects.all().__class__, "merge_into", side_effect=ValidationError("It is gone.")):
            self.assertContains(self.merge_into_react(), "It is gone.")
        self.react.delete()
        self.react.pk = make.UNKNOWN_ID
        with self.assertRaisesMessage(ValidationError, "One of these skills was deleted meanwhile."):
            Skill.objects.filter(pk=self.reactjs.pk).merge_into(self.react)
        matrix.refresh_from_db()
        self.assertEqual(matrix.levels, {str(self.reactjs.pk): 3})

    def test_administrator_merging_takes_a_constant_number_of_queries(self) -> None:
        """However many matrices rate the skills."""
        self.merge_into_react()
        counts = []
        for number in (1, 20):
            dropped = make.make_skill()
            for _ in range(number):
                make.make_opportunity({dropped: 3})
                make.make_regular_user({dropped: 3})
            counts.append(make.count_queries(partial(self.merge_into_react, dropped)))
        self.assertEqual(counts[0], counts[1])


class SkillConcurrencyTests(TransactionTestCase):
    """Merging and importing while others write, in transactions that are really committed."""

    def merge(self, administrator: UserProfile, kept: Skill, dropped: Skill) -> Callable[[], Any]:
        """Return the request that merges two skills, from a client of its own."""
        chosen = {"_selected_action": [str(kept.pk), str(dropped.pk)], "kept": str(kept.pk)}
        form = {"action": "merge_selected", "post": "yes", **chosen}
        return partial(make.form_client(administrator).post, LIST, form)

    def test_administrator_merging_while_others_write_loses_no_rating(self) -> None:
        """Each write comes before the merging and is rewritten, or after it and is refused; none waits for ever."""
        administrator, pm = make.make_admin_user(), make.make_pm_user()
        for _ in range(ROUNDS):
            kept, dropped = make.make_skill(), make.make_skill()
            payload = make.opportunity_payload(skills_required_matrix={str(dropped.pk): 4})
            answers = {"skills_learned_matrix": {str(dropped.pk): 5, str(kept.pk): 1}}
            listings = [make.make_opportunity({dropped: 2}, created_by=pm) for _ in range(3)]
            volunteers = [make.make_regular_user({skill: 2}) for skill in (kept, dropped, dropped)]
            puts = [partial(make.client_of(pm).put, f"/api/opportunities/{one.pk}/", payload) for one in listings]
            patches = [partial(make.client_of(user).patch, "/api/users/me/", answers) for user in volunteers]
            post, merge = partial(make.client_of(pm).post, "/api/opportunities/", payload), self.merge
            *answered, merged = make.at_once(*puts, *patches, post, merge(administrator, kept, dropped))
            self.assertEqual(merged.status_code, 302)
            self.assertFalse(Skill.objects.filter(pk=dropped.pk).exists())
            levels = {200: (4, 5), 201: (4, 5), 400: (2, 2)}
            expected = [levels[answer.status_code][number in range(3, 6)] for number, answer in enumerate(answered)]
            if answered[-1].status_code == 400:
                expected.pop()
            stored = SkillMatrix.objects.order_by("created_at").values_list("levels", flat=True)
            self.assertEqual(sorted(expected), sorted(each[str(kept.pk)] for each in stored))
            self.assertEqual({len(each) for each in stored}, {1})
            Opportunity.objects.all().delete()
            UserProfile.objects.filter(skills_learned_matrix__isnull=False).delete()

    def merge_in_a_thread(self, pool: ThreadPoolExecutor, kept: Skill, dropped: Skill) -> Future[Usage]:
        """Start a merging in a connection of its own, and return when it waits for this one."""
        merge = partial(Skill.objects.filter(pk=dropped.pk).merge_into, kept)
        merging = pool.submit(make.in_another_thread, merge)
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        make.wait_until(lambda: make.execute(waiting) is not None)
        return merging

    def test_administrator_merging_waits_for_a_rating_that_is_being_saved(self) -> None:
        """It is rewritten as well."""
        kept, dropped = make.make_skill(), make.make_skill()
        make.make_regular_user({})
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                SkillMatrix.objects.store({str(dropped.pk): 3}, into=SkillMatrix.objects.get())
                merging = self.merge_in_a_thread(pool, kept, dropped)
            self.assertEqual(merging.result(), Usage(opportunities=0, volunteers=1))
        self.assertEqual(SkillMatrix.objects.get().levels, {str(kept.pk): 3})

    def test_administrator_merging_takes_its_locks_in_the_order_of_the_api(self) -> None:
        """Somebody who has locked a listing or an account goes on to save its matrix; neither is given up."""
        kept, dropped = make.make_skill(), make.make_skill()
        make.make_opportunity({dropped: 2})
        make.make_regular_user({dropped: 2})
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
            kept, dropped = make.make_skill(), kept

    def test_administrators_merging_the_same_skills_at_once_merge_them_once(self) -> None:
        """The second one finds the skill gone and changes nothing, whichever of the two it would keep."""
        administrator = make.make_admin_user()
        for _ in range(ROUNDS):
            skills = [make.make_skill() for _ in range(2)]
            listing = make.make_opportunity({skills[0]: 2, skills[1]: 3})
            answers = make.at_once(self.merge(administrator, *skills), self.merge(administrator, *reversed(skills)))
            self.assertLessEqual({answer.status_code for answer in answers}, {200, 302})
            (left,) = Skill.objects.filter(pk__in=[skill.pk for skill in skills])
            listing.refresh_from_db()
            self.assertEqual(SkillMatrix.objects.get(opportunity=listing).levels, {str(left.pk): 3})

    def test_administrator_importing_keeps_others_from_changing_the_catalog(self) -> None:
        """What was checked still holds when it is saved: nobody merges or renames a skill in between."""
        skill = make.make_skill(name="React")
        with transaction.atomic(), make.other_connection() as other:
            SkillImport([(2, {"name": "React"})])
            for table in ("skill", "communityofpractice"):
                with self.assertRaises(LockNotAvailable):
                    other.execute(f"SELECT FROM ctj_api_{table} FOR NO KEY UPDATE NOWAIT")
                other.rollback()
            other.execute("SELECT FROM ctj_api_skill WHERE id = %s FOR KEY SHARE NOWAIT", [skill.pk])  # to rate it


class SkillTests(SkillTestCase):
    """Files that are right, the catalog as a file, and as a list."""

    def test_administrator_importing_adds_and_changes_skills(self) -> None:
        """They are known by their names in any case, what the file doesn't name stays, and changes are logged."""
        react, figma, vue = (make.make_skill(name=name, description="Old") for name in ("React", "Figma", "Vue"))
        rows = 'react,New,engineering|ui_ux\nDjango,,Engineering\n"Soft, skills","Two\nlines",\nFigma,Old,\n'
        page = self.import_file(HEADER + rows)
        self.assertRedirects(page, LIST)
        self.assertContains(page, "Skills imported: 2 new, 1 changed, 1 as they were.")
        stored = {skill.name: (skill.description, self.areas(skill)) for skill in Skill.objects.all()}
        new = {"react": ("New", ["engineering", "ui_ux"]), "Django": ("", ["engineering"])}
        new["Soft, skills"] = ("Two\nlines", [])
        self.assertEqual(stored, {**new, **dict.fromkeys(("Figma", "Vue"), ("Old", []))})
        times = {skill.pk: skill.updated_at for skill in Skill.objects.all()}
        self.assertGreater(times[react.pk], react.updated_at)
        self.assertEqual((times[figma.pk], times[vue.pk]), (figma.updated_at, vue.updated_at))
        areas = f"{make.make_cop('engineering')} and {make.make_cop('ui_ux')}"
        change = f"Changed name from React to react, description and communities of practice from nothing to {areas}."
        entries = LogEntry.objects.filter(user=self.administrator).order_by("object_repr")
        told = [(entry.object_repr, entry.action_flag, entry.get_change_message()) for entry in entries]
        added = [(name, ADDITION, "Added.") for name in ("Django", "Soft, skills")]
        self.assertEqual(told, [*added, ("react", CHANGE, change)])

    def test_administrator_previewing_sees_the_changes_and_writes_nothing(self) -> None:
        """The old text is struck out and the new one follows it, with what is new and what stays."""
        make.make_skill(name="React", description="Old <b>")
        make.make_skill(name="Figma")
        page = self.upload(HEADER + "React,New <i>,\nFigma,,\nDjango,,devops\n")
        self.assertContains(page, "<del>Old &lt;b&gt;</del> <ins>New &lt;i&gt;</ins>")
        self.assertContains(page, "<ins>devops</ins>")
        outcomes = [(row.number, row.outcome) for row in page.context["preview"].rows]
        self.assertEqual(outcomes, [(2, "changed"), (3, "unchanged"), (4, "new")])
        self.assertEqual(Skill.objects.get(name="React").description, "Old <b>")
        self.assertEqual((Skill.objects.count(), LogEntry.objects.count()), (2, 0))

    def test_administrator_confirming_an_outdated_preview_is_shown_another(self) -> None:
        """Who has not seen what somebody else wrote doesn't overwrite it, in whichever session."""
        skill = make.make_skill(name="Django", description="Old")
        page = self.upload(HEADER + "Django,From the file,\n")
        Skill.objects.update(description="Corrected")
        self.client.logout()
        self.client.force_login(make.make_admin_user())
        for description in ("Corrected", "From the file"):
            seen = {name: page.context[name] for name in ("previewed", "seen")}
            page = self.client.post(IMPORT, seen, follow=True)
            skill.refresh_from_db()
            self.assertEqual(skill.description, description)
            self.assertContains(page, "The catalog was changed after this preview", count=description == "Corrected")

    def test_administrator_importing_some_columns_leaves_the_others(self) -> None:
        """Neither the description nor the communities are emptied, unless their cell is empty."""
        make.make_skill(name="React", description="Old").communities_of_practice.add(make.make_cop("devops"))
        for file, expected in {
            "name,description\nReact,New\nDjango,\n": ("New", ["devops"]),
            "communities_of_practice,name\nui_ux,React\n": ("New", ["ui_ux"]),
            HEADER + "React,,\n": ("", []),
        }.items():
            self.import_file(file)
            skill = Skill.objects.get(name="React")
            self.assertEqual((skill.description, self.areas(skill)), expected)

    def test_administrator_importing_what_spreadsheets_write_is_understood(self) -> None:
        """Byte order marks, any delimiter and line end, empty rows, and areas by key, label or given name."""
        files: dict[str, str | bytes] = {
            "mark": b"\xef\xbb\xbf" + (HEADER + "Café,,devops\n").encode(),
            "semicolons": "name;description;communities_of_practice\r\nCafé;;devops\r\n",
            "empty": "Name,Description,Communities_of_practice,,\r\nCafé,,devops,,\r\n,,,,\r\n\r\n",
            "short": "communities_of_practice,name,description\ndevops,Café\n",
            "tabs": "name\tdescription\tcommunities_of_practice\r\nCafé\ta,b,c\tdevops\r\n",
            "told": "sep=;\r\nname;description;communities_of_practice\r\nCafé;;devops\r\n",
            "told, in vain": '"sep=;"\nname,description,communities_of_practice\nCafé,;;;;,devops\n',
            "CR only": "name,description,communities_of_practice\rCafé,a;b;c;d;e;f,devops\r",
            "blank rows": f"\r\n,,\r\n{HEADER}\r\n , ,\r\nCafé,,devops\r\n\r\n,,\r\n",
            "key": f"{HEADER}Café,,DevOps |\n",
            "label": f"{HEADER}Café,,{make.make_cop('devops').name.upper()}\n",
            "name": f"{HEADER}Café,,deployment\n",
            "another form": f"{HEADER}\u00a0Cafe\u0301\u200b,,devops\n",
            "several": f'{HEADER}"React\n18",,UI/UX|project/product management | engineering\n',
        }
        make.make_cop("devops", name="Deployment")
        several = [("React 18", ["engineering", "project_management", "ui_ux"])]
        for name, content in files.items():
            with self.subTest(name):
                self.import_file(content)
                found = [(skill.name, self.areas(skill)) for skill in Skill.objects.all()]
                self.assertEqual(found, several if name == "several" else CAFE)
                Skill.objects.all().delete()

    def test_administrator_is_warned_of_likely_mistakes(self) -> None:
        """In the preview and after the form: a name that differs in one letter, and a skill that nobody finds."""
        for name in ("Python", "Node.js", "Go"):
            make.make_skill(name=name)
        lonely, near = '"{}" is in no community of practice.', '"{}" is nearly the same name as "{}".'
        cases: dict[str, list[str]] = {
            **{f"{name},,devops": [near.format(name, "Python")] for name in ("Phyton", "Pyton", "Pxthon", "Pythonn")},
            "NodeJS,,devops": [near.format("NodeJS", "Node.js")],
            "Gi,,devops": [],
            "Pton,,devops": [],
            "Rust,,devops\nRusty,,": [near.format("Rusty", "Rust"), lonely.format("Rusty")],
            "Go,New,": [lonely.format("Go")],
            "Go,,": [],
        }
        for rows, warnings in cases.items():
            with self.subTest(rows):
                page = self.upload(HEADER + rows)
                self.assertEqual(page.context["preview"].rows[-1].warnings, warnings)
                for warning in warnings:
                    self.assertIn(warning, unescape(page.content.decode()))
        told = map(str, self.client.post(ADD, {"name": "Pythonn"}, follow=True).context["messages"])
        self.assertEqual([*told][:2], [near.format("Pythonn", "Python"), lonely.format("Pythonn")])

    def test_administrator_importing_takes_a_constant_number_of_queries(self) -> None:
        """Skills are found, checked, saved and logged without asking the database for each."""
        counts = []
        for number in (2, 30):
            old = [make.make_skill(name=f"Old {number} {place}").name for place in range(number)]
            rows = [*(f"{name},New,ui_ux" for name in old), *(f"{name} too,,devops" for name in old)]
            previewing = make.count_queries(partial(self.upload, HEADER + "\n".join(rows)))
            page = self.upload(HEADER + "\n".join(rows))
            confirming = make.count_queries(partial(self.confirm, page))
            self.assertEqual(page.context["preview"].totals, {"new": number, "changed": number})
            counts.append((previewing, confirming))
        self.assertEqual(counts[0], counts[1])

    def test_administrator_exports_all_skills(self) -> None:
        """With a mark by which spreadsheets see that it is UTF-8."""
        skill = make.make_skill(name="Café", description='He said "hi",\nand left')
        skill.communities_of_practice.set([make.make_cop("ui_ux"), make.make_cop("engineering")])
        make.make_skill(name="Unused")
        names = b'"name","description","communities_of_practice","aliases"\r\n'
        rows = '"Café","He said ""hi"",\nand left","engineering|ui_ux",""\r\n"Unused","","",""\r\n'
        self.assertEqual(self.export(), b"\xef\xbb\xbf" + names + rows.encode())

    def test_administrator_exports_what_the_list_shows(self) -> None:
        """Searched, filtered and sorted alike; an unusable filter leads back to the list."""
        make.make_skill(name="React")
        make.make_skill(name="Figma").communities_of_practice.add(make.make_cop("ui_ux"))
        community = f"?communities_of_practice__id__exact={make.make_cop('ui_ux').pk}"
        for query, names in {"?q=rea": ["React"], community: ["Figma"], "?o=-1": ["React", "Figma"]}.items():
            listed = self.client.get(LIST + query).context["cl"].result_list
            self.assertEqual([skill.name for skill in listed], names)
            self.assertEqual([row[0] for row in self.exported_rows(query)], names)
        for query in ("name__regex=(", "created_at__year=99999", f"{community[1:]}x", "nonsense__x=1"):
            with self.subTest(query):
                self.assertRedirects(self.client.get(f"{EXPORT}?{query}"), LIST)

    def test_administrator_exports_no_formulas(self) -> None:
        """No cell starts with what a spreadsheet calculates, by whichever delimiter it opens the file."""
        for number, start in enumerate(("=", "+", "-", "@", "\t", "'=", "\uff1d")):
            make.make_skill(name=f"{start}{number}", description=f"{start}cmd|' /C calc'!A0")
            text = f"a,{start}1;{start}1\t{start}1\n{start}1|{start}"
            make.make_skill(name=f"a,{start}{number};{start}1", description=text)
        text = self.export().decode("utf-8-sig")
        for delimiter in ",;\t|":
            for row in csv.reader(StringIO(text, newline=""), delimiter=delimiter):
                for cell in row:
                    self.assertNotRegex(cell, r"\A[=+\-@\t\r\uff1d]")

    def test_administrator_importing_an_export_changes_nothing(self) -> None:
        """Whatever names and descriptions are made of; into an empty catalog it restores what was there."""
        escaped = ["=1", "'=1", "''=1", "'quoted'", "-", "-x", "@x", "'", "\uff1d1"]
        names = [*escaped, "a,b", 'a"b', "a;b;c;d", "ß", "\uff21\uff22", "a|b", "a;-1,'=2|@3", "Café"]
        texts = ["one\ntwo", "\n=x", "  spaces  ", "\n", "-\n-", "'\n", "- a\n'- b,,=\t\t=;''+", "|=|"]
        for name, text in [*zip(names, names, strict=True), *((f"Text {text!r}", text) for text in texts)]:
            make.make_skill(name=name, description=text).communities_of_practice.add(make.make_cop("devops"))
        aliases = [*(f"alias {name}" for name in names), "=alias", "'@x", "+y"]
        make.make_skill(name="Named", aliases=aliases)
        make.make_skill(name="Areas").communities_of_practice.set([make.make_cop("ui_ux"), make.make_cop("devops")])
        before = list(Skill.objects.values_list("name", "description", "pk", "updated_at"))
        rows, file = self.exported_rows(), self.export()
        page = self.import_file(file)
        self.assertContains(page, f"Skills imported: 0 new, 0 changed, {len(before)} as they were.")
        self.assertEqual(list(Skill.objects.values_list("name", "description", "pk", "updated_at")), before)
        Skill.objects.all().delete()
        self.import_file(file)
        self.assertEqual(list(Skill.objects.values_list("name", "description")), [row[:2] for row in before])
        self.assertEqual(self.exported_rows(), rows)

    def test_administrator_sees_and_sorts_by_usage(self) -> None:
        """Listings and volunteers are counted apart, and a long description is shortened."""
        skills = [make.make_skill(name=f"Skill {number}", description="x" * 200) for number in range(4)]
        skills[0].communities_of_practice.set([make.make_cop("engineering"), make.make_cop("ui_ux")])
        for number in range(4):
            make.make_opportunity(dict.fromkeys(skills[number:], 3))
            make.make_regular_user(dict.fromkeys(skills[: number // 2], 2), is_active=False)
        page = self.client.get(LIST)
        rows = [(row.opportunity_count, row.volunteer_count) for row in page.context["cl"].result_list]
        self.assertEqual(rows, [(1, 2), (2, 0), (3, 0), (4, 0)])
        for query, first in {"?o=4": "Skill 0", "?o=-4": "Skill 3", "?o=-5": "Skill 0"}.items():
            self.assertEqual(self.client.get(LIST + query).context["cl"].result_list[0].name, first)
        plan = Skill.objects.with_usage().explain()
        self.assertEqual((plan.count("InitPlan"), plan.count("SubPlan")), (2, 0))  # not once for each skill
        areas = map(str, skills[0].communities_of_practice.all())
        for text in ("Opportunities", "Volunteers", "Communities of practice", *areas):
            self.assertContains(page, text)
        self.assertNotContains(page, "x" * 100)


class SkillImportErrorTests(SkillTestCase):
    """A file that is wrong: nothing is written, and the page says what to mend."""

    def test_attacker_uploading_thousands_of_errors_gets_a_short_answer(self) -> None:
        """The first unknown column, the first unknown community of a row, and twenty rows are told, at once."""
        empty = len(self.client.get(IMPORT).content)
        files = {
            "columns": ",".join(map(str, range(140_000))),
            "no names": "name" + "," * 900_000 + "\na" * 900,
            "rows": HEADER + "x,,cooking\n" * 1_000,
            "communities": HEADER + "".join(f"{place},,{'|x' * 60_000}\n" for place in range(8)),
            "long": HEADER + f"{'<' * 900},{'<' * 900},x\n" * 500,
        }
        for name, content in files.items():
            with self.subTest(name):
                started = time.process_time()
                page = self.upload(content)
                self.assertLess(time.process_time() - started, 5)
                self.assertLess(len(page.content) - empty, 64_000)
        self.assertContains(self.upload(files["rows"]), "The first 20 of 1000 wrong rows:")

    def tearDown(self) -> None:
        """Expect that nothing was written."""
        self.assertEqual((list(Skill.objects.all()), LogEntry.objects.count()), ([], 0))

    def test_administrator_with_wrong_rows_is_told_the_reasons(self) -> None:
        """All of them at once, with the number that a spreadsheet shows, which counts empty rows."""
        areas = "There are: data_science, devops, engineering, project_management, ui_ux."
        rows = [
            ("Good,,devops", []),
            (",no name,", ["A skill needs a name."]),
            (f"{'x' * 256},,", ["The name has 256 characters; at most 255 are possible."]),
            ("GOOD,,", ["Row 2 has this name already."]),
            ("a\0b,,", ["This has a null character, which can't be stored."]),
            ("c,\0,", ["This has a null character, which can't be stored."]),
            ("d,,devops|cooking", [f'There is no community of practice "cooking". {areas}']),
            (" ,,cooking", ["A skill needs a name.", f'There is no community of practice "cooking". {areas}']),
        ]
        page = self.upload(HEADER + "\n".join(row for row, _ in rows))
        expected = [(number, reasons) for number, (_, reasons) in enumerate(rows, start=2) if reasons]
        self.assertEqual([(row.number, row.problems) for row in page.context["preview"].wrong_rows], expected)
        text = unescape(page.content.decode())
        for number, reasons in expected:
            self.assertIn(f'<th scope="row">{number}</th>', text)
            for reason in reasons:
                self.assertIn(reason, text)
        self.assertNotContains(page, 'name="previewed"')
        page = self.upload("\n\n" + HEADER + "\nGood,,\n\n,no name,\n")
        self.assertEqual([row.number for row in page.context["preview"].wrong_rows], [7])

    def test_administrator_with_an_unusable_file_is_told_the_reason(self) -> None:
        """The message names what is wrong with the file as a whole."""
        files: list[tuple[str | bytes, str]] = [
            (HEADER.encode() + "Café,,".encode("latin-1"), "The file is not in UTF-8."),
            ((HEADER + "Cafe,,").encode("utf-16-le"), "The file is in UTF-16"),
            ((HEADER + "Café,,").encode("utf-16"), "The file is in UTF-16"),
            (b"\xfe\xff" + (HEADER + "Café,,").encode("utf-16-be"), "The file is in UTF-16"),
            (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xff\xfe", "The file is a workbook, such as .xlsx."),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "The file is a workbook (.xls)."),
            ("React,For pages,engineering\n", 'The file has a column "react"'),
            ("description\nx\n", "The first row must name the columns"),
            ("name,name\na,b\n", "more than once"),
            ("name,id\na,b\n", 'The file has a column "id"'),
            (HEADER, "The file has no skills"),
            (HEADER + "a,b,,c\n", "Row 2 has more cells than columns"),
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
                self.assertNotContains(page, 'name="previewed"')
        for nothing in ({}, {"import_file": "x"}):
            self.assertContains(self.client.post(IMPORT, nothing), "This field is required.")

    def test_administrator_confirming_what_was_not_previewed_is_refused(self) -> None:
        """A forged or an old file leads back to the choice, and its rows are checked again."""
        signed, unseen = self.upload(HEADER + "React,,\n").context["previewed"], "This is not a file that was previewed"
        for forged in ("", "x", "/etc/passwd", signed[:-1], signed.replace(":", "", 1), "é"):
            with self.subTest(forged):
                answer = self.client.post(IMPORT, {"previewed": forged}, follow=True)
                self.assertContains(answer, f"{unseen} today.")
                self.assertRedirects(answer, IMPORT)
        with patch("ctj_api.desk.skill_csv.CONFIRM_WITHIN_SECONDS", -1):
            self.assertContains(self.client.post(IMPORT, {"previewed": signed}, follow=True), f"{unseen} today.")
        wrong = sign([(2, {"name": "Good"}), (3, {"name": ""}), (4, {"name": "Also good"})])
        answer = self.client.post(IMPORT, {"previewed": wrong}, follow=True)
        self.assertContains(answer, "Nothing was imported. Row 3: A skill needs a name. Try again.")

    def test_administrator_overtaken_by_another_write_is_told_so(self) -> None:
        """A skill that was added in the same moment is left alone, and nothing of the file is written."""
        page = self.upload(HEADER + "Django,,\nReact,,\n")
        skill = make.make_skill(name="REACT")
        with patch("ctj_api.desk.skill_csv.lower_name", str), self.assertLogs("ctj_api.desk.site", "WARNING"):
            self.assertContains(self.confirm(page), OVERTAKEN)
        skill.delete()


class SkillPermissionTests(TestCase):
    """Administrators may do all of it, staff what Django's permissions say, project managers read."""

    def statuses(self, pk: str, other: str) -> dict[str, int]:
        """Return the status of each page that is opened, and of each form that is sent, with two skills."""
        change, delete = (reverse(f"admin:ctj_api_skill_{page}", args=[pk]) for page in ("change", "delete"))
        file = SimpleUploadedFile("skills.csv", b"name\nReact\n")
        merge = {"action": "merge_selected", "_selected_action": [pk, other], "post": "yes", "kept": pk}
        get = {"list": LIST, "view": change, "delete": delete, "import": IMPORT, "export": EXPORT}
        post: dict[str, tuple[str, dict[str, Any]]] = {
            "add": (ADD, {"name": "Added"}),
            "change": (change, {"name": "Changed"}),
            "upload": (IMPORT, {"import_file": file}),
            "confirm": (IMPORT, {"previewed": sign([(2, {"name": "Imported"})])}),
            "merge": (LIST, merge),
        }
        statuses = {name: self.client.get(url).status_code for name, url in get.items()}
        return statuses | {name: self.client.post(*form).status_code for name, form in post.items()}

    def test_everyone_does_what_permissions_say(self) -> None:
        """Each permission opens its own pages and links; importing and merging take two each."""
        skills = [str(make.make_skill().pk) for _ in range(2)]
        read, change, delete = {"list": 200, "view": 200}, {"change": 302}, {"delete": 200}
        files = {"import": 200, "upload": 200, "confirm": 302, "export": 200, "add": 302}
        cases: list[tuple[UserProfile, dict[str, int]]] = [
            (make.make_admin_user(), read | change | delete | files | {"merge": 302}),
            (make.make_pm_user(), read),
            (make.make_staff_user(), {}),
            (make.make_staff_user("view_skill"), read),
            (make.make_staff_user("add_skill"), {"add": 302}),
            (make.make_staff_user("change_skill"), read | change),
            (make.make_staff_user("view_skill", "delete_skill"), read | delete),
            (make.make_staff_user("add_skill", "change_skill"), read | change | files),
            (make.make_staff_user("change_skill", "delete_skill"), read | change | delete | {"merge": 302}),
        ]
        for user, allowed in cases:
            with self.subTest(user.get_all_permissions()), transaction.atomic():
                before = list(Skill.objects.values())
                self.client.force_login(user)
                page = self.client.get(LIST).content.decode()
                shown = {link for link in LINKS if LINKS[link] in page}
                statuses = self.statuses(*skills)
                self.assertEqual(statuses, dict.fromkeys(statuses, 403) | allowed)
                self.assertEqual(shown, set(LINKS) & set(allowed) if "list" in allowed else set())
                if 302 not in allowed.values():
                    self.assertEqual(list(Skill.objects.values()), before)
                if user.is_superuser:
                    names = Skill.objects.values_list("name", flat=True)
                    self.assertEqual(set(names), {"Added", "Changed", "Imported"})
                transaction.set_rollback(True)
