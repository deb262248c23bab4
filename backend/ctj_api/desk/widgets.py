"""The widgets of the admin's forms that edit a skill matrix and weekly meetings, row by row."""

from collections.abc import Iterable
from functools import cached_property
from itertools import zip_longest
from typing import Any, ClassVar, NamedTuple

from django import forms

from ctj_api.enums import SkillLevel
from ctj_api.models import Skill
from ctj_api.querysets import by_any_name
from ctj_api.validators import MEETING_KEYS, lower_name, normal_slot, timezones

from .display import DAY_NAMES, NaturalOrder


class SkillIndex:
    """All skills, loaded with the first question in two queries."""

    @cached_property
    def _skills(self) -> list[Skill]:
        skills = Skill.objects.order_by(NaturalOrder("name"), "id")
        return list(skills.prefetch_related("communities_of_practice"))

    @cached_property
    def names(self) -> dict[str, str]:
        """Id → name of all skills."""
        return {str(skill.pk): skill.name for skill in self._skills}

    @cached_property
    def _by_name(self) -> dict[str, Skill]:
        return by_any_name(self._skills)

    def id_of(self, name: str) -> str | None:
        """Return the id of the skill with this name or alias, in any case; ``None`` where there is none."""
        skill = self._by_name.get(lower_name(name))
        return str(skill.pk) if skill else None

    def offered(self, rows: Iterable["SkillRow"]) -> list[Skill]:
        """Return the skills that are current or stand in ``rows``."""
        shown = {self.id_of(row.name) for row in rows}
        return [skill for skill in self._skills if not skill.retired_at or str(skill.pk) in shown]

    def rated(self, levels: dict[str, int]) -> list[tuple[str, int]]:
        """Return name and level of the skills of a matrix, highest level first, then by name."""
        by_name = [(name, levels[skill]) for skill, name in self.names.items() if skill in levels]
        return sorted(by_name, key=lambda entry: -entry[1])


class SkillRow(NamedTuple):
    """One row of the skill picker as it was filled in: the name of a skill, a level, and what is wrong with them."""

    name: str
    level: str
    problem: str = ""


class MeetingRow(NamedTuple):
    """One row of the week editor as it was filled in, and what is wrong with it."""

    day: str = ""
    start: str = ""
    end: str = ""
    name: str = ""
    problem: str = ""

    @property
    def slot(self) -> Any:
        """The slot that the row means, in normal form."""
        return normal_slot({key: getattr(self, key) for key in MEETING_KEYS if getattr(self, key)})


class EditedWeek(NamedTuple):
    """The week editor as it was filled in; ``is_none`` says that there are no meetings at all."""

    rows: list[MeetingRow]
    timezone: str
    is_none: bool


class RowEditor(forms.Widget):
    """Rows that are added and removed where JavaScript is on; without it, spare rows stand at the end."""

    use_fieldset = True
    empty_row: Any
    spare_rows: int

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["ctj_api/row_editor.css"]}

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """Return the rows that were sent, without those left empty."""
        parts = [data.getlist(f"{name}_{part}") for part in self.empty_row._fields[:-1]]
        rows = (self.empty_row._make([*map(str.strip, row), ""]) for row in zip_longest(*parts, fillvalue=""))
        return [row for row in rows if row != self.empty_row]

    def row_context(self, rows: list[Any]) -> dict[str, Any]:
        """Return what the template needs to show ``rows``, spare ones behind them, and new ones."""
        return {"rows": rows + [self.empty_row] * self.spare_rows, "template_row": self.empty_row}


class WeekEditor(RowEditor):
    """Rows of day, times and name, in one time zone."""

    template_name = "ctj_api/widgets/week_editor.html"
    empty_row = MeetingRow()
    spare_rows = 3

    class Media:
        js: ClassVar[list[str]] = ["ctj_api/week_editor.js"]

    def value_from_datadict(self, data: Any, files: Any, name: str) -> EditedWeek:
        """Return the week that was sent."""
        rows = super().value_from_datadict(data, files, name)
        return EditedWeek(rows, data.get(f"{name}_timezone", ""), f"{name}_none" in data)

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Return what the template shows: the rows, the days and the time zones."""
        context = super().get_context(name, value, attrs)
        zones = sorted({*timezones(), value.timezone})
        context["widget"] |= {**self.row_context(value.rows), "week": value, "days": DAY_NAMES, "timezones": zones}
        return context


class SkillPicker(RowEditor):
    """Rows of skill and level; where JavaScript is off, the browser suggests names in some spare rows."""

    template_name = "ctj_api/widgets/skill_picker.html"
    empty_row = SkillRow("", "")
    spare_rows = 5

    class Media:
        js: ClassVar[list[str]] = ["ctj_api/skill_picker.js"]

    @cached_property
    def skills(self) -> SkillIndex:
        """The catalog, which each form reads anew: a form shows a copy of the widget."""
        return SkillIndex()

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Return what the template shows: the rows, spare ones, the catalog and the levels."""
        context = super().get_context(name, value, attrs)
        levels = [(str(level), label) for level, label in SkillLevel.choices]
        offered = {"skills": self.skills.offered(value or []), "levels": levels}
        context["widget"] |= {**self.row_context(value or []), **offered}
        return context
