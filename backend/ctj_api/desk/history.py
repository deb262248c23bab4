"""The history: who changed what, field by field and in plain words, stored as entries of Django's admin log."""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.hashers import make_password
from django.contrib.contenttypes.models import ContentType
from django.db.models import JSONField, ManyToManyField, Model, QuerySet, TextField, prefetch_related_objects
from django.http import HttpRequest
from django.shortcuts import redirect
from django.utils.text import capfirst, get_text_list

from ctj_api.models import Opportunity, Skill, SkillMatrix, UserProfile
from ctj_api.querysets import Requester

from .display import name_of, week_text

type Names = Mapping[Any, str]

NOTHING = "nothing"
NO_NAMES: Names = {}
# `is_staff` follows the other rights, signing in changes `last_login`, and Django's groups aren't used.
UNTRACKED = {"last_login", "is_staff", "groups"}
# The other fields of an account are personal: the history names those that were changed, and keeps no value.
RIGHTS = {"is_active", "is_project_manager", "is_superuser", "user_permissions"}
LABELS = {
    "skills_required_matrix": "required skills",
    "skills_learned_matrix": "rated skills",
    "is_superuser": "administrator",
    "created_by": "owner",
}
NAMED_BY: Mapping[type[Model], tuple[str, ...]] = {Opportunity: ("project", "role")}


def snapshot(instance: Model) -> dict[str, Any]:
    """Return the present values of the tracked fields of ``instance``, by their names."""
    return {field.name: _value(instance, field) for field in _fields(instance._meta.model)}


def changes(instance: Model, before: dict[str, Any], names: Names = NO_NAMES) -> list[str]:
    """Return a text for each difference since ``before``; rows whose ``names`` are given are not looked up."""
    fields: list[str] = []
    skills: list[str] = []
    after = snapshot(instance)
    for field in _fields(instance._meta.model):
        old, new = before[field.name], after[field.name]
        if old == new:
            continue
        if _is_matrix(field) and not _is_private(field):
            skills += _level_changes(old, new, names)
        else:
            fields.append(_change(field, old, new, names))
    return fields + skills


def change_of(model: type[Model], field_name: str, old: Any, new: Any) -> str:
    """Return the text for one field's change: ``status from Draft to Open``."""
    return _change(model._meta.get_field(field_name), old, new)


def log_addition(user: Requester, *instances: Model) -> None:
    """Log that ``user`` has added ``instances``, which are of one model."""
    log_entries(user, instances, ADDITION, [{"added": {}}])


def log_change(user: Requester, instance: Model, before: dict[str, Any], names: Names = NO_NAMES) -> None:
    """Log what ``user`` has changed in ``instance`` since ``before``, if anything is different."""
    log_changes(user, [instance], changes(instance, before, names))


def log_changes(user: Requester, instances: Collection[Model], texts: Sequence[str]) -> None:
    """Log that ``user`` has made the same changes to all ``instances``, which are of one model."""
    if texts:
        log_entries(user, instances, CHANGE, _message(texts))


def log_deletion(user: Requester, instance: Model) -> None:
    """Log that ``user`` is about to delete ``instance``."""
    log_entries(user, [instance], DELETION)


def log_entries(user: Requester, instances: Collection[Model], flag: int, message: str | list[Any] = "") -> None:
    """Log the same about each of ``instances``, after loading the rows that their names are made of."""
    rows = list(instances)
    if rows:
        prefetch_related_objects(rows, *NAMED_BY.get(rows[0]._meta.model, ()))
        author: Any = user.pk
        LogEntry.objects.log_actions(author, rows, flag, message)


def unattended_account(email: str) -> UserProfile:
    """Return the account of this address, which nobody uses: the history names it where it can name no person."""
    defaults = {"password": make_password(None), "is_active": False}
    return UserProfile.objects.get_or_create(email=email, defaults=defaults)[0]


def newest_entry(instance: Model) -> int:
    """Return the id of the newest entry about ``instance``, 0 where there is none."""
    return _entries(instance).values_list("pk", flat=True).order_by("-pk").first() or 0


def differences(form: Any, reader: Requester) -> list[dict[str, Any]]:
    """Return what others have stored since the page of ``form`` was made: field, value, and who it was and when."""
    entries = list(_entries(form.instance).filter(pk__gt=form.last_entry).select_related("user").order_by("-pk"))
    told = []
    for field in _fields(form.instance._meta.model):
        if field.name in form.changed_meanwhile:
            entry = next((entry for entry in entries if _is_about(entry, field)), None)
            shown = form.fields.get("skill_levels" if _is_matrix(field) else field.name)
            label = (shown and shown.label) or capfirst(_label(field))
            value, who = _text(field, form.before[field.name]), _author(entry, field, reader)
            told.append({"label": label, "value": value, "who": who, "when": entry and entry.action_time})
    return told


class HistoryAdmin[M: Model](admin.ModelAdmin[M]):
    """A model's pages, whose changes are logged in the words of this module; Django logs additions and deletions."""

    def is_deletion(self, request: HttpRequest) -> bool:
        """Return whether the request deletes rows, or is about to."""
        return request.path.endswith("/delete/") or "delete_selected" in request.POST.getlist("action")

    def lock(self, request: HttpRequest, pks: Collection[Any]) -> None:
        """Lock these rows; wholly for a deletion, since who raised their locks later could wait for each other."""
        rows = self.model._default_manager.select_for_update(no_key=not self.is_deletion(request))
        list(rows.filter(pk__in=pks).order_by("pk").values_list("pk"))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> M | None:
        """Return the row, after locking one that is about to be changed by a query of its own, without joins."""
        if request.method == "POST":
            self.lock(request, [object_id])
        return super().get_object(request, object_id, from_field or None)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Lead on to what was saved already; else tell what others have changed, and focus the first wrong field."""
        form: Any = context["adminform"].form
        if form.added:
            messages.success(request, f"{form.added} was saved already, and only once. This is what is stored.")
            return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", form.added.pk)
        if form.changed_meanwhile:
            context["differences"] = differences(form, request.user)
        elif wrong := next(filter(form.fields.__contains__, form.errors), None):
            form.fields[wrong].widget.attrs["autofocus"] = True
        return super().render_change_form(request, context, *args, **kwargs)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Return the differences between the row as it was stored before and as it is stored now."""
        if add:
            return super().construct_change_message(request, form, formsets, add)
        stored = self.model._default_manager.get(pk=form.instance.pk)
        return _message(changes(stored, form.before))

    def log_change(self, request: HttpRequest, obj: M, message: Any) -> Any:
        """Log nothing where nothing was changed."""
        return super().log_change(request, obj, message) if message else None


def _message(texts: Sequence[str]) -> list[dict[str, dict[str, list[str]]]]:
    return [{"changed": {"fields": list(texts)}}] if texts else []


@cache
def _fields(model: type[Model]) -> list[Any]:
    fields = (*model._meta.fields, *model._meta.many_to_many)
    return [field for field in fields if field.editable and field.name not in UNTRACKED]


def _value(instance: Model, field: Any) -> Any:
    if isinstance(field, ManyToManyField):
        return frozenset(row.pk for row in getattr(instance, field.name).all())
    if _is_matrix(field):
        matrix: SkillMatrix | None = getattr(instance, field.name)
        return dict(matrix.levels) if matrix else {}
    return getattr(instance, field.attname)


def _is_matrix(field: Any) -> bool:
    return field.related_model is SkillMatrix


def _is_private(field: Any) -> bool:
    return field.model is UserProfile and field.name not in RIGHTS


def _label(field: Any) -> str:
    return LABELS.get(field.name, str(field.verbose_name))


def _change(field: Any, old: Any, new: Any, known: Names = NO_NAMES) -> str:
    label = _label(field)
    if _is_private(field) or isinstance(field, TextField | JSONField):
        return label
    was, becomes = (_text(field, value, known) for value in (old, new))
    return label if was == becomes else f"{label} from {was} to {becomes}"


def _text(field: Any, value: Any, known: Names = NO_NAMES) -> str:
    if isinstance(field, JSONField):
        return week_text(value)
    if _is_matrix(field):
        names = Skill.objects.names_of(value)
        value = sorted(f"{names[skill]} {value[skill]}" for skill in names)
    elif field.related_model:
        pks = value if isinstance(value, frozenset) else {value} - {None}
        rows = {**known, **field.related_model._default_manager.in_bulk(pks - known.keys())}
        value = sorted(str(rows[pk]) for pk in pks if pk in rows)
    if isinstance(value, list):
        return get_text_list(value, "and") or NOTHING
    choices = dict(field.flatchoices)
    if value in choices:
        return str(choices[value])
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NOTHING if value in (None, "") else str(value)


def _level_changes(old: dict[str, int], new: dict[str, int], known: Names) -> list[str]:
    changed = {skill for skill in old | new if old.get(skill) != new.get(skill)}
    names = {skill: known[skill] for skill in changed & known.keys()} | Skill.objects.names_of(changed - known.keys())
    by_name = sorted(names.items(), key=lambda item: (item[1], item[0]))
    kept = [(skill, name) for skill, name in by_name if skill in old and skill in new]
    return [
        *(f"{name} from level {old[skill]} to {new[skill]}" for skill, name in kept),
        *(f"{name} added at level {new[skill]}" for skill, name in by_name if skill not in old),
        *(f"{name} removed" for skill, name in by_name if skill not in new),
    ]


def _entries(instance: Model) -> QuerySet[LogEntry]:
    kind = ContentType.objects.get_for_model(instance)
    return LogEntry.objects.filter(content_type=kind, object_id=instance.pk)


def _is_about(entry: LogEntry, field: Any) -> bool:
    """Return whether an entry tells of ``field``; one in free words may tell of any."""
    is_rated = _is_matrix(field) and not _is_private(field)
    words = r" level \d| removed\"|, which became" if is_rated else rf'"{re.escape(_label(field))}("| from )'
    return not entry.change_message.startswith("[") or re.search(words, entry.change_message) is not None


def _author(entry: LogEntry | None, field: Any, reader: Requester) -> str:
    """Return who has changed a field; what volunteers say of themselves is not logged, nor is what SQL does."""
    if entry is None:
        return "the volunteer" if _is_private(field) and field.name != "email" else "somebody"
    return "you, on another page" if entry.user_id == reader.pk else name_of(entry.user)
