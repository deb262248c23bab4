"""Values as the admin shows them to people."""

import calendar
from collections.abc import Iterable
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ctj_api.validators import DAYS

DAY_NAMES = dict(zip(DAYS, calendar.day_name, strict=True))


def skill_chips(rated: Iterable[tuple[str, int]]) -> str:
    """Return skills with their levels as a list of chips."""
    chips = format_html_join("", '<li class="chip">{} <b>{}</b></li>', rated)
    return format_html('<ul class="chips">{}</ul>', chips) if chips else "none"


def status_word(value: str, label: str) -> SafeString:
    """Return the label of a status in its colour."""
    return format_html('<span class="status status-{}">{}</span>', value, label)


def week_text(week: dict[str, Any] | None) -> str:
    """Return week slots as lines of day, times and name, with the time zone last."""
    if not week:
        return "not given"
    if not week["slots"]:
        return f"no time at all ({week['timezone']})"
    lines = format_html_join("", "<li>{} {} to {} {}</li>", map(_slot_parts, week["slots"]))
    return format_html('<ul class="week">{}</ul>{}', lines, week["timezone"])


def _slot_parts(slot: dict[str, str]) -> tuple[str, str, str, str]:
    return DAY_NAMES[slot["day"]], slot["start"], slot["end"], slot.get("name", "")
