"""Merges duplicate skills into one, as the admin and ``load_catalog --merge`` do, and tells the history."""

from typing import Any

from django.contrib.admin.models import CHANGE, DELETION, LogEntry

from ctj_api.desk.history import log_change, log_changes, snapshot, unattended_account
from ctj_api.models import Opportunity, Skill
from ctj_api.querysets import Requester, Usage
from ctj_api.validators import add_aliases

from .loading import Catalog, is_named, locked_communities, stored_skills

# Stands in the history for the command.
LOADER = "load_catalog@users.invalid"


def merge_skills(user: Requester, kept: Skill, dropped: list[Skill]) -> Usage:
    """Merge ``dropped`` into ``kept``, log that ``user`` did, and return how many matrices that changed."""
    merged = Skill.objects.filter(pk__in=[skill.pk for skill in dropped])
    for skill in merged:
        listings = Opportunity.objects.requiring_any([str(skill.pk)])
        log_changes(user, list(listings), [f"{skill}, which became {kept}"])
    usage = merged.merge_into(kept)
    author: Any = user.pk
    names = ", ".join(skill.name for skill in dropped)
    LogEntry.objects.log_actions(author, [kept], CHANGE, f"Merged into it: {names}.")
    LogEntry.objects.log_actions(author, dropped, DELETION, f"Merged into {kept}.")
    return usage


def merge_aliases(catalog: Catalog, *, is_dry: bool) -> list[str]:
    """Return each name of ``catalog`` with the aliases that are stored, and rename or merge these unless ``is_dry``."""
    if not is_dry:
        locked_communities()
    misnamed = {
        entry["name"]: skills
        for entry, skills in stored_skills(catalog, Skill.objects.all())
        if skills and not skills[0].retired_at and not all(is_named(skill, entry["name"]) for skill in skills)
    }
    lines = [
        f"{name}: {', '.join(skill.name for skill in skills if not is_named(skill, name))}"
        for name, skills in misnamed.items()
    ]
    if is_dry or not lines:
        return lines
    Skill.objects.filter(pk__in=[skill.pk for skills in misnamed.values() for skill in skills]).lock_with_owners()
    author = unattended_account(LOADER)
    for name, (kept, *dropped) in misnamed.items():
        if not is_named(kept, name):
            before = snapshot(kept)
            kept.name, former = name, kept.name
            kept.aliases = add_aliases(name, kept.aliases, [former], {})
            kept.save(update_fields=["name", "aliases", "updated_at"])
            log_change(author, kept, before)
        if dropped:
            merge_skills(author, kept, dropped)
    return lines
