"""Model fields that store their values in a normal form."""

from typing import Any

from django.db import models

from .validators import clean_skill_levels, validate_plain_address


class LowercaseEmailField(models.EmailField[str, str]):
    """An e-mail address that is stored and looked up in lower case, so that it is one account in any case."""

    default_validators = [*models.EmailField.default_validators, validate_plain_address]  # noqa: RUF012 (a list by its type)

    def to_python(self, value: Any) -> Any:
        """Return the address in lower case."""
        return _lower(super().to_python(value))

    def get_prep_value(self, value: Any) -> Any:
        """Return the address in lower case, for queries as well."""
        return _lower(super().get_prep_value(value))

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Give the saved instance the stored form."""
        value = _lower(super().pre_save(model_instance, add))
        setattr(model_instance, self.attname, value)
        return value


class SkillLevelsField(models.JSONField[Any, Any]):
    """``{skill id: level}`` in the normal form of :func:`~ctj_api.validators.clean_skill_levels`."""

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        """Return the levels in normal form; raises a ``ValidationError`` that names the wrong entries."""
        return super().clean(clean_skill_levels(value), model_instance)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
