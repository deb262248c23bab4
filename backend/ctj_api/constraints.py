"""Building blocks of the database constraints: enums, ranges, names and the two JSON shapes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.db import models
from django.db.models import BaseConstraint, CheckConstraint, F, Func, Q, Value
from django.db.models.functions import Collate, Length

from .validators import HANGUL_FILLERS, MAX_HOURS, MAX_SKILLS, NO_PART_OF_A_NAME, UNSEEN, WHITE_SPACE

# Sorts by code point and knows the letters of all of Unicode, whatever locale the database was made with.
COLLATION = "pg_c_utf8"
_WORD = f"[^{WHITE_SPACE}{UNSEEN}]+"


def _json_path(name: str, **parts: str) -> str:
    """Return the SQL/JSON path that a file of ``jsonpath/`` holds, on one line and with these parts filled in."""
    path = " ".join(Path(__file__).with_name("jsonpath").joinpath(f"{name}.jsonpath").read_text("utf-8").split())
    for part, text in parts.items():
        path = path.replace(f"<{part}>", text)
    return path


class JSONPathExists(Func):
    """Whether a SQL/JSON path finds anything in a ``jsonb`` column; an error on the way counts as nothing."""

    function = "jsonb_path_exists"
    template = "%(function)s(%(expressions)s::jsonpath, silent => true)"
    output_field = models.BooleanField()

    def __init__(self, column: str, path: str, **extra: Any) -> None:
        super().__init__(F(column), Value(path), **extra)


class JSONKeyCount(Func):
    """How many keys the object in a ``jsonb`` column has."""

    template = "jsonb_array_length(jsonb_path_query_array(%(expressions)s, 'lax $.keyvalue().key'))"
    output_field = models.IntegerField()


class IsComposed(Func):
    """Whether a text is in Unicode's normal form NFC."""

    template = "%(expressions)s IS NFC NORMALIZED"
    output_field = models.BooleanField()


def enum(field: str, choices: type[models.TextChoices], name: str) -> CheckConstraint:
    """Return the constraint that ``field`` holds one of ``choices``."""
    return CheckConstraint(condition=Q(**{f"{field}__in": choices.values}), name=name)


def filled(field: str, name: str, at_most: int | None = None) -> CheckConstraint:
    """Return the constraint that ``field`` has a text of 1 to ``at_most`` characters."""
    length = Length(field)
    condition = Q(models.lookups.GreaterThan(length, 0))
    if at_most is not None:
        condition &= Q(models.lookups.LessThanOrEqual(length, at_most))
    return CheckConstraint(condition=condition, name=name)


def person_name(field: str, name: str) -> list[BaseConstraint]:
    """Return the constraints of ``validate_person_name``; PostgreSQL may know a few letters more."""
    has_letter = models.lookups.Regex(Collate(field, COLLATION), f"(?![{HANGUL_FILLERS}])[[:alpha:]]")
    return [
        CheckConstraint(condition=~Q(**{f"{field}__regex": NO_PART_OF_A_NAME}), name=f"{name}_plain"),
        CheckConstraint(condition=Q(**{field: ""}) | Q(has_letter), name=f"{name}_letter"),
    ]


def normal_name(field: str, name: str) -> CheckConstraint:
    """Return the constraint that ``field`` has a name in the form of ``normal_name``."""
    words = Q(**{f"{field}__regex": f"^{_WORD}( {_WORD})*$"})
    return CheckConstraint(condition=words & Q(IsComposed(field)), name=name)


def normal_aliases(aliases: str, name: str, at_most: int, length: int) -> CheckConstraint:
    """Return the constraint that ``aliases`` are so many normal names at most, of so many characters in all."""
    lines = Func(Value(""), F(aliases), function="ctj_skill_names", output_field=models.TextField())
    are_normal = models.lookups.Regex(lines, rf"^(\n{_WORD}( {_WORD})*){{0,{at_most}}}$")
    are_short = models.lookups.LessThanOrEqual(Length(lines), length)
    return CheckConstraint(condition=Q(are_normal) & Q(IsComposed(lines)) & Q(are_short), name=name)


def weekly_hours(field: str, name: str) -> CheckConstraint:
    """Return the constraint that ``field`` is a number of hours that a week has."""
    return CheckConstraint(condition=Q(**{f"{field}__range": (0, MAX_HOURS)}), name=name)


def skill_levels(field: str, name: str) -> list[BaseConstraint]:
    """Return the constraints that ``field`` is ``{lower-case skill id: level 1 to 5}`` of bounded size."""
    is_small = models.lookups.LessThanOrEqual(JSONKeyCount(field), MAX_SKILLS)
    return [
        CheckConstraint(condition=Q(JSONPathExists(field, _json_path("skill_levels"))), name=f"{name}_shape"),
        CheckConstraint(condition=Q(is_small), name=f"{name}_size"),
    ]


def week_slots(field: str, name: str, slot_keys: Iterable[str]) -> CheckConstraint:
    """Return the constraint that ``field`` is absent, or a time zone and slots with no keys but ``slot_keys``."""
    foreign = " && ".join(f'@.key != "{key}"' for key in slot_keys)
    is_week = Q(JSONPathExists(field, _json_path("week", slot=_json_path("slot", foreign=foreign))))
    return CheckConstraint(condition=Q(**{f"{field}__isnull": True}) | is_week, name=name)
