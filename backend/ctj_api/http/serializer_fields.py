"""The serializer fields of this API: values in one form of JSON only, and the two JSON shapes."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import models
from django.db.models import Model
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from ctj_api import validators
from ctj_api.catalog.source import is_kept_elsewhere
from ctj_api.matching import Levels
from ctj_api.models import Skill, SkillMatrix
from ctj_api.querysets import CatalogQuerySet, RetiredName

from .query_parameters import row_given
from .schema import PARTS

SKILL_NAMES = "skill_names"


@extend_schema_field(PARTS["availability"])
class AvailabilityField(serializers.JSONField):
    """When a volunteer is free, in weekly slots of one time zone, or null."""

    check = staticmethod(validators.validate_week_slots)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        """Return the slots in the form that is stored; raises ``ValidationError`` for wrong ones."""
        week = validators.normal_week(super().to_internal_value(data))
        self.check(week)
        return week


@extend_schema_field(PARTS["meeting_times"])
class MeetingTimesField(AvailabilityField):
    """When people meet, in weekly slots of one time zone, or null."""

    check = staticmethod(validators.validate_meeting_times)


class RowField(serializers.PrimaryKeyRelatedField[Model]):
    """A row, given by its id as answers write it, in any case."""

    def run_validation(self, data: Any = empty) -> Any:
        """Return the row, or null where that is allowed, for which REST framework takes an empty text as well."""
        if data == "" or (data is None and not self.allow_null):
            return self.to_internal_value(data)
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> Any:
        """Return the row; raises ``ValidationError`` where there is none, or a retired one that isn't stored yet."""
        kept = getattr(self.parent.instance, str(self.source), None)
        if isinstance(data, str) and isinstance(kept, Model) and data.lower() == str(kept.pk):
            return kept
        rows: Any = self.get_queryset()
        if not isinstance(rows, CatalogQuerySet):
            return row_given(rows, data)
        try:
            return row_given(rows.current(), data)
        except DjangoValidationError:
            if validators.is_uuid(data) and (row := rows.retired().filter(pk=data).first()):
                raise serializers.ValidationError(validators.RETIRED.format(row)) from None
            raise


@extend_schema_field(PARTS["community"])
class CommunityField(RowField):
    """A community of practice, given by its id or its practice area."""


class HoursField(serializers.IntegerField):
    """The hours of a week as a whole number of JSON: no text, and nothing to be rounded."""

    default_error_messages: ClassVar = dict.fromkeys(
        ("invalid", "null", "min_value", "max_value"), f"Give a whole number from 0 to {validators.MAX_HOURS}."
    )

    def to_internal_value(self, data: Any) -> int:
        """Return the number; raises ``ValidationError`` for anything else."""
        if not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class TextField(serializers.CharField):
    """A text of JSON: no number, which REST framework would write out."""

    def run_validation(self, data: Any = empty) -> Any:
        """Return the text; raises ``ValidationError`` for anything else."""
        if data is not None and data is not empty and not isinstance(data, str):
            self.fail("invalid")
        return super().run_validation(data)


class MultilineTextField(TextField):
    """A text of several lines."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text with the line ends that are stored."""
        return validators.normal_lines(super().to_internal_value(data))


class EmailTextField(TextField, serializers.EmailField):
    """An e-mail address."""


class PasswordField(TextField):
    """A password, taken as it is and never told."""

    def __init__(self) -> None:
        super().__init__(max_length=validators.MAX_PASSWORD, trim_whitespace=False, write_only=True)


class CurrentPasswordField(PasswordField):
    """The password of who sends the request; its value is their account, as it was when the password was checked."""

    def run_validation(self, data: Any = empty) -> Any:
        """Return the account; raises ``ValidationError`` for a wrong password, ``TooManyAttempts`` after several."""
        owner = self.context["request"].user
        # Who signs in by a token knows no password here; administrators keep theirs.
        if settings.IDENTITY_PROVIDER == "cognito" and owner.cognito_sub and not owner.is_superuser:
            return owner
        password = super().run_validation(data)
        owner = authenticate(self.context["request"]._request, username=owner.email, password=password)
        if owner is None:
            raise serializers.ValidationError("This is not your password.")
        return owner


@extend_schema_field(PARTS["levels"])
class SkillLevelsField(serializers.JSONField):
    """``{skill id: level}``."""

    def to_internal_value(self, data: Any) -> dict[str, int]:
        """Return the levels in normal form; raises ``ValidationError`` for wrong entries and new retired skills."""
        names = all_skill_names(self.context)
        levels = validators.clean_skill_levels(data, names)
        if retired := {skill for skill in levels if isinstance(names[skill], RetiredName)}:
            rated = value_at(self.parent.instance, f"{self.source}__levels") or {}
            if added := sorted(retired - rated.keys()):
                raise serializers.ValidationError([validators.RETIRED.format(names[skill]) for skill in added])
        return levels


@extend_schema_field(PARTS["rated_skills"])
class RatedSkillsField(serializers.Field[Any, Any, Any, Any]):
    """The skills of a matrix as people read them."""

    def to_representation(self, value: Levels) -> list[dict[str, Any]]:
        """Return the skills, highest level first, then by name."""
        names = all_skill_names(self.context)
        rated = [
            {"skill": skill, "name": names[skill], "level": level} for skill, level in value.items() if skill in names
        ]
        return sorted(rated, key=lambda entry: (-entry["level"], entry["name"], entry["skill"]))


class StrictModelSerializer[M: Model](serializers.ModelSerializer[M]):
    """Takes ids, numbers and texts in one form only."""

    matrix = ""  # the field with the skill matrix
    answer: type[serializers.ModelSerializer[Any]]
    kept_by_cognito: tuple[str, ...] = ()
    serializer_related_field = RowField
    serializer_field_mapping: ClassVar = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.PositiveSmallIntegerField: HoursField,
        models.CharField: TextField,
        models.TextField: MultilineTextField,
        models.EmailField: EmailTextField,
    }

    def get_fields(self) -> dict[str, Any]:
        """Return the fields that are taken."""
        kept = self.kept_by_cognito if settings.IDENTITY_PROVIDER == "cognito" else ()
        return {name: field for name, field in super().get_fields().items() if name not in kept}

    def take_locked(self, row: Any) -> None:
        """Go on with the locked row; if it or a catalog may have changed since, raise what is wrong with that."""
        checked: Any = self.instance
        context: Any = self.context
        self.instance = row
        if is_kept_elsewhere() or row.updated_at != checked.updated_at:
            context.pop(SKILL_NAMES, None)
            self._validated_data = self.run_validation(self.initial_data)

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        """Save a row with its matrix, which the first levels make; one that stays the same keeps its time."""
        stored = getattr(instance, self.matrix)
        before = None if stored is None else stored.levels
        levels = validated_data.pop(self.matrix, before)
        if levels != before:
            validated_data[self.matrix] = SkillMatrix.objects.store(levels, into=stored)
        elif has_values(instance, validated_data):
            return instance
        return super().update(instance, validated_data)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Answer a write with the read shape."""
        return self.answer(context=self.context).to_representation(instance)


def all_skill_names(context: Any) -> dict[str, str]:
    """Return id → name of all skills, which the serializers of one request look up once."""
    if SKILL_NAMES not in context:
        context[SKILL_NAMES] = Skill.objects.names()
    names: dict[str, str] = context[SKILL_NAMES]
    return names


def columns_of(serializer: serializers.ModelSerializer[Any], but: tuple[str, ...]) -> dict[str, str]:
    """Return field → the path by which a query reads its value; raises ``FieldDoesNotExist`` for a misspelt source."""
    columns = {}
    for name, field in serializer.fields.items():
        if name not in but:
            *references, last = str(field.source).split(".")
            model: Any = serializer.Meta.model
            for reference in references:
                model = model._meta.get_field(reference).related_model
            columns[name] = "__".join([*references, model._meta.get_field(last).attname])
    return columns


def value_at(row: Any, path: str) -> Any:
    """Return from an instance what the path of a query leads to; ``None`` where a reference on the way is null."""
    for name in path.split("__"):
        row = None if row is None else getattr(row, name)
    return row


def has_values(row: Model, values: dict[str, Any]) -> bool:
    """Return whether the fields of ``row`` have these values already; no row that they refer to is loaded."""
    columns = {field.name: field.attname for field in row._meta.fields}
    return all(getattr(row, columns[name]) == getattr(value, "pk", value) for name, value in values.items())
