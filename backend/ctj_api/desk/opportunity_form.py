"""The form of a listing in the admin, its preview, and the page where it is given to a colleague."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.forms import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import escape, format_html

from ctj_api.enums import SkillLevel
from ctj_api.models import Opportunity, SkillMatrix
from ctj_api.querysets import OpportunityQuerySet, is_administrator
from ctj_api.serializers import OpportunityReadSerializer

from .departure import give_listings
from .display import week_text
from .forms import NewAuthorForm, OpportunityForm, pressed_step
from .site import DeskAdmin, answered
from .transitions import PUBLISH

DUPLICATED = ("project", "role", "body", "min_experience_required", "min_hours_required", "work_environment")
CONDITIONS = ("min_experience_required", "min_hours_required", "work_environment")
NOBODY = "nobody, its owner has left"


class OpportunityFormPages(DeskAdmin[Opportunity]):
    """The pages of one listing."""

    form = OpportunityForm
    readonly_fields = ("owner_address", "created_at", "updated_at", "opened_at", "filled_at")

    def get_fieldsets(self, request: HttpRequest, obj: Opportunity | None = None) -> Any:
        """Return the groups of fields; the first says whose address is public."""
        owner = obj.created_by if obj else request.user
        whose = "your" if owner == request.user else "the owner's"
        address = f"Volunteers see {whose} address: {owner or NOBODY}."
        groups = [
            ("What", {"fields": (("project", "role"), "body"), "description": escape(address)}),
            ("Skills", {"fields": ("skill_levels",)}),
            ("Conditions", {"fields": (CONDITIONS, "weekly_meetings")}),
        ]
        return [*groups, ("Owner and dates", {"fields": (self.readonly_fields,)})] if obj else groups

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return what a new listing begins with: nothing, or what the listing says that it duplicates."""
        if "duplicate" not in request.GET:
            given = super().get_changeform_initial_data(request)
            return {name: value for name, value in given.items() if name in DUPLICATED}
        original = self._stored(request, request.GET["duplicate"])
        messages.info(request, f"A duplicate of “{original}”. Nothing is stored until you save it.")
        levels, meetings = original.skills_required_matrix.levels, original.meeting_times
        return {**model_to_dict(original, DUPLICATED), "skill_levels": levels, "weekly_meetings": meetings}

    def save_model(self, request: HttpRequest, obj: Opportunity, form: Any, change: bool) -> None:
        """Save the listing with its matrix and the pressed step, and stamp a new one with who posts it."""
        if change and not form.has_changed() and not form.pressed:
            return
        # A stored one was locked with its form, so before its matrix: the order of the API.
        matrix = obj.skills_required_matrix if change else None
        obj.skills_required_matrix = SkillMatrix.objects.store(form.cleaned_data["skill_levels"], into=matrix)
        obj.meeting_times = form.cleaned_data["weekly_meetings"]
        if form.pressed:
            obj.status = form.pressed.target
        if not change:
            obj.created_by_id = request.user.pk
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Opportunity, *args: Any, **kwargs: Any) -> HttpResponse:
        """Tell of the new listing, or of the step that was taken with it."""
        if pressed_step(request.POST):
            return self.response_change(request, obj)
        return super().response_add(request, obj, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: Opportunity) -> HttpResponse:
        """Tell of the change, or of the step that was taken; what was published leads to who fits."""
        step = pressed_step(request.POST)
        if step is None:
            return super().response_change(request, obj)
        url = reverse("admin:ctj_api_opportunity_change", args=[obj.pk])
        messages.success(request, format_html('“<a href="{}">{}</a>” was {}.', url, obj, step.done))
        if step == PUBLISH:
            return redirect("admin:ctj_api_opportunity_candidates", obj.pk)
        return self.response_post_save_change(request, obj)

    @answered
    def give_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask who looks after the listing from now on, or give it to them."""
        listing = self._stored(request, object_id)
        if not self.has_change_permission(request, listing):
            raise PermissionDenied
        question = self.give(request, Opportunity.objects.filter(pk=listing.pk))
        return question or redirect("admin:ctj_api_opportunity_changelist")

    @admin.action(description="Give to another project manager", permissions=["give"])
    def give(self, request: HttpRequest, chosen: OpportunityQuerySet) -> HttpResponse | None:
        """Ask who looks after the chosen listings from now on, or give them."""
        form = NewAuthorForm(request.POST if "new_author" in request.POST else None)
        if form.is_valid():
            give_listings(request, Opportunity.objects.filter(pk__in=chosen), form.cleaned_data["new_author"])
            return None
        context = {"title": "Give to another project manager", "chosen": chosen, "form": form}
        return self.show(request, "give", context)

    def has_give_permission(self, request: HttpRequest) -> bool:
        """Let administrators give several listings away at once; project managers give theirs one by one."""
        return is_administrator(request.user)

    def _stored(self, request: HttpRequest, object_id: str) -> Opportunity:
        listing = self.get_object(request, object_id)
        if listing is None:
            raise ValidationError("This listing is not there. Perhaps it was deleted?")
        return listing

    @admin.display(description="owner")
    def owner_address(self, listing: Opportunity) -> str:
        """Return the name and the address of the owner."""
        author = listing.created_by
        return f"{author.get_full_name()} {author}".strip() if author else NOBODY


def preview(listing: Opportunity) -> dict[str, Any]:
    """Return what volunteers read of a listing, which is what the API tells of it, in words."""
    told = OpportunityReadSerializer(listing).data
    skills = [{**skill, "words": SkillLevel(skill["level"]).label} for skill in told["skills_required"]]
    return {**told, "listing": listing, "skills": skills, "meetings": week_text(listing.meetings)}
