"""Forms of the admin."""

import json
from typing import Any

from django import forms

from .models import Opportunity, Role
from .validators import clean_skill_levels


class BoundedJSONDecoder(json.JSONDecoder):
    """Refuses also what a form can't show again: JSON nested too deeply, endless numbers, lone surrogates."""

    def decode(self, s: str, *args: Any) -> Any:
        """Return the parsed text; raises ``JSONDecodeError`` where it can't be parsed."""
        try:
            value = super().decode(s, *args)
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except (RecursionError, ValueError) as error:
            raise json.JSONDecodeError("This can't be read", s, 0) from error
        return value


class SkillLevelsFormField(forms.JSONField):
    """A skill matrix as JSON: ``{"<skill id>": level}``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(decoder=BoundedJSONDecoder, **kwargs)

    def clean(self, value: Any) -> dict[str, int]:
        """Return the levels in normal form; raises a ``ValidationError`` that names the wrong entries."""
        levels = super().clean(value)
        return clean_skill_levels({} if levels is None else levels)


class RoleChoiceField(forms.ModelChoiceField[Role]):
    """A role, told with its community: "Data Engineer" is a role in two."""

    def label_from_instance(self, obj: Role) -> str:
        """Return the title and the community."""
        return f"{obj.title} ({obj.community_of_practice})"


class OpportunityForm(forms.ModelForm[Opportunity]):
    """An opportunity together with the levels of its skill matrix."""

    role = RoleChoiceField(Role.objects.select_related("community_of_practice"))
    skill_levels = SkillLevelsFormField(
        required=False, initial=dict, label="Required skills", help_text="Skill ids with levels from 1 to 5, as JSON."
    )

    class Meta:
        model = Opportunity
        fields = (
            "project",
            "role",
            "body",
            "skill_levels",
            "min_experience_required",
            "min_hours_required",
            "work_environment",
            "status",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.initial["skill_levels"] = self.instance.skills_required_matrix.levels
