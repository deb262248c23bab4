"""Values and pages as the admin shows them to people."""

import calendar
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Func, TextField
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ctj_api.enums import Status
from ctj_api.models import UserProfile
from ctj_api.validators import DAYS, MAX_SKILLS

DAY_NAMES = dict(zip(DAYS, calendar.day_name, strict=True))


class NaturalOrder(Func):
    """The order in which people look for a name: whatever its case, and 9 before 10."""

    template = (
        "regexp_replace(regexp_replace(lower(%(expressions)s), '([0-9]+)', '0000000000\\1', 'g'),"
        " '[0-9]*([0-9]{10})', '\\1', 'g')"
    )
    output_field = TextField()


def show(request: HttpRequest, template: str, context: dict[str, Any], **answer: Any) -> TemplateResponse:
    """Return a page that Django's admin doesn't have."""
    context = {**admin.site.each_context(request), **context}
    return TemplateResponse(request, f"admin/{template}.html", context, **answer)


def name_of(user: UserProfile | None) -> str:
    """Return the name of an owner, or else the address."""
    return str(user.get_full_name() or user) if user else "somebody who has left"


def skill_chips(rated: Iterable[tuple[str, int]], at_most: int = MAX_SKILLS) -> str:
    """Return skills with their levels as a list of chips, of which only ``at_most`` are named."""
    skills = list(rated)
    chips = format_html_join("", '<li class="chip">{} <b>{}</b></li>', skills[:at_most])
    if more := len(skills[at_most:]):
        chips += format_html('<li class="more">+{} more</li>', more)
    names = ", ".join(f"{name} {level}" for name, level in skills)
    return format_html('<ul class="chips" title="{}">{}</ul>', names, chips) if skills else "none"


def community_names(communities: Iterable[Any]) -> SafeString:
    """Return the names of communities, each beside its colour."""
    named = ((each.practice_area, each.name) for each in communities)
    return format_html_join(" ", '<span class="community community-{}">{}</span>', named)


@admin.display(description="community of practice", ordering="community_of_practice")
def community_of(row: Any) -> str:
    """Return the community of a role or of a user."""
    return community_names(filter(None, [row.community_of_practice])) or "-"


def status_word(status: str) -> SafeString:
    """Return the label of a status in its colour."""
    return format_html('<span class="status status-{}">{}</span>', status, Status(status).label)


def week_text(week: dict[str, Any] | None) -> str:
    """Return week slots as lines of day, times and name, with the time zone last."""
    if not week:
        return "not given"
    if not week["slots"]:
        return f"no time at all ({week['timezone']})"
    parts = ((DAY_NAMES[slot["day"]], slot["start"], slot["end"], slot.get("name", "")) for slot in week["slots"])
    lines = format_html_join("", "<li>{} {} to {} {}</li>", parts)
    return format_html('<ul class="week">{}</ul>{}', lines, week["timezone"])
