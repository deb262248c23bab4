"""The reference data in the admin, which is curated elsewhere and only shown here."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from ctj_api.models import CommunityOfPractice, Project, Role

from .display import week_text
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


class RoleAdmin(ViewOnlyAdmin[Role]):
    """The roles of all communities."""

    list_display = ("title", "community_of_practice")
    list_filter = ("community_of_practice",)
    list_select_related = ("community_of_practice",)
    search_fields = ("title",)


class ProjectAdmin(ViewOnlyAdmin[Project]):
    """The projects of Hack for LA."""

    list_display = ("name", "meetings")
    search_fields = ("name",)
    fields = ("name", "meetings", "people_depot_project_id")

    @admin.display(description="weekly meetings")
    def meetings(self, project: Project) -> str:
        """Return the meetings in words."""
        return week_text(project.meeting_times)
