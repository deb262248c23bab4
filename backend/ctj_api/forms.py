"""Forms of the admin."""

from typing import Any

from django import forms

from .models import Opportunity
from .validators import clean_skill_levels


class SkillLevelsFormField(forms.JSONField):
    """A skill matrix as JSON: ``{"<skill id>": level}``."""

    def clean(self, value: Any) -> dict[str, int]:
        """Return the levels in normal form; raises a ``ValidationError`` that names the wrong entries."""
        try:
            levels = super().clean(value)
        except RecursionError as error:
            raise forms.ValidationError("This is nested too deeply.") from error
        return clean_skill_levels({} if levels is None else levels)


class OpportunityForm(forms.ModelForm[Opportunity]):
    """An opportunity together with the levels of its skill matrix."""

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
