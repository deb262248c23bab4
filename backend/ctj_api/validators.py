"""The rules of names, texts, passwords, matrices and week slots; ``constraints.py`` has the database's."""

import json
import re
import unicodedata
import zoneinfo
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError

MIN_LEVEL = 1
MAX_LEVEL = 5
MAX_SKILLS = 250
MAX_SLOTS = 100
MAX_HOURS = 168
MAX_SLOT_NAME = 255
MAX_NAME = 255
MAX_ALIASES = 20
# Of all of a skill together: a listing may require 250 skills, and PostgreSQL holds 1 MB of what it is found by.
MAX_ALIASES_LENGTH = 800
MAX_QUOTE = 60
MAX_PASSWORD = 128
RETIRED = "{} is retired: it stays where it is in use, but can't be added."
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = "00:00"
END_OF_DAY = "24:00"
AVAILABILITY_KEYS = ("day", "start", "end")
MEETING_KEYS = (*AVAILABILITY_KEYS, "name")
# Unicode's categories Cc, Zl and Zp and its bidirectional controls, as Python and PostgreSQL write them.
NO_PART_OF_A_NAME = r"[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
# A plain address in lower case; beyond it, Django's validator knows where dots and hyphens may stand.
PLAIN_ADDRESS = r"^[a-z0-9!#$'*+/=^_`{|}~.-]+@[a-z0-9-]+(\.[a-z0-9-]+)+$"

# What stands between words, and Unicode's other characters of the categories Cc and Cf, which can't be seen.
WHITE_SPACE = r"\t-\r\u001c- \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
UNSEEN = (
    r"\u0001-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    r"\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
HANGUL_FILLERS = "\u115f\u1160\u3164\uffa0"  # letters for Unicode, blanks for the eye

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_skill_levels(value: object, names: Mapping[str, str] | None = None) -> dict[str, int]:
    """Return ``{skill id: level}`` with lower-case ids; raises a ``ValidationError`` for wrong entries."""
    if not isinstance(value, dict):
        raise ValidationError(f"A skill matrix must be an object of skill ids and levels, not {describe(value)}.")
    if len(value) > MAX_SKILLS:
        raise ValidationError(f"A skill matrix holds at most {MAX_SKILLS} skills, not {len(value)}.")
    known = apps.get_model("ctj_api", "Skill").objects.names_of(value) if names is None else names
    levels: dict[str, int] = {}
    problems = []
    for key, level in value.items():
        skill = str(key).lower()
        if skill not in known:
            problems.append(unknown_skill(key))
        elif skill in levels:
            problems.append(f"{known[skill]}: this skill is rated twice.")
        elif type(level) is not int or not MIN_LEVEL <= level <= MAX_LEVEL:
            allowed = f"a whole number from {MIN_LEVEL} to {MAX_LEVEL}"
            problems.append(f"{known[skill]}: the level must be {allowed}, not {describe(level)}.")
        levels[skill] = level
    if problems:
        raise ValidationError(problems)
    return levels


def validate_week_slots(value: object) -> None:
    """Raise a ``ValidationError`` that names each wrong part of a volunteer's weekly availability."""
    _validate_week(value, slot_keys=AVAILABILITY_KEYS)


def validate_meeting_times(value: object) -> None:
    """Raise a ``ValidationError`` that names each wrong part of a project's weekly meetings."""
    _validate_week(value, slot_keys=MEETING_KEYS)


def normal_name(text: str) -> str:
    """Return the name of a skill, role or project as one line in NFC, without what can't be seen."""
    words = re.sub(f"[{UNSEEN}]", "", text)
    return unicodedata.normalize("NFC", re.sub(f"[{WHITE_SPACE}]+", " ", words).strip(" "))


def lower_name(name: str) -> str:
    """Return the normal form of ``name`` in lower case as ``pg_c_utf8`` makes it: one character for each."""
    return "".join(character.lower()[0] for character in normal_name(name))


def clean_aliases(name: str, aliases: Iterable[str], known: Mapping[str, object]) -> list[str]:
    """Return a skill's other names in normal form, each once; ``known`` has the owners, whose names are refused."""
    names = {lower_name(name): name}
    for alias in filter(None, map(normal_name, aliases)):
        names.setdefault(lower_name(alias), alias)
    _, *found = names.values()
    lengths = [len(alias) + 1 for alias in found]
    if len(found) > MAX_ALIASES or max(lengths, default=0) > MAX_NAME + 1 or sum(lengths) > MAX_ALIASES_LENGTH:
        limits = f"of {MAX_NAME} characters, and of {MAX_ALIASES_LENGTH} in all"
        raise ValidationError(f"A skill has at most {MAX_ALIASES} other names {limits}.")
    others = {key: owner for key in names if lower_name(str(owner := known.get(key, name))) != lower_name(name)}
    if others:
        raise ValidationError([f"{quote(names[key])} is a name of {quote(owner)}." for key, owner in others.items()])
    return found


def add_aliases(name: str, aliases: list[str], more: Iterable[str], known: Mapping[str, object]) -> list[str]:
    """Return ``aliases`` with those of ``more`` that are nobody else's name, as long as there is room."""
    for alias in more:
        with suppress(ValidationError):
            aliases = clean_aliases(name, [*aliases, alias], known)
    return aliases


def normal_lines(text: str) -> str:
    """Return a text with a newline alone at the end of each line: browsers send CRLF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def normal_week(week: Any) -> Any:
    """Return week slots with midnight at the end of a day as ``24:00``; what has no slots stays as it is."""
    if not isinstance(week, dict) or not isinstance(week.get("slots"), list):
        return week
    return {**week, "slots": [normal_slot(slot) for slot in week["slots"]]}


def normal_slot(slot: Any) -> Any:
    """Return a slot that ends at midnight with ``24:00``; any other stays as it is."""
    ends_at_midnight = isinstance(slot, dict) and slot.get("end") == MIDNIGHT
    return {**slot, "end": END_OF_DAY} if ends_at_midnight else slot


def validate_person_name(value: str) -> None:
    """Raise a ``ValidationError`` for a name without a letter, or with characters that control other text."""
    if re.search(NO_PART_OF_A_NAME, value):
        raise ValidationError("A name is one line of text, without control characters.")
    if value and not any(sign.isalpha() and sign not in HANGUL_FILLERS for sign in value):
        raise ValidationError("A name has at least one letter. Leave it empty to give none.")


class MaximumLengthValidator:
    """Refuses a password that is longer than sign-in takes."""

    def validate(self, password: str, user: object = None) -> None:
        """Raise a ``ValidationError`` where it is too long."""
        if len(password) > MAX_PASSWORD:
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        """Return the rule as the form for a new password tells it."""
        return f"Your password must have at most {MAX_PASSWORD} characters."


def validate_plain_address(value: str) -> None:
    """Raise a ``ValidationError`` for an address that could mean something else in a link, or in lower case."""
    if not (value.isascii() and re.fullmatch(PLAIN_ADDRESS, value.lower())):
        raise ValidationError("Use plain letters, digits and signs (no quotes, ?, & or %), and a domain with a dot.")


def unknown_skill(id_: object) -> str:
    """Return the message for an id that is no skill's."""
    return f"There is no skill with the id {quote(id_)}."


def quote(value: object) -> str:
    """Return ``value`` as messages quote it: shortened, between quotation marks."""
    return f'"{shorten(str(value), MAX_QUOTE)}"'


def shorten(text: str, length: int) -> str:
    """Return ``text`` cut to ``length`` characters, without the lone surrogates that UTF-8 can't encode."""
    cut = text if len(text) <= length else f"{text[: length - 1]}…"
    return cut.encode("utf-8", "replace").decode("utf-8")


def is_uuid(value: object) -> bool:
    """Return whether ``value`` is the text of a UUID with its hyphens, in any case."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


@cache
def timezones() -> frozenset[str]:
    """Return the IANA names of all time zones."""
    return frozenset(zoneinfo.available_timezones() - {"Factory", "localtime", "posixrules"})


def slot_problems(slot: object, allowed: tuple[str, ...]) -> dict[str, str]:
    """Return what is wrong with each part of a week's slot, of which ``allowed`` are known; "" is the whole slot."""
    if not isinstance(slot, dict):
        return {"": f"it must be an object, not {describe(slot)}."}
    problems = {}
    if unknown := [key for key in slot if key not in allowed]:
        problems[""] = f"it has an unknown part {quote(unknown[0])}."
    if slot.get("day") not in DAYS:
        problems["day"] = f"the day must be one of {', '.join(DAYS)}."
    start, end = slot.get("start"), slot.get("end")
    if not _is_clock(start):
        problems["start"] = 'the start must be a time such as "18:00".'
    if not _is_clock(end) and end != END_OF_DAY:
        problems["end"] = f'the end must be a time such as "20:00", at the latest "{END_OF_DAY}".'
    if not problems and str(start) >= str(end):
        problems["end"] = f"it must start before it ends, not {start} to {end}."
    name = slot.get("name", "")
    if not isinstance(name, str) or len(name) > MAX_SLOT_NAME or UNSTORABLE.search(name):
        problems["name"] = f"the name must be a text of at most {MAX_SLOT_NAME} characters."
    return problems


def _validate_week(value: object, slot_keys: tuple[str, ...]) -> None:
    if not isinstance(value, dict) or set(value) != {"timezone", "slots"}:
        raise ValidationError('Week slots must be an object with a "timezone" and a list of "slots".')
    problems = []
    if not isinstance(value["timezone"], str) or value["timezone"] not in timezones():
        problems.append('Choose a time zone such as "America/Los_Angeles".')
    slots = value["slots"]
    if not isinstance(slots, list) or len(slots) > MAX_SLOTS:
        problems.append(f"The slots must be a list of at most {MAX_SLOTS}.")
    else:
        for number, slot in enumerate(slots):
            for part, problem in slot_problems(slot, slot_keys).items():
                place = f"slots[{number}].{part}".removesuffix(".")
                problems.append(f"{place}: {problem}")
    if problems:
        raise ValidationError(problems)


def _is_clock(value: object) -> bool:
    return isinstance(value, str) and _CLOCK.fullmatch(value) is not None


def describe(value: object) -> str:
    """Return how messages name a value of JSON, without writing out what it holds."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return shorten(json.dumps(value), MAX_QUOTE)
