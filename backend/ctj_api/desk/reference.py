"""The reference data in the admin: communities, roles and projects, which are only shown here, and what they share."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.db.models.functions import Lower
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from ctj_api.catalog.source import KEPT_ELSEWHERE, is_kept_elsewhere
from ctj_api.models import CatalogModel, CommunityOfPractice, Project, Role, Skill, SyncRun
from ctj_api.querysets import is_administrator
from ctj_api.validators import lower_name

from .display import community_of, week_text
from .forms import VersionedForm
from .history import log_entries
from .site import DeskAdmin


class ViewOnlyAdmin[M: Model](DeskAdmin[M]):
    """The pages of a model that can only be read."""

    def has_add_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Let nobody add, change or delete."""
        return False

    has_change_permission = has_delete_permission = has_add_permission


class CommunityOfPracticeAdmin(ViewOnlyAdmin[CommunityOfPractice]):
    """The five communities."""

    list_display = ("name", "practice_area", "description")


class CommunityFilter(admin.RelatedFieldListFilter):
    """Narrows a list to a community; rows without one have a state of their own, or aren't listed."""

    include_empty_choice = False


class StateFilter(admin.SimpleListFilter):
    """Narrows a catalog to what is current, or to what isn't, where there is such a row."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the states besides the current one, as far as they occur and the user sees such rows."""
        rows = model_admin.get_queryset(request)
        return [(state, state.capitalize()) for state in model_admin.states if getattr(rows, state)().exists()]

    def choices(self, changelist: Any) -> Any:
        """Return the states, with the current one in the place of all."""
        everything, *others = super().choices(changelist)
        return [{**everything, "display": "Current"}, *others]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the rows in the chosen state."""
        state = str(self.value()) if self.value() in dict(self.lookup_choices) else "current"
        return getattr(queryset, state)()


class CatalogAdmin[M: CatalogModel](DeskAdmin[M]):
    """The pages of a catalog, where only administrators see what is retired or waits, and bring it back."""

    actions: Any = ("bring_back",)
    states: tuple[str, ...] = ("retired",)

    @property
    def refusal(self) -> str:
        """Why nobody may do what these pages refuse; empty where others may."""
        return KEPT_ELSEWHERE if is_kept_elsewhere() else ""

    def has_bring_back_permission(self, request: HttpRequest) -> bool:
        """Let administrators bring back what they have narrowed the list to."""
        return request.GET.get("state") == "retired" and is_administrator(request.user) and not self.refusal

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the rows that the requester may see; the completion of a word offers current ones only."""
        rows: Any = super().get_queryset(request)
        is_managed = is_administrator(request.user) and request.path != reverse("admin:autocomplete")
        return rows if is_managed else rows.current()

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: bool) -> None:
        """Save the row, unless nothing is different: then its time stays as well."""
        if not change or form.has_changed():
            super().save_model(request, obj, form, change)

    @admin.action(description="Bring back", permissions=["bring_back"])
    def bring_back(self, request: HttpRequest, chosen: Any) -> None:
        """Let the chosen rows be listed and picked again."""
        rows = list(chosen.retired())
        chosen.update(retired_at=None, updated_at=timezone.now())
        log_entries(request.user, rows, CHANGE, "Brought back.")
        messages.success(request, f"Brought back: {', '.join(sorted(map(str, rows)))}.")


class RoleForm(VersionedForm[Role]):
    """The community of a role."""

    def clean_community_of_practice(self) -> CommunityOfPractice:
        """Return the community; raises a ``ValidationError`` where it has a role of this title already."""
        community: CommunityOfPractice = self.cleaned_data["community_of_practice"]
        roles = community.roles.exclude(pk=self.instance.pk).annotate(lower_title=Lower("title"))
        if roles.filter(lower_title=lower_name(self.instance.title)).exists():
            raise ValidationError("There is a role of this title in this community already.")
        return community


class RoleAdmin(CatalogAdmin[Role], ViewOnlyAdmin[Role]):
    """The roles of all communities. Their titles may be PeopleDepot's; their communities are set here."""

    form = RoleForm
    list_display = ("title", community_of)
    list_filter = (("community_of_practice", CommunityFilter), StateFilter)
    list_select_related = ("community_of_practice",)
    search_fields = ("title",)
    fields = ("title", "community_of_practice")
    readonly_fields = ("title",)
    states = ("retired", "waiting")

    def has_change_permission(self, request: HttpRequest, obj: Role | None = None) -> bool:
        """Let administrators give a community to the titles of PeopleDepot, and anywhere to one that waits."""
        is_waiting = obj is not None and obj.community_of_practice_id is None
        return is_administrator(request.user) and (bool(self.refusal) or is_waiting)


class ProjectAdmin(CatalogAdmin[Project], ViewOnlyAdmin[Project]):
    """The projects of Hack for LA."""

    list_display = ("name", "meetings")
    list_filter = (StateFilter,)
    search_fields = ("name",)
    fields = ("name", "meetings", "people_depot_project_id")

    @admin.display(description="weekly meetings")
    def meetings(self, project: Project) -> str:
        """Return the meetings in words."""
        return week_text(project.meeting_times)


class SyncRunAdmin(ViewOnlyAdmin[SyncRun]):
    """The synchronisations with PeopleDepot, for administrators, and what they have left to do."""

    list_display = ("started_at", "outcome", "is_adoption", "reason")
    fields = ("started_at", "ended_at", "outcome", "is_adoption", "reason")

    def has_view_permission(self, request: HttpRequest, obj: SyncRun | None = None) -> bool:
        """Let administrators only see them, as soon as there is anything to see."""
        return is_administrator(request.user) and (is_kept_elsewhere() or SyncRun.objects.exists())

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return the last runs, the newest plan, the titles that wait, and what was retired while in use."""
        catalogs = {"skill": Skill.objects, "role": Role.objects, "project": Project.objects}
        context = {
            "newest": SyncRun.objects.first(),
            "waiting": Role.objects.waiting(),
            "retired": [(name, rows.retired().with_usage()) for name, rows in catalogs.items()],
        }
        return super().changelist_view(request, {**(extra_context or {}), **context})
