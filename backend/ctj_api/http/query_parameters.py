"""How query parameters are read: each by a form field, all of a list by a filter set, which ignores none of them."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, ClassVar, Self

import django_filters
from django import forms
from django.db import models
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from ctj_api.enums import PracticeArea
from ctj_api.exceptions import NO_SUCH_PARAMETER
from ctj_api.models import CommunityOfPractice, Skill
from ctj_api.validators import MAX_QUOTE, is_uuid, unknown_skill

from .schema import PARTS

MAX_SEARCH = 200
_SCORE = re.compile(r"[0-9]{1,3}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?")

type Schema = dict[str, Any]


def row_given(rows: models.QuerySet[Any], given: object) -> Any:
    """Return the row with this id, or the community of this practice area; raises a ``ValidationError`` without one."""
    name = rows.model._meta.verbose_name
    key = "practice_area" if rows.model is CommunityOfPractice and given in PracticeArea.values else "pk"
    if key == "pk" and not is_uuid(given):
        raise forms.ValidationError(f"Choose a {name}.")
    if row := rows.filter(**{key: given}).first():
        return row
    raise forms.ValidationError(f"There is no such {name}. Choose another one.")


class SearchField(forms.CharField):
    """A text to look for; an empty one finds everything."""

    schema: ClassVar[Schema] = {"type": "string", "maxLength": MAX_SEARCH, "pattern": "^[^\\u0000]*$"}

    def __init__(self) -> None:
        super().__init__(max_length=MAX_SEARCH, strip=False)

    def clean(self, value: Any) -> str:
        """Return the text with the blank that tells that its last word is finished, but not blanks alone."""
        text: str = super().clean(value)
        return text if text.strip() else ""


class ChoiceField(forms.ChoiceField):
    """One of a few words."""

    def __init__(self, values: list[str]) -> None:
        names = ", ".join(value or '"" (any)' for value in values)
        # Django fills in the value that was given.
        messages = {"invalid_choice": f'"%(value).{MAX_QUOTE}s" is not one of {names}.'}
        super().__init__(choices=[(value, value) for value in values], error_messages=messages)
        self.schema: Schema = {"type": "string", "enum": values}


class ChoicesField(ChoiceField, forms.MultipleChoiceField):
    """Any of a few words."""


class SwitchField(ChoiceField):
    """``true``, ``false``, or one more word."""

    def __init__(self, *more: str) -> None:
        super().__init__(["true", "false", *more])
        switch: Schema = {"type": "boolean"}
        self.schema = {"anyOf": [switch, {"type": "string", "enum": list(more)}]} if more else switch

    def clean(self, value: Any) -> bool | str:
        """Return whether it is on, or the other word; raises a ``ValidationError`` for anything else."""
        word: str = super().clean(value)
        return {"true": True, "false": False}.get(word, word)


class RowField(forms.Field):
    """A row, given by its id, or a community by its practice area."""

    def __init__(self, model: type[models.Model]) -> None:
        super().__init__()
        self._rows = model._default_manager
        self.schema: Schema = PARTS["community" if model is CommunityOfPractice else "id"]

    def clean(self, value: Any) -> Any:
        """Return the row; raises a ``ValidationError`` where there is none."""
        return row_given(self._rows.all(), value)


class SkillIdsField(forms.Field):
    """Skills, given by their ids in any case."""

    schema: ClassVar[Schema] = PARTS["id"]
    widget = forms.SelectMultiple

    def clean(self, value: list[str]) -> list[str]:
        """Return the ids in lower case; raises a ``ValidationError`` that names those of no skill."""
        known = Skill.objects.names_of(value)
        if problems := [unknown_skill(id_) for id_ in value if id_.lower() not in known]:
            raise forms.ValidationError(problems)
        return list(known)


class WholeNumberField(forms.CharField):
    """A whole number in a range."""

    def __init__(self, lowest: int, highest: int) -> None:
        super().__init__()
        self._range = lowest, highest
        self.schema: Schema = {"type": "integer", "minimum": lowest, "maximum": highest}

    def clean(self, value: Any) -> int:
        """Return the number; raises a ``ValidationError`` for anything else."""
        lowest, highest = self._range
        is_number = value.isascii() and value.isdecimal() and len(value) <= len(str(highest))
        if not is_number or not lowest <= int(value) <= highest:
            raise forms.ValidationError(f"Give a whole number from {lowest} to {highest}.")
        return int(value)


class ScoreField(forms.Field):
    """A number from 0 to 1, as JSON writes numbers."""

    schema: ClassVar[Schema] = {"type": "number", "minimum": 0, "maximum": 1}

    def clean(self, value: Any) -> Fraction:
        """Return the number; raises a ``ValidationError`` for anything else."""
        if not _SCORE.fullmatch(value) or Fraction(value) > 1:
            raise forms.ValidationError("Give a number from 0 to 1.")
        return Fraction(value)


class Parameter(django_filters.Filter):
    """A query parameter, read by a form field; ``places`` tells the OpenAPI document where a search looks."""

    def __init__(
        self, form_field: Any, places: str = "", *, default: Any = None, allow_empty: bool = False, **lookup: Any
    ) -> None:
        super().__init__(**lookup)
        form_field.required = False
        self._field = form_field
        self.is_repeatable = isinstance(form_field.widget, forms.SelectMultiple)
        self.default = default
        self._places = places
        self._allow_empty = allow_empty

    def problems(self, values: list[str]) -> list[str]:
        """Return what is wrong with the values that a request gives, whatever they mean."""
        if len(values) > 1 and not self.is_repeatable:
            return ["Give this query parameter once."]
        if "" in values and not self._allow_empty:
            return ["Give this query parameter a value, or leave it out."]
        if any("\ufffd" in value for value in values):  # what Django makes of a byte that is no UTF-8
            return ["This is not UTF-8."]
        return []

    def documented(self, name: str) -> OpenApiParameter:
        """Return what the OpenAPI document says of it."""
        schema, told = self._field.schema, PARTS["parameters"][name]
        example, description = told["example"], told["description"].format(self._places)
        if self.default is not None:
            schema = {**schema, "default": self.default}
        if self.is_repeatable:
            schema, example = {"type": "array", "items": schema}, [example]
            description = f"{description} May be repeated: any of the values will do."
        examples = [OpenApiExample("Example", value=example)]
        return OpenApiParameter(name, schema, description=description, examples=examples)


class Setting(Parameter):
    """A query parameter that leaves the rows alone: it says how they are ranked, or which of them are told."""

    def filter(self, qs: Any, value: Any) -> Any:
        """Return all rows."""
        return qs


class StrictFilterSet(django_filters.FilterSet):
    """The query parameters of a list, of which none is ignored."""

    base_filters: Any
    request: Request

    def __init__(self, request: Request, queryset: models.QuerySet[Any]) -> None:
        """Take only the filters that are asked for: Django Filter copies each that it takes."""
        self.query = request.query_params
        self.base_filters = {name: self.base_filters[name] for name in self.query if name in self.base_filters}
        super().__init__(self.query, queryset, request=request)

    @classmethod
    def read(cls, request: Request, queryset: models.QuerySet[Any]) -> Self:
        """Return what a request asks of ``queryset``; raises DRF's ``ValidationError`` naming each bad parameter."""
        filters = cls(request, queryset)
        if problems := filters.problems():
            raise ValidationError(problems)
        return filters

    def problems(self) -> dict[str, list[str]]:
        """Return parameter → messages for those that are unknown or can't be used."""
        problems = {name: list(messages) for name, messages in self.errors.items()}
        for name, values in self.query.lists():
            known = self.base_filters.get(name)
            if messages := known.problems(values) if known else [NO_SUCH_PARAMETER]:
                problems[name] = messages
        return problems

    def value_of(self, name: str) -> Any:
        """Return what a request gives for a parameter, or the default."""
        return self.form.cleaned_data.get(name, type(self).base_filters[name].default)

    @classmethod
    def documented(cls) -> list[OpenApiParameter]:
        """Return what the OpenAPI document says of the parameters."""
        return [parameter.documented(name) for name, parameter in cls.base_filters.items()]


class PagedFilterSet(StrictFilterSet):
    """The query parameters of a list that comes in pages."""

    limit = Setting(WholeNumberField(1, 500), default=100)
    offset = Setting(WholeNumberField(0, 1_000_000_000), default=0)

    @property
    def page(self) -> slice:
        """The rows that are asked for, as a slice of the list."""
        offset = self.value_of("offset")
        return slice(offset, offset + self.value_of("limit"))


def described(shape: Any, filters: type[StrictFilterSet] | None = None) -> Callable[[Any], Any]:
    """Say what a function-based view answers with, and by which filter set it reads query parameters."""

    def describe(view: Any) -> Any:
        if filters:
            view.cls.filterset_class = filters
        return extend_schema(responses=shape, parameters=filters.documented() if filters else [])(view)

    return describe
