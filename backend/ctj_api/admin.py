"""The admin site: administrators curate skills, see everything, and say who is a project manager."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse

from .exceptions import is_database_away
from .forms import OpportunityForm
from .models import CommunityOfPractice, Opportunity, Project, Role, Skill, SkillMatrix, UserProfile

logger = logging.getLogger(__name__)

admin.site.site_header = "CivicTechJobs"
admin.site.site_title = "CivicTechJobs"
admin.site.index_title = "Administration"
admin.site.site_url = None
admin.site.unregister(Group)


class SafeAdmin[M: Model](admin.ModelAdmin[M]):
    """Tells input that the database can't use, or that came too late, in a message instead of an error page."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return the list, in one transaction: what an action has checked holds until it has acted."""
        view = super().changelist_view
        return self._answer(request, lambda: view(request, extra_context))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Return the form, or what became of it."""
        view = super().changeform_view
        return self._answer(request, lambda: view(request, object_id, form_url, extra_context))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the question whether to delete, or what became of it."""
        view = super().delete_view
        return self._answer(request, lambda: view(request, object_id, extra_context))

    def _answer(self, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
        try:
            with transaction.atomic():
                response = view()
                if isinstance(response, TemplateResponse):
                    response.render()
                return response
        except (DatabaseError, OverflowError, ValidationError, ValueError) as error:
            if is_database_away(error) or not (request.GET or request.method == "POST"):
                raise
            logger.exception("The admin could not answer %s", request.path)
            messages.error(request, "This could not be done: the input is unusable, or was overtaken. Try again.")
            return HttpResponseRedirect(request.path)


class ViewOnlyAdmin[M: Model](SafeAdmin[M]):
    """Shows what is curated elsewhere."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let nobody add."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Let nobody change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Let nobody delete."""
        return False


@admin.register(CommunityOfPractice)
class CommunityOfPracticeAdmin(ViewOnlyAdmin[CommunityOfPractice]):
    """The five communities."""

    list_display = ("name", "practice_area", "description")


@admin.register(Role)
class RoleAdmin(ViewOnlyAdmin[Role]):
    """The roles of all communities."""

    list_display = ("title", "community_of_practice")
    list_filter = ("community_of_practice",)
    list_select_related = ("community_of_practice",)
    search_fields = ("title",)


@admin.register(Project)
class ProjectAdmin(ViewOnlyAdmin[Project]):
    """The projects of Hack for LA."""

    list_display = ("name", "people_depot_project_id")
    search_fields = ("name",)


@admin.register(Skill)
class SkillAdmin(SafeAdmin[Skill]):
    """The skill catalog; a skill that is in use stays."""

    list_display = ("name", "description", "updated_at")
    list_filter = ("communities_of_practice",)
    search_fields = ("name", "description")
    filter_horizontal = ("communities_of_practice",)

    def get_deleted_objects(
        self, objs: QuerySet[Skill] | Iterable[Skill], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        """Return what a deletion would take along, with the skills in use as protected.

        The skills are locked, so that nobody rates one between this check and its deletion; by id, as the
        trigger of matrices locks them, so that neither waits for the other.
        """
        locked = Skill.objects.select_for_update().filter(pk__in=[skill.pk for skill in objs])
        skills = list(locked.order_by("pk"))
        to_delete, counts, needed, protected = super().get_deleted_objects(skills, request)
        return to_delete, dict(counts), needed, [*protected, *_uses_of(skills)]


@admin.register(Opportunity)
class OpportunityAdmin(SafeAdmin[Opportunity]):
    """The opportunities of all project managers."""

    form = OpportunityForm
    list_display = ("role", "project", "status", "min_hours_required", "work_environment", "created_by", "created_at")
    list_filter = ("status", "role__community_of_practice", "project")
    list_select_related = ("role", "project", "created_by")
    search_fields = ("role__title", "project__name", "body")
    date_hierarchy = "created_at"

    def save_model(self, request: HttpRequest, obj: Opportunity, form: Any, change: bool) -> None:
        """Save the opportunity with its skill matrix, and stamp a new one with who posts it.

        One that is changed is locked before its matrix, as the API locks them, so that neither waits for the other.
        """
        if change:
            get_object_or_404(Opportunity.objects.select_for_update(), pk=obj.pk)
        levels = form.cleaned_data["skill_levels"]
        obj.skills_required_matrix = SkillMatrix.objects.store(
            levels, into=obj.skills_required_matrix if change else None
        )
        if not change:
            obj.created_by = cast("UserProfile", request.user)
        super().save_model(request, obj, form, change)


@admin.register(UserProfile)
class UserProfileAdmin(SafeAdmin[UserProfile]):
    """Accounts: who is active, a project manager or an administrator. The rest is the owner's own matter."""

    list_display = (
        "email",
        "get_full_name",
        "community_of_practice",
        "is_project_manager",
        "is_superuser",
        "is_active",
    )
    list_filter = ("is_project_manager", "is_superuser", "is_active", "community_of_practice")
    list_select_related = ("community_of_practice",)
    search_fields = ("email", "first_name", "last_name")
    ordering = ("email",)
    readonly_fields = (
        "email",
        "first_name",
        "last_name",
        "community_of_practice",
        "rated_skills",
        "max_available_hours",
        "meeting_availability",
        "last_login",
        "created_at",
    )
    fieldsets = (
        (None, {"fields": ("email", "first_name", "last_name")}),
        ("Rights", {"fields": ("is_active", "is_project_manager", "is_superuser")}),
        (
            "Qualifier",
            {"fields": ("community_of_practice", "rated_skills", "max_available_hours", "meeting_availability")},
        ),
        ("Dates", {"fields": ("last_login", "created_at")}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let nobody add: people sign up themselves."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: UserProfile | None = None) -> bool:
        """Let nobody delete: an account is made inactive."""
        return False

    def save_model(self, request: HttpRequest, obj: UserProfile, form: Any, change: bool) -> None:
        """Save the rights, and nothing that the owner may be changing; only an administrator gets in to this site."""
        obj.is_staff = obj.is_superuser
        obj.save(update_fields=["is_active", "is_project_manager", "is_superuser", "is_staff", "updated_at"])

    @admin.display(description="rated skills")
    def rated_skills(self, user: UserProfile) -> str:
        """Return the rated skills by name."""
        levels = user.skills_learned_matrix.levels if user.skills_learned_matrix else {}
        names = Skill.objects.filter(pk__in=levels).values_list("pk", "name")
        return ", ".join(f"{name} {levels[str(pk)]}" for pk, name in names) or "none yet"


def _uses_of(skills: Iterable[Skill]) -> list[str]:
    return [
        f"{skill}: required by {opportunities} opportunit{pluralize(opportunities, 'y,ies')} "
        f"and rated by {volunteers} volunteer{pluralize(volunteers)}"
        for skill, (opportunities, volunteers) in SkillMatrix.objects.usage_of(skills).items()
        if opportunities or volunteers
    ]
