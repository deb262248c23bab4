"""Forms of the admin."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from itertools import groupby
from typing import Any, ClassVar
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db import connection
from django.db.models import Model, QuerySet
from django.forms.models import ModelChoiceIterator
from django.urls import reverse_lazy
from django.utils.html import format_html

from ctj_api.catalog.source import hold_off_synchronisation
from ctj_api.enums import SkillLevel, Status
from ctj_api.exceptions import MAX_MESSAGES
from ctj_api.models import Opportunity, Project, Role, Skill, SkillMatrix, UserProfile
from ctj_api.querysets import LAST_ADMINISTRATOR
from ctj_api.validators import (
    MEETING_KEYS,
    RETIRED,
    clean_skill_levels,
    normal_lines,
    quote,
    slot_problems,
    validate_meeting_times,
)

from .display import DAY_NAMES, NaturalOrder, week_text
from .history import newest_entry, snapshot
from .skill_csv import MAX_FILE_SIZE, NumberedRow, decode_file, read_rows
from .transitions import TRANSITIONS, Transition
from .widgets import EditedWeek, MeetingRow, SkillPicker, SkillRow, WeekEditor

SKILL_PERMISSIONS = Permission.objects.filter(content_type__app_label="ctj_api", content_type__model="skill")
VERSION, OVERWRITE, TOKEN = "_version", "_overwrite", "_add_token"
CHANGED_MEANWHILE = "This was changed after you opened it, so nothing was saved. What you typed still stands here."
PUBLISH_ANYWAY = "_without_skills"
NO_SKILLS = "Nobody is matched with a listing that requires no skills. Choose some, or go on without."
NO_NAME = "A level stands without a skill: choose one, or leave both empty."
MEETINGS_HELP = (
    "Those of this role, each week. One past midnight takes two rows: until 12 AM, and from 12 AM of the next day on. "
    "Left empty, the meetings of the project count"
)
CHOOSE_OR_ASK = "Choose one from the list, or ask an administrator to add it."
NO_DAY = "A meeting stands without a day: choose one, or empty the whole row."
NONE_AND_SOME = "There are meetings, and none at all is ticked: untick it, or empty the rows."


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
            rows = list(value or [])
            return [row._replace(problem=problem) for row, problem in zip(rows, self._problems(rows), strict=True)]
        return [SkillRow(name, str(level)) for name, level in self.widget.skills.rated(value)]

    def to_python(self, value: Iterable[SkillRow] | None) -> dict[str, int]:
        """Return the levels in normal form; raises a ``ValidationError`` that names the wrong rows."""
        rows, skills = list(value or []), self.widget.skills
        problems = filter(None, self._problems(rows))
        if told := list(dict.fromkeys(problems))[:MAX_MESSAGES]:
            raise ValidationError(told)
        return clean_skill_levels({skills.id_of(row.name): int(row.level) for row in rows})

    def _problems(self, rows: list[SkillRow]) -> list[str]:
        times = Counter(self.widget.skills.id_of(row.name) for row in rows)
        return [self._problem(row, times) for row in rows]

    def _problem(self, row: SkillRow, times: Counter[str | None]) -> str:
        skill = self.widget.skills.id_of(row.name)
        if not row.name:
            return NO_NAME
        if skill is None:
            return f"There is no skill {quote(row.name)}. {CHOOSE_OR_ASK}"
        if row.level not in map(str, SkillLevel.values):
            return f"{row.name}: choose a level."
        return f"{self.widget.skills.names[skill]} is listed {times[skill]} times." if times[skill] > 1 else ""


class MeetingTimesFormField(forms.Field):
    """Weekly meetings as rows; its cleaned form is week slots, or ``None`` where nothing is filled in."""

    widget = WeekEditor
    timezone = ""  # which an empty editor proposes

    def prepare_value(self, value: Any) -> EditedWeek:
        """Return the editor to show: for stored week slots, or as it was sent, with what is wrong at each row."""
        if isinstance(value, EditedWeek):
            return value._replace(rows=[row._replace(problem=_meeting_problem(row)) for row in value.rows])
        week = value or {"timezone": self.timezone, "slots": []}
        rows = [MeetingRow(**slot) for slot in week["slots"]]
        return EditedWeek(rows, week["timezone"], is_none=value is not None and not rows)

    def to_python(self, value: Any) -> dict[str, Any] | None:
        """Return the week slots in normal form; raises a ``ValidationError`` that names the wrong rows."""
        if value.rows and value.is_none:
            raise ValidationError(NONE_AND_SOME)
        if problems := list(filter(None, map(_meeting_problem, value.rows)))[:MAX_MESSAGES]:
            raise ValidationError(problems)
        if not value.rows and not value.is_none:
            return None
        week = {"timezone": value.timezone, "slots": [row.slot for row in value.rows]}
        validate_meeting_times(week)
        return week


def _meeting_problem(row: MeetingRow) -> str:
    if not row.day:
        return NO_DAY
    problems = " ".join(slot_problems(row.slot, MEETING_KEYS).values())
    return f"{DAY_NAMES.get(row.day, quote(row.day))}: {problems}" if problems else ""


class GroupedRoleIterator(ModelChoiceIterator[Role]):
    """The roles under the names of their communities."""

    def __iter__(self) -> Any:
        yield "", self.field.empty_label
        for community, roles in groupby(self.queryset, lambda role: str(role.community_of_practice)):
            yield community, [self.choice(role) for role in roles]


class RoleChoiceField(forms.ModelChoiceField[Role]):
    """A role, chosen under its community: "Data Engineer" is a role in two."""

    iterator = GroupedRoleIterator


class PermissionField(forms.ModelMultipleChoiceField[Permission]):
    """Permissions, told by what they allow."""

    def label_from_instance(self, obj: Permission) -> str:
        """Return what the permission allows: "Can add skill"."""
        return obj.name


class NewAuthorForm(forms.Form):
    """The address of the project manager who takes listings over."""

    new_author = forms.ModelChoiceField(
        UserProfile.objects.filter(is_active=True, is_project_manager=True),
        to_field_name="email",
        widget=forms.TextInput({"list": "project-managers", "autocomplete": "off", "class": "vTextField"}),
        label="New owner",
        error_messages={
            "required": "Say who looks after this from now on.",
            "invalid_choice": "No project manager has this address: choose one from the list.",
        },
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
            size, most = file.size / 1e6, MAX_FILE_SIZE // 1_000_000
            raise ValidationError(f"The file has {size:.1f} MB; at most {most} MB can be imported.")
        return read_rows(decode_file(file.read()))


class VersionedForm[M: Model](forms.ModelForm[M]):
    """A form that is refused where its row was changed after the page was made, and adds one row once."""

    added: Model | None = None
    last_entry: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before = {} if self.instance._state.adding else snapshot(self.instance)
        self._digests = {name: digest_of(value) for name, value in self.before.items()}
        self.sent_version: str | None = self.data.get(OVERWRITE) or self.data.get(VERSION)
        sent = self.sent_version
        self.last_entry, seen = (0, self._digests) if sent is None else _read_version(sent)
        self.changed_meanwhile = [name for name, digest in self._digests.items() if seen.get(name) != digest]
        if self.instance._state.adding:
            self.fields[TOKEN] = forms.UUIDField(required=False, widget=forms.HiddenInput, initial=uuid4)

    @property
    def version(self) -> str:
        """The row as it is stored: a digest for each field, and the newest entry of its history."""
        return Signer().sign_object([newest_entry(self.instance), self._digests])

    def clean(self) -> dict[str, Any]:
        """Return the values; raises a ``ValidationError`` for a conflict, and for a new row that is stored already."""
        values = super().clean() or self.cleaned_data
        if self.changed_meanwhile:
            raise ValidationError(CHANGED_MEANWHILE)
        if pk := values.get(TOKEN):
            with connection.cursor() as cursor:  # another request may be storing the same form
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [str(pk)])
            self.instance.pk = pk
            self.added = self._meta.model._default_manager.filter(pk=pk).first()
        if self.added:
            raise ValidationError("This was saved already.")
        return values


def digest_of(value: Any) -> str:
    """Return a short text that differs wherever ``value`` does."""
    ordered = sorted(map(str, value)) if isinstance(value, frozenset) else value
    return sha256(json.dumps(ordered, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _read_version(version: str) -> Any:
    """Return the newest entry and the digests of a version; of one that we didn't make, none, so that all differs."""
    try:
        return Signer().unsign_object(version)
    except BadSignature:
        return 0, {}


class SkillMatrixForm[M: (Opportunity, UserProfile)](VersionedForm[M]):
    """A row together with the levels of its skill matrix."""

    matrix_field: ClassVar[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        matrix: SkillMatrix | None = None if self.instance._state.adding else getattr(self.instance, self.matrix_field)
        self.initial = {"skill_levels": matrix.levels if matrix else {}, **self.initial}
        if self.is_bound:
            hold_off_synchronisation()

    def clean_skill_levels(self) -> dict[str, int]:
        """Return the levels; raises a ``ValidationError`` for a retired skill that the stored matrix doesn't rate."""
        levels: dict[str, int] = self.cleaned_data["skill_levels"]
        added = levels.keys() - self.initial["skill_levels"].keys()
        if names := Skill.objects.retired().names_of(added):
            raise ValidationError([RETIRED.format(name) for name in sorted(names.values())][:MAX_MESSAGES])
        return levels


class OpportunityForm(SkillMatrixForm[Opportunity]):
    """What a project manager says of a listing; the admin's field sets name the fields."""

    matrix_field = "skills_required_matrix"

    project = forms.ModelChoiceField(
        Project.objects.order_by(NaturalOrder("name"), "id"), empty_label="Choose a project"
    )
    role = RoleChoiceField(
        Role.objects.select_related("community_of_practice").order_by(
            "community_of_practice__name", NaturalOrder("title")
        ),
        empty_label="Choose a role",
        help_text="The role decides in which community volunteers find the listing.",
    )
    skill_levels = SkillLevelsFormField(
        required=False,
        widget=SkillPicker({"count_url": reverse_lazy("admin:ctj_api_opportunity_volunteer_count")}),
        label="Required skills",
        help_text="What a volunteer must bring, each at the lowest level that will do. "
        "More than that neither helps nor harms anyone's ranking.",
    )
    weekly_meetings = MeetingTimesFormField(required=False, label="Meeting times")

    class Meta:
        labels: ClassVar[dict[str, str]] = {
            "min_hours_required": "Hours a week, at least",
            "work_environment": "Where",
            "min_experience_required": "Experience, at least",
        }
        help_texts: ClassVar[dict[str, str]] = {
            "body": "What the volunteer will do, and for whom. Everybody can read it, as plain text: "
            "lines and empty lines stay, nothing is set bold or linked.",
            "min_experience_required": "Shown to volunteers; it doesn't change who is matched.",
            "min_hours_required": "How many hours a week you need from this person; 0 if it doesn't matter.",
        }

    class Media:
        js: ClassVar[list[str]] = ["ctj_api/letter_count.js"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer the current projects and roles, and those that the listing has."""
        super().__init__(*args, **kwargs)
        self.status = Status(self.instance.status)
        self.transitions = [step for step in TRANSITIONS if self.status in step.sources]
        self.pressed = pressed_step(self.data)
        for name in {"project", "role"} & self.fields.keys():
            field: Any = self.fields[name]
            field.queryset = field.queryset.current_or(getattr(self.instance, f"{name}_id"))
        self.initial = {"weekly_meetings": self.instance.meeting_times, **self.initial}
        editor: Any = self.fields["weekly_meetings"]
        week = None if self.instance._state.adding else self.instance.project.meeting_times
        editor.timezone = week["timezone"] if week else settings.ADMIN_TIME_ZONE
        editor.help_text = format_html("{}: {}", MEETINGS_HELP, week_text(week)) if week else f"{MEETINGS_HELP}."

    def clean(self) -> dict[str, Any]:
        """Return the values; raises a ``ValidationError`` for a step that the status doesn't allow."""
        values = super().clean()
        if self.pressed and self.pressed not in self.transitions:
            raise ValidationError(self.pressed.refusal(self.status))
        is_open = (self.pressed.target if self.pressed else self.status) == Status.OPEN
        was_so = self.status == Status.OPEN and not self.initial["skill_levels"]
        self.is_without_skills = is_open and values.get("skill_levels") == {} and not was_so
        if self.is_without_skills and PUBLISH_ANYWAY not in self.data:
            self.add_error("skill_levels", NO_SKILLS)
        return values


def pressed_step(data: Mapping[str, Any]) -> Transition | None:
    """Return the step whose button was pressed, also where another button answered a question about it."""
    is_answer = OVERWRITE in data or PUBLISH_ANYWAY in data
    name = data.get("_transition") or (data.get("_pressed") if is_answer else None)
    return next((step for step in TRANSITIONS if step.name == name), None)


class UserProfileForm(SkillMatrixForm[UserProfile]):
    """The rights of an account, and its skills, which the owner may be rating at the same moment."""

    matrix_field = "skills_learned_matrix"

    skill_levels = SkillLevelsFormField(
        required=False, label="Skills", help_text="Rated by the volunteers themselves; correct them only if asked to."
    )
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

    def clean(self) -> dict[str, Any]:
        """Return the values; raises a ``ValidationError`` where nobody would be an administrator any more."""
        values = super().clean()
        rights = ("is_active", "is_superuser")
        ends = all(map(self.initial.get, rights)) and not all(map(values.get, rights)) and not self.errors
        if ends and UserProfile.objects.has_no_administrator_but(self.instance):
            raise ValidationError(LAST_ADMINISTRATOR)
        return values

    def clean_user_permissions(self) -> QuerySet[Permission]:
        """Return the chosen permissions, and with them those that this form doesn't show."""
        hidden = self.instance.user_permissions.exclude(pk__in=SKILL_PERMISSIONS)
        chosen = [*self.cleaned_data["user_permissions"], *hidden]
        return Permission.objects.filter(pk__in=[permission.pk for permission in chosen])
