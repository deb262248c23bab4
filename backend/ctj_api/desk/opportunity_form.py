"""The form of a listing in the admin, and the pages beside it: its preview, and where it is given to a colleague."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.core.exceptions import PermissionDenied, ValidationError
from django.forms import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_safe

from ctj_api.enums import SkillLevel
from ctj_api.models import Opportunity, SkillMatrix, UserProfile
from ctj_api.serializers import OpportunityReadSerializer

from .departure import give_listings
from .display import week_text
from .forms import NewOwnerForm, OpportunityForm, pressed_step
from .site import DeskAdmin, answered
from .transitions import PUBLISH

DUPLICATED = ("project", "role", "body", "min_experience_required", "min_hours_required", "work_environment")
LIST = "admin:ctj_api_opportunity_changelist"


class OpportunityFormPages(DeskAdmin[Opportunity]):
    """The pages of one listing."""

    form = OpportunityForm
    readonly_fields = ("owner_address", "created_at", "updated_at", "opened_at", "filled_at")

    def get_fieldsets(self, request: HttpRequest, obj: Opportunity | None = None) -> Any:
        """Return the groups of fields, with whose address is public, and of a stored listing its owner and dates."""
        groups = [
            ("What", {"fields": ("project", "role", "body"), "description": _public_address(request, obj)}),
            ("Who for", {"fields": ("min_experience_required",)}),
            ("Skills", {"fields": ("skill_levels",)}),
            ("Conditions", {"fields": ("min_hours_required", "work_environment", "weekly_meetings")}),
        ]
        return [*groups, ("Owner and dates", {"fields": self.readonly_fields})] if obj else groups

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return what a new listing begins with: nothing, or what another says, of which it is a duplicate."""
        if "duplicate" not in request.GET:
            given = super().get_changeform_initial_data(request)
            return {name: value for name, value in given.items() if name in DUPLICATED}
        original = self._stored(request, request.GET["duplicate"])
        messages.info(request, f"A duplicate of “{original}”. Nothing is stored until you save it.")
        levels, meetings = original.skills_required_matrix.levels, original.meeting_times
        return {**model_to_dict(original, DUPLICATED), "skill_levels": levels, "weekly_meetings": meetings}

    def save_model(self, request: HttpRequest, obj: Opportunity, form: Any, change: bool) -> None:
        """Save the listing with its skill matrix and the pressed step, and stamp a new one with who posts it.

        One that is changed was locked with its form, so before its matrix: the order of the API.
        """
        if change and not form.has_changed() and not form.pressed:
            return
        matrix = obj.skills_required_matrix if change else None
        obj.skills_required_matrix = SkillMatrix.objects.store(form.cleaned_data["skill_levels"], into=matrix)
        obj.meeting_times = form.cleaned_data["weekly_meetings"]
        if form.pressed:
            obj.status = form.pressed.target
        if not change:
            obj.created_by_id = request.user.pk
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Opportunity, *args: Any, **kwargs: Any) -> HttpResponse:
        """Tell of the step that was taken, if any, else of the new listing."""
        return self._response_step(request, obj) or super().response_add(request, obj, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: Opportunity) -> HttpResponse:
        """Tell of the step that was taken, if any, else of the change."""
        return self._response_step(request, obj) or super().response_change(request, obj)

    def _response_step(self, request: HttpRequest, obj: Opportunity) -> HttpResponse | None:
        """Tell of the step that was taken, and lead to who fits what was published, or to the list."""
        step = pressed_step(request.POST)
        if step is None:
            return None
        url = reverse("admin:ctj_api_opportunity_change", args=[obj.pk])
        messages.success(request, format_html('“<a href="{}">{}</a>” was {}.', url, obj, step.done))
        if step != PUBLISH:
            return self.response_post_save_change(request, obj)
        filters = {"preserved_filters": self.get_preserved_filters(request), "opts": self.opts}
        return redirect(f"{add_preserved_filters(filters, url)}#who-fits")

    def get_urls(self) -> list[URLPattern]:
        """Return the pages, with the preview and the one that gives a listing away."""
        pages = {"preview": require_safe(self.preview_view), "give": self.give_view}
        urls = [
            path(f"<path:object_id>/{name}/", self.admin_site.admin_view(view), name=f"ctj_api_opportunity_{name}")
            for name, view in pages.items()
        ]
        return [*urls, *super().get_urls()]

    @answered
    def preview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return a stored listing as volunteers read it, which is what the API tells of it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        listing = self._stored(request, object_id)
        told = OpportunityReadSerializer(listing).data
        skills = [{**skill, "words": SkillLevel(skill["level"]).label} for skill in told["skills_required"]]
        context = {"told": told, "skills": skills, "meetings": week_text(listing.meetings)}
        return self._page(request, "preview", listing, context, "As volunteers read it")

    @answered
    def give_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for the address of the project manager who gets the listing, or give it to them."""
        listing = self._stored(request, object_id)
        if not self.has_change_permission(request, listing):
            raise PermissionDenied
        form = NewOwnerForm(listing, request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self._page(request, "give", listing, {"form": form}, "Give to another project manager")
        new_owner = form.cleaned_data["new_owner"]
        give_listings(request.user, Opportunity.objects.filter(pk=listing.pk), new_owner)
        messages.success(request, f"“{listing}” belongs to {_name(new_owner)} now.")
        return redirect(LIST)

    def _stored(self, request: HttpRequest, object_id: str) -> Opportunity:
        listing = self.get_object(request, object_id)
        if listing is None:
            raise ValidationError("This listing is not there. Perhaps it was deleted?")
        return listing

    def _page(
        self, request: HttpRequest, name: str, listing: Opportunity, context: dict[str, Any], title: str
    ) -> HttpResponse:
        context |= {**self.admin_site.each_context(request), "opts": self.opts, "original": listing, "title": title}
        return TemplateResponse(request, f"admin/ctj_api/opportunity/{name}.html", context)

    @admin.display(description="owner")
    def owner_address(self, listing: Opportunity) -> str:
        """Return the name and the address of the owner."""
        return f"{_name(listing.created_by)} ({listing.created_by})" if listing.created_by else "nobody any more"


def _public_address(request: HttpRequest, listing: Opportunity | None) -> str:
    author: Any = listing.created_by if listing else request.user
    if author is None:
        return "Volunteers see no address to write to: whoever posted it has left."
    whose = "your address" if author.pk == request.user.pk else "the address of its owner"
    return format_html("Volunteers see {}: {}.", whose, author)


def _name(user: UserProfile) -> str:
    return str(user.get_full_name() or user)
