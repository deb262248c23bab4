"""Model fields that store their values in a normal form."""

from collections.abc import Callable
from typing import Any

from django.db import models

from .validators import clean_skill_levels, normal_name, validate_plain_address


class NormalFormField(models.CharField[str, str]):
    """A text that is stored and looked up in the form that ``normal_form`` gives it."""

    normal_form: Callable[[str], str]

    def to_python(self, value: Any) -> Any:
        """Return the stored form, for validation."""
        return self._normal(super().to_python(value))

    def get_prep_value(self, value: Any) -> Any:
        """Return the stored form, for queries as well."""
        return self._normal(super().get_prep_value(value))

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Give the saved instance the stored form."""
        value = self._normal(super().pre_save(model_instance, add))
        setattr(model_instance, self.attname, value)
        return value

    def _normal(self, value: Any) -> Any:
        return self.normal_form(value) if isinstance(value, str) else value


class LowercaseEmailField(NormalFormField, models.EmailField[str, str]):
    """An e-mail address in lower case, so that it is one account in any case."""

    default_validators = [*models.EmailField.default_validators, validate_plain_address]  # noqa: RUF012 (a list by its type)
    normal_form = staticmethod(str.lower)


class NameField(NormalFormField):
    """A name that is the same however its characters and spaces are encoded."""

    normal_form = staticmethod(normal_name)


class SkillLevelsField(models.JSONField[Any, Any]):
    """``{skill id: level}`` in the normal form of :func:`~ctj_api.validators.clean_skill_levels`."""

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        """Return the levels in normal form; raises a ``ValidationError`` that names the wrong entries."""
        return super().clean(clean_skill_levels(value), model_instance)
