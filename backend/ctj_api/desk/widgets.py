"""Widgets of the admin's forms."""

from collections.abc import Mapping
from itertools import chain, zip_longest
from typing import Any, ClassVar, NamedTuple

from django import forms
from django.utils.datastructures import MultiValueDict

from ctj_api.enums import SkillLevel

from .skill_index import SkillIndex


class SkillRow(NamedTuple):
    """One row of the skill picker as it was filled in: the name of a skill, and a level; either may be wrong."""

    name: str
    level: str


class SkillPicker(forms.Widget):
    """Rows of skill and level. A skill is typed by its name, and found by any part of it where JavaScript is on.

    Without JavaScript the browser suggests names, and spare rows stand at the end.
    """

    template_name = "ctj_api/widgets/skill_picker.html"
    use_fieldset = True
    spare_rows = 5
    skills: SkillIndex

    def __init__(self, *, count_url: object = None) -> None:
        """Take the address that answers in words how many volunteers there are for the rows, if that is of use."""
        super().__init__()
        self.count_url = count_url

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["ctj_api/skill_picker.css"]}
        js: ClassVar[list[str]] = ["ctj_api/skill_picker.js"]

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> list[SkillRow]:
        """Return the rows that were sent, without those left empty."""
        names, levels = (_values(data, f"{name}_{part}") for part in SkillRow._fields)
        rows = (SkillRow(str(skill).strip(), str(level)) for skill, level in zip_longest(names, levels, fillvalue=""))
        return [row for row in rows if row.name]

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        """Return whether no row was sent, not even an empty one."""
        return f"{name}_name" not in data

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Return what the template shows: the rows, spare ones, the catalog and the levels."""
        context = super().get_context(name, value, attrs)
        context["widget"]["rows"] = list(chain(value or [], [SkillRow("", "")] * self.spare_rows))
        context["widget"]["template_row"] = SkillRow("", "")
        context["widget"]["skills"] = self.skills.with_communities()
        context["widget"]["count_url"] = self.count_url
        context["widget"]["levels"] = [(str(level), label) for level, label in SkillLevel.choices]
        return context


def _values(data: Mapping[str, Any], name: str) -> list[Any]:
    if isinstance(data, MultiValueDict):
        return data.getlist(name)
    value = data.get(name, [])
    return list(value) if isinstance(value, list | tuple) else [value]
