"""Forms of the admin."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms.models import ModelChoiceIterator
from django.urls import reverse_lazy

from ctj_api.enums import SkillLevel, Status
from ctj_api.models import Opportunity, Project, Role, SkillMatrix, UserProfile
from ctj_api.querysets import LAST_ADMINISTRATOR
from ctj_api.validators import clean_skill_levels, normal_lines, quote

from .skill_csv import MAX_FILE_SIZE, MAX_MESSAGES, NumberedRow, decode_file, read_rows
from .transitions import TRANSITIONS, Transition
from .widgets import SkillPicker, SkillRow

SKILL_PERMISSIONS = Permission.objects.filter(content_type__app_label="ctj_api", content_type__model="skill")
CHANGED_MEANWHILE = "The volunteer has changed their skills since this page was opened. Open it again."


class MultilineField(forms.CharField):
    """A text of several lines."""

    def to_python(self, value: Any) -> str:
        """Return the text with the line ends that are stored."""
        return normal_lines(super().to_python(value) or "")


class SkillLevelsFormField(forms.Field):
    """A skill matrix as rows of names and levels; its cleaned form is ``{skill id: level}``."""

    widget: SkillPicker = SkillPicker  # type: ignore[assignment]

    def prepare_value(self, value: Any) -> list[SkillRow]:
        """Return the rows to show, by name: those of a matrix, or those that were sent."""
        if not isinstance(value, dict):
            return list(value or [])
        return [SkillRow(name, str(level)) for name, level in self.widget.skills.rated(value)]

    def to_python(self, value: Iterable[SkillRow] | None) -> dict[str, int]:
        """Return the levels in normal form; raises a ``ValidationError`` that names the wrong rows."""
        rows, skills = list(value or []), self.widget.skills
        problems = [problem for row in rows for problem in self._problems(row)]
        chosen = Counter(filter(None, (skills.id_of(row.name) for row in rows)))
        problems += [f"{skills.names[skill]} is listed {times} times." for skill, times in chosen.items() if times > 1]
        if problems:
            raise ValidationError(list(dict.fromkeys(problems))[:MAX_MESSAGES])
        return clean_skill_levels({skills.id_of(row.name): int(row.level) for row in rows})

    def _problems(self, row: SkillRow) -> list[str]:
        if self.widget.skills.id_of(row.name) is None:
            return [f"There is no skill {quote(row.name)}. Choose one from the list."]
        if row.level not in map(str, SkillLevel.values):
            return [f"{row.name}: choose a level."]
        return []


class GroupedRoleIterator(ModelChoiceIterator[Role]):
    """The roles under the names of their communities."""

    def __iter__(self) -> Any:
        yield "", self.field.empty_label
        groups: dict[str, list[Any]] = {}
        for role in self.queryset:
            groups.setdefault(str(role.community_of_practice), []).append(self.choice(role))
        yield from groups.items()


class RoleChoiceField(forms.ModelChoiceField[Role]):
    """A role, chosen under its community: "Data Engineer" is a role in two."""

    iterator = GroupedRoleIterator


class PermissionField(forms.ModelMultipleChoiceField[Permission]):
    """Permissions, told by what they allow."""

    def label_from_instance(self, obj: Permission) -> str:
        """Return what the permission allows: "Can add skill"."""
        return obj.name


class NewAuthorForm(forms.Form):
    """Who takes over the listings of somebody who has left, if anybody."""

    new_author = forms.ModelChoiceField(
        UserProfile.objects.filter(is_active=True, is_project_manager=True),
        required=False,
        empty_label="Nobody: put them on hold",
        label="Who takes them over?",
    )


class SkillFileForm(forms.Form):
    """The choice of a CSV file of skills; its cleaned form is the rows of the file."""

    import_file = forms.FileField(
        label="File to import",
        widget=forms.FileInput({"accept": ".csv,text/csv", "aria-describedby": "file-help"}),
    )

    def clean_import_file(self) -> list[NumberedRow]:
        """Return the rows; raises a ``ValidationError`` for a file that is too large or no list of skills."""
        file = self.cleaned_data["import_file"]
        if file.size > MAX_FILE_SIZE:
            raise ValidationError(
                f"The file has {file.size / 1e6:.1f} MB; at most {MAX_FILE_SIZE // 1_000_000} MB can be imported."
            )
        return read_rows(decode_file(file.read()))


class SkillMatrixForm[M: (Opportunity, UserProfile)](forms.ModelForm[M]):
    """A row together with the levels of its skill matrix."""

    matrix_field: ClassVar[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        matrix: SkillMatrix | None = None if self.instance._state.adding else getattr(self.instance, self.matrix_field)
        self.initial["skill_levels"] = matrix.levels if matrix else {}


class OpportunityForm(SkillMatrixForm[Opportunity]):
    """What a project manager says of a listing; the admin's field sets name the fields."""

    matrix_field = "skills_required_matrix"

    project = forms.ModelChoiceField(Project.objects.all(), empty_label="Choose a project")
    role = RoleChoiceField(
        Role.objects.select_related("community_of_practice").order_by("community_of_practice__name", "title"),
        empty_label="Choose a role",
        help_text="The role decides in which community volunteers find the listing.",
    )
    skill_levels = SkillLevelsFormField(
        required=False,
        widget=SkillPicker(count_url=reverse_lazy("admin:ctj_api_opportunity_volunteer_count")),
        label="Required skills",
        help_text="What a volunteer must bring, each at the lowest level that will do. "
        "More than that neither helps nor harms anyone's ranking.",
    )

    class Meta:
        labels: ClassVar[dict[str, str]] = {
            "min_hours_required": "Hours a week, at least",
            "work_environment": "Where",
            "min_experience_required": "Experience, at least",
        }
        help_texts: ClassVar[dict[str, str]] = {
            "body": "What the volunteer will do, and for whom. Everybody can read it.",
            "min_experience_required": "Shown to volunteers; it doesn't change who is matched.",
            "min_hours_required": "How many hours a week you need from this person; 0 if it doesn't matter.",
            "status": "A draft is seen by project managers only. Open: volunteers can find it and are matched with it. "
            "On hold, filled and closed: public still, but nobody is matched with it any more.",
        }

    @property
    def transitions(self) -> list[Transition]:
        """The steps that make sense from the stored status, for a new listing from a draft; none for a reader."""
        if "status" not in self.fields:
            return []
        return [step for step in TRANSITIONS if self["status"].initial in step.sources]

    def clean_status(self) -> str:
        """Return the status that the pressed button leads to, else the chosen one.

        Raises a ``ValidationError`` where the step makes no sense any more, because the status was changed meanwhile.
        """
        pressed = next((step for step in TRANSITIONS if step.name == self.data.get("_transition")), None)
        if pressed is None:
            return str(self.cleaned_data["status"])
        if pressed not in self.transitions:
            stored = Status(self["status"].initial).label.lower()
            raise ValidationError(f"It can't be {pressed.done}: it is {stored} by now.")
        return pressed.target.value


class UserProfileForm(SkillMatrixForm[UserProfile]):
    """The rights of an account, and its skills, which the owner may be rating at the same moment."""

    matrix_field = "skills_learned_matrix"

    skill_levels = SkillLevelsFormField(
        required=False, label="Skills", help_text="Rated by the volunteers themselves; correct them only if asked to."
    )
    shown_levels = forms.CharField(required=False, widget=forms.HiddenInput)
    user_permissions = PermissionField(
        SKILL_PERMISSIONS,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Skill catalog",
        help_text="What the account may do here with skills; administrators may do all of it.",
    )

    class Meta:
        labels: ClassVar[dict[str, str]] = {"is_superuser": "Administrator"}
        help_texts: ClassVar[dict[str, str]] = {
            "email": "Another address ends the account's sessions, and the links that were mailed to it.",
            "is_active": "Untick it instead of deleting an account: nobody can sign in to it, nothing of it is lost.",
            "is_project_manager": "May post opportunities, see drafts, and see which volunteers match.",
            "is_superuser": "May change everything here, and give these rights to others.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["shown_levels"] = _as_text(self.initial["skill_levels"])

    @property
    def has_new_levels(self) -> bool:
        """Whether the rows say anything else than the page showed."""
        shown: str = self.cleaned_data["shown_levels"]
        return _as_text(self.cleaned_data["skill_levels"]) != shown

    def clean(self) -> dict[str, Any]:
        """Return the values; raises a ``ValidationError`` where somebody else's change would be lost."""
        values: dict[str, Any] = super().clean() or self.cleaned_data
        self._keep_an_administrator(values)
        is_outdated = values.get("shown_levels") != self.initial["shown_levels"]
        if "skill_levels" in values and self.has_new_levels and is_outdated:
            self.add_error("skill_levels", CHANGED_MEANWHILE)
        return values

    def clean_user_permissions(self) -> QuerySet[Permission]:
        """Return the chosen permissions, and with them those that this form doesn't show."""
        hidden = self.instance.user_permissions.exclude(pk__in=SKILL_PERMISSIONS)
        chosen = [*self.cleaned_data["user_permissions"], *hidden]
        return Permission.objects.filter(pk__in=[permission.pk for permission in chosen])

    def _keep_an_administrator(self, values: dict[str, Any]) -> None:
        """Raise a ``ValidationError`` where nobody would be an administrator any more."""
        rights = ("is_active", "is_superuser")
        if self.errors or all(map(values.get, rights)) or not all(map(self.initial.get, rights)):
            return
        if UserProfile.objects.has_no_administrator_but(self.instance):
            raise ValidationError(LAST_ADMINISTRATOR)


def _as_text(levels: dict[str, int]) -> str:
    return json.dumps(levels, sort_keys=True)
