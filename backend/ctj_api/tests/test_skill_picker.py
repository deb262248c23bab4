"""The skill picker: what its rows mean, and what it says of wrong ones."""

from functools import partial
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import QueryDict
from django.test import TestCase
from django.urls import reverse

from ctj_api.desk.forms import CHOOSE_OR_ASK, NO_NAME, SkillLevelsFormField
from ctj_api.desk.widgets import SkillIndex
from ctj_api.models import Skill

from .common import UNKNOWN_ID, count_queries, make_cop, make_opportunity, make_pm_user, make_role, make_skill


class PickerForm(forms.Form):
    """A form of nothing but a skill picker."""

    skill_levels = SkillLevelsFormField(required=False)


def sent(*rows: tuple[str, str]) -> QueryDict:
    """Return what a browser sends for rows of name and level."""
    fields = [{"skill_levels_name": name, "skill_levels_level": level} for name, level in rows]
    return QueryDict("&".join(map(urlencode, fields)))


class SkillPickerTests(TestCase):
    """Rows of names and levels on one side, a matrix on the other."""

    def setUp(self) -> None:
        """Make two skills, one of two communities."""
        self.react = make_skill(name="React")
        self.react.communities_of_practice.add(make_cop("engineering"), make_cop("ui_ux"))
        self.sql = make_skill(name="SQL")

    def cleaned(self, *rows: tuple[str, str]) -> Any:
        """Return the matrix that rows mean; fails where they are refused."""
        form = PickerForm(sent(*rows))
        self.assertTrue(form.is_valid(), form.errors)
        return form.cleaned_data["skill_levels"]

    def problems(self, *rows: tuple[str, str]) -> list[str]:
        """Return the messages about rows."""
        return [str(message) for message in PickerForm(sent(*rows)).errors.get("skill_levels", [])]

    def test_pm_user_rates_skills_by_name(self) -> None:
        """In any case and with spaces around; empty rows are left out; many rows take no more queries."""
        rows = [("React", "5"), ("", ""), (" sql ", "1"), ("", "")]
        self.assertEqual(self.cleaned(*rows), {str(self.react.pk): 5, str(self.sql.pk): 1})
        self.assertEqual(self.cleaned(), {})
        for number in range(30):
            make_skill(name=f"Many {number}")
        with self.assertNumQueries(2):
            str(PickerForm()["skill_levels"])
        with self.assertNumQueries(3):  # with one for the check of the ids
            self.cleaned(*((f"Many {number}", "3") for number in range(30)))

    def test_pm_user_with_wrong_rows_is_told_each(self) -> None:
        """Each wrong row has a message of its own, and what was typed isn't lost, and is escaped."""
        unknown = f'There is no skill "{{}}". {CHOOSE_OR_ASK}'
        names = [f"Bulk {number}" for number in range(251)]
        cases: list[tuple[list[tuple[str, str]], list[str]]] = [
            (
                [("Reakt", "3"), ("SQL", ""), ("React", "6"), (" ", "2")],
                [unknown.format("Reakt"), "SQL: choose a level.", "React: choose a level.", NO_NAME],
            ),
            ([("React", "3"), ("REACT", "4")], ["React is listed 2 times."]),
            ([("x", "1"), ("x", "1")], [unknown.format("x")]),
            ([(name, "1") for name in names], ["A skill matrix holds at most 250 skills, not 251."]),
        ]
        self.assertEqual(len(self.problems(("Bulk 1", "1"))), 1)
        Skill.objects.bulk_create(Skill(name=name) for name in names)
        for rows, messages in cases:
            with self.subTest(messages):
                self.assertEqual(self.problems(*rows), messages)
        page = str(PickerForm(sent(("React", "3"), ("", "2"), ("<b>Reakt</b>", "3")))["skill_levels"])
        self.assertInHTML(f'<p class="skill-problem" id="id_skill_levels_problem_2">{NO_NAME}</p>', page)
        self.assertEqual(page.count('aria-invalid="true" aria-describedby="id_skill_levels_problem_2"'), 2)
        self.assertNotIn("problem_1", page)
        self.assertIn('value="&lt;b&gt;Reakt&lt;/b&gt;"', page)
        self.assertInHTML('<option value="3" selected>3: works on their own</option>', page, count=2)

    def test_attacker_sending_odd_rows_gets_no_error(self) -> None:
        """A forged form is refused or read, never an error."""
        for name in ("\x00", "x" * 100_000, "' OR 1=1", "<script>", "🦄"):
            with self.subTest(name[:10]):
                self.assertEqual(len(self.problems((name, "1"))), 1)
        unpaired = QueryDict("skill_levels_name=React&skill_levels_name=SQL&skill_levels_level=2")
        self.assertEqual(PickerForm(unpaired).errors["skill_levels"], ["SQL: choose a level."])

    def test_pm_user_sees_a_matrix_by_name(self) -> None:
        """The highest level first, then by name, with spare rows, without skills that are gone."""
        form = PickerForm(initial={"skill_levels": {str(self.sql.pk): 2, str(self.react.pk): 4}})
        page = str(form["skill_levels"])
        self.assertLess(page.index('value="React" list'), page.index('value="SQL" list'))
        self.assertInHTML('<option value="4" selected>4: knows it in depth</option>', page)
        self.assertEqual(page.count('class="skill-row"'), 2 + 5 + 1)
        self.assertInHTML('<option value="React">Engineering, UI/UX</option>', page)
        self.assertEqual(SkillIndex().rated({"gone": 3, str(self.sql.pk): 1}), [("SQL", 1)])

    def test_pm_user_rates_skills_by_their_other_names(self) -> None:
        """A name counts before another skill's alias; the form has the aliases for the script, escaped."""
        Skill.objects.filter(pk=self.sql.pk).update(aliases=["Structured <b>", "react"])
        rows = [("structured <B>", "3"), ("React", "2")]
        self.assertEqual(self.cleaned(*rows), {str(self.sql.pk): 3, str(self.react.pk): 2})
        self.assertEqual(self.problems(("SQL", "3"), ("structured <b>", "2")), ["SQL is listed 2 times."])
        page = str(PickerForm()["skill_levels"])
        self.assertIn('<option value="SQL" data-aliases="Structured &lt;b&gt;\nreact\n"></option>', page)

    def test_pm_user_is_suggested_what_the_role_usually_requires(self) -> None:
        """The most frequent of its last listings first, in as many queries for many."""
        self.client.force_login(make_pm_user())
        role, other = make_role(), make_skill()
        make_opportunity({make_skill(): 3})
        for levels in ({self.sql: 1, self.react: 5, other: 2}, {self.sql: 2, other: 2}, {self.sql: 1}):
            make_opportunity(levels, role=role)
        url = reverse("admin:ctj_api_opportunity_volunteer_count")
        self.assertEqual(self.client.get(url, {"role": str(role.pk)}).json()["usual"], ["SQL", other.name, "React"])
        for nobodys in ({}, {"role": ""}, {"role": UNKNOWN_ID}, {"role": "x"}):
            self.assertEqual(self.client.get(url, nobodys).json()["usual"], [])
        queries = count_queries(partial(self.client.get, url, {"role": str(role.pk)}))
        for _ in range(20):
            make_opportunity({make_skill(): 3, self.react: 1}, role=role)
        self.assertEqual(count_queries(partial(self.client.get, url, {"role": str(role.pk)})), queries)
        usual = self.client.get(url, {"role": str(role.pk)}).json()["usual"]
        self.assertEqual((usual[:3], len(usual)), (["React", "SQL", other.name], 8))

    def test_pm_user_changing_a_row_changes_the_field(self) -> None:
        """The same matrix in another order or case is none; wrong rows are one."""
        field = PickerForm().fields["skill_levels"]
        initial = {str(self.react.pk): 3, str(self.sql.pk): 1}
        for rows, changed in (
            ([("sql", "1"), ("React", "3")], False),
            ([("SQL", "2"), ("React", "3")], True),
            ([("React", "3")], True),
            ([("Reakt", "3")], True),
        ):
            with self.subTest(rows=rows):
                data = field.widget.value_from_datadict(sent(*rows), {}, "skill_levels")
                self.assertEqual(field.has_changed(initial, data), changed)
