"""The listings that were deleted: what is kept of them, and how one is restored."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from ctj_api.catalog.source import hold_off_synchronisation
from ctj_api.models import DeletedOpportunity, Opportunity, Project, Role, Skill, SkillMatrix, UserProfile
from ctj_api.querysets import Requester

from .display import status_word
from .history import log_entries
from .reference import ViewOnlyAdmin
from .site import manages_listings
from .widgets import SkillIndex

# The skills are kept by name as well, and triggers make the search document anew.
LEFT_OUT = {"id", "skills_required_matrix", "search_document"}
FIELDS = [field for field in Opportunity._meta.concrete_fields if field.name not in LEFT_OUT]


def keep_deleted(user: Requester, listings: Iterable[Opportunity]) -> None:
    """Keep what these listings hold, which ``user`` is about to delete."""
    names = Skill.objects.names()
    author: Any = user.pk
    kept = []
    for row in Opportunity.objects.with_details().filter(pk__in=[listing.pk for listing in listings]):
        filled = [field for field in FIELDS if field.value_from_object(row) is not None]
        contents: dict[str, Any] = {field.attname: field.value_to_string(row) for field in filled}
        levels = row.skills_required_matrix.levels.items()
        contents["skills"] = [{"id": pk, "name": names[pk], "level": level} for pk, level in levels]
        kept.append(DeletedOpportunity(id=row.pk, title=str(row), contents=contents, deleted_by_id=author))
    DeletedOpportunity.objects.filter(pk__in=[row.pk for row in kept]).delete()
    DeletedOpportunity.objects.bulk_create(kept)


def restore(user: Requester, deleted: DeletedOpportunity, skills: SkillIndex) -> list[str]:
    """Store the listing as it was, and return lost skills; raises a ``ValidationError`` where it can't."""
    stored = deleted.contents
    values = {field.attname: field.to_python(stored[field.attname]) for field in FIELDS if field.attname in stored}
    if Opportunity.objects.filter(pk=deleted.pk).exists():
        raise ValidationError(f"{deleted} is there already.")
    for model, column in ((Role, "role_id"), (Project, "project_id")):
        if not model._default_manager.filter(pk=values[column]).exists():
            raise ValidationError(f"{deleted} can't be restored: its {model._meta.verbose_name} is no more.")
    values["created_by"] = UserProfile.objects.filter(pk=values.pop("created_by_id", None)).first()
    levels, lost = _known_levels(stored["skills"], skills)
    matrix = SkillMatrix.objects.store(levels)
    listing = Opportunity.objects.create(pk=deleted.pk, skills_required_matrix=matrix, **values)
    # The trigger gives a new row the times that one from before migration 0019 lacks.
    times = {name: values.get(name) for name in ("opened_at", "filled_at")}
    Opportunity.objects.filter(pk=deleted.pk).update(**times)
    log_entries(user, [listing], CHANGE, "Restored.")
    deleted.delete()
    return lost


class DeletedOpportunityAdmin(ViewOnlyAdmin[DeletedOpportunity]):
    """The deleted listings: administrators restore any, project managers those that they have deleted."""

    list_display = ("title", "status", "deleted_at", "deleted_by")
    list_select_related = ("deleted_by",)
    fields = ("title", "status", "deleted_at", "deleted_by")
    actions = ("restore",)

    def has_view_permission(self, request: HttpRequest, obj: DeletedOpportunity | None = None) -> bool:
        """Let those see deleted listings who work with listings."""
        return manages_listings(request.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeletedOpportunity]:
        """Return what the requester can restore."""
        return super().get_queryset(request) & DeletedOpportunity.objects.restorable_by(request.user)

    @admin.action(description="Restore", permissions=["view"])
    def restore(self, request: HttpRequest, chosen: QuerySet[DeletedOpportunity]) -> None:
        """Store the chosen listings as they were."""
        hold_off_synchronisation()
        skills = SkillIndex()
        for deleted in chosen:
            url = reverse("admin:ctj_api_opportunity_change", args=[deleted.pk])
            try:
                lost = restore(request.user, deleted, skills)
            except ValidationError as error:
                messages.error(request, error.message)
                continue
            messages.success(request, format_html('<a href="{}">{}</a> is restored.', url, deleted))
            if lost:
                messages.warning(request, f"No longer in the catalog, so not required any more: {', '.join(lost)}.")

    def status(self, deleted: DeletedOpportunity) -> str:
        """Return the status that the listing had, as a coloured word."""
        return status_word(deleted.contents["status"])


def _known_levels(required: list[dict[str, Any]], known: SkillIndex) -> tuple[dict[str, int], list[str]]:
    levels: dict[str, int] = {}
    lost = []
    for skill in required:
        found = skill["id"] if skill["id"] in known.names else known.id_of(skill["name"])
        if found is None:
            lost.append(skill["name"])
        else:
            levels[found] = max(skill["level"], levels.get(found, 0))
    return levels, lost
