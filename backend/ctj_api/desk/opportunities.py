"""The listings in the admin: the desk of project managers."""

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import BooleanField, Case, Exists, OuterRef, Q, QuerySet, When
from django.db.models.functions import Lower
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.views.decorators.http import require_safe

from ctj_api.enums import Status
from ctj_api.matching import Coverage
from ctj_api.models import Opportunity, Project, UserProfile
from ctj_api.querysets import (
    RESTORABLE_FOR,
    OpportunityQuerySet,
    TextQuery,
    UserProfileQuerySet,
    is_administrator,
)
from ctj_api.ranking.live_index import count_volunteers
from ctj_api.validators import is_uuid

from .candidates import CandidatePages, coverage_text, who_fits
from .deleted import keep_deleted
from .display import NaturalOrder, name_of, skill_chips, status_word, week_text
from .first_page import AttentionFilter
from .forms import SkillLevelsFormField
from .history import change_of, log_changes
from .opportunity_form import OpportunityFormPages, preview
from .reference import CommunityFilter
from .site import manages_listings
from .transitions import PUBLISH, TRANSITIONS, Transition
from .widgets import SkillIndex

CURRENT = (Status.DRAFT, Status.OPEN, Status.ON_HOLD)
NOBODY = ("nobody", "Somebody who has left")


class OwnerFilter(admin.SimpleListFilter):
    """Narrows the list to one's own listings, or to those of a colleague."""

    title = "owner"
    parameter_name = "posted_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return oneself, and colleagues who own a listing, by name; the search finds more of them."""
        by_name = _owners().order_by(Lower("first_name"), Lower("last_name"), "email")
        reader: Any = request.user.pk
        colleagues = by_name.exclude(pk=reader)[:100]
        return [("me", "Me"), *((str(owner.pk), name_of(owner)) for owner in colleagues), NOBODY]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Opportunity]) -> QuerySet[Opportunity]:
        """Return the listings of the chosen owner, or all; raises a ``ValueError`` for what is no id."""
        chosen = self.value()
        if chosen == NOBODY[0]:
            return queryset.filter(created_by=None)
        owner: Any = request.user.pk if chosen == "me" else chosen and UUID(chosen)
        return queryset.filter(created_by=owner) if owner else queryset


class StatusFilter(admin.SimpleListFilter):
    """Narrows the list to a status, to what is current, or to the archive."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the two groups, and each status."""
        return [("current", "Current"), ("archive", "Archive"), *Status.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Opportunity]) -> QuerySet[Opportunity]:
        """Return the listings with the chosen status, or all."""
        chosen = self.value()
        groups = {"current": CURRENT, "archive": [Status.FILLED, Status.CLOSED]}
        return queryset.filter(status__in=groups.get(chosen, [chosen])) if chosen else queryset


class CurrentProjectFilter(admin.RelatedOnlyFieldListFilter):
    """Narrows the list to one of the current projects that have a listing."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        """Return the projects, by id and name."""
        listed = model_admin.get_queryset(request).order_by().values("project")
        projects = Project.objects.current().filter(pk__in=listed).order_by(NaturalOrder("name"))
        return list(projects.values_list("pk", "name"))


def action_of(transition: Transition) -> Callable[..., None]:
    """Return the action of the list that takes the step with the chosen listings."""

    @admin.action(description=transition.verb, permissions=["change"])
    def take_step(model_admin: "OpportunityAdmin", request: HttpRequest, chosen: QuerySet[Opportunity]) -> None:
        model_admin.take(transition, request, chosen)

    take_step.__name__ = transition.name
    return take_step


class OpportunityAdmin(CandidatePages, OpportunityFormPages):
    """All listings, one's own first; the rights are those of the API, but administrators may change any."""

    pages: ClassVar = {
        "give": "<path:object_id>/give/",
        "candidates": "<uuid:pk>/candidates/",
        "volunteer_count": "volunteer-count/",
    }
    list_display = (
        "role",
        "project",
        "status_label",
        "required_skills",
        "volunteers",
        "min_hours_required",
        "min_experience_required",
        "owner",
        "age",
        "duplicate",
    )
    list_filter = (
        OwnerFilter,
        StatusFilter,
        AttentionFilter,
        ("role__community_of_practice", CommunityFilter),
        ("project", CurrentProjectFilter),
    )
    list_per_page = 50
    search_fields = ("search_document",)
    date_hierarchy = "created_at"
    actions = (*map(action_of, TRANSITIONS), "give")

    def has_view_permission(self, request: HttpRequest, obj: Opportunity | None = None) -> bool:
        """Let project managers and administrators see, add and delete any listing, but no other staff."""
        return manages_listings(request.user)

    has_add_permission = has_delete_permission = has_view_permission

    def has_change_permission(self, request: HttpRequest, obj: Opportunity | None = None) -> bool:
        """Let project managers change their own, and administrators any listing."""
        return manages_listings(request.user) and (not obj or _editable(request).filter(pk=obj.pk).exists())

    def get_queryset(self, request: HttpRequest) -> OpportunityQuerySet:
        """Return the listings that the requester may see, each with whether it is their own."""
        is_own = Case(When(created_by=request.user.pk, then=True), default=False, output_field=BooleanField())
        rows = _unless_administrator(request, Opportunity.objects.visible_to(request.user))
        return rows.with_details().annotate(is_own=is_own)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Put the requester's own listings first, the newest first among them."""
        return ("-is_own", "-created_at", "id")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return a page of the list, with what the columns show loaded for all of its rows at once."""
        page = super().get_changelist_instance(request)
        page.title = "Your opportunities" if page.params.get("posted_by") == "me" else "Opportunities"
        rows: list[Any] = list(page.result_list)
        required = {row.pk: row.skills_required_matrix.levels for row in rows if row.status in CURRENT}
        counts = count_volunteers({pk: levels for pk, levels in required.items() if levels})
        skills = SkillIndex()
        for row in rows:
            row.volunteer_count = counts.get(row.pk)
            row.rated_skills = skills.rated(row.skills_required_matrix.levels)
        page.result_list = rows
        return page

    @method_decorator(require_safe)
    def volunteer_count_view(self, request: HttpRequest) -> HttpResponse:
        """Return in words how many volunteers there are for the rows of the skill picker, and what a role requires."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        field = SkillLevelsFormField(required=False)
        try:
            levels = field.clean(field.widget.value_from_datadict(request.GET, None, "skill_levels"))
        except ValidationError as error:
            return JsonResponse({"text": " ".join(error.messages)}, status=HTTPStatus.BAD_REQUEST)
        role = request.GET.get("role")
        usual = Opportunity.objects.usual_skills(role) if is_uuid(role) else []
        known = field.widget.skills.names
        names = [known[skill] for skill in usual if skill in known]
        return JsonResponse({"text": coverage_text(levels, count_volunteers({None: levels})[None]), "usual": names})

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Show below the form of a stored listing what volunteers read of it, and who fits."""
        shown: Opportunity | None = context["original"]
        # A form that was refused has changed the row that it shows.
        listing = Opportunity.objects.with_details().filter(pk=shown.pk).first() if shown else None
        if listing is not None:
            context["preview"] = preview(listing)
            if listing.status in CURRENT:
                context["who_fits"] = who_fits(listing, request.user)
        return super().render_change_form(request, context, *args, **kwargs)

    def lock(self, request: HttpRequest, pks: Collection[Any]) -> None:
        """Lock these listings, where they aren't to be deleted only those that the user may change."""
        if not self.is_deletion(request):
            pks = list(_editable(request).filter(pk__in=pks).values_list("pk", flat=True))
        super().lock(request, pks)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Log that these listings are about to be deleted, keep them, and say where they can be restored."""
        logged = super().log_deletions(request, queryset)
        keep_deleted(request.user, queryset)
        url = reverse("admin:ctj_api_deletedopportunity_changelist")
        text = 'For {} days it can be restored: see <a href="{}">deleted opportunities</a>.'
        messages.info(request, format_html(text, RESTORABLE_FOR.days, url))
        return logged

    def take(self, step: Transition, request: HttpRequest, chosen: QuerySet[Opportunity]) -> None:
        """Take a step with those of ``chosen`` that allow it, and say what became of the others."""
        pks = list(chosen.values_list("pk", flat=True))
        self.lock(request, pks)
        own = list(_editable(request).filter(pk__in=pks).select_related("role", "project", "skills_required_matrix"))
        foreign = Opportunity.objects.filter(pk__in=pks).count() - len(own)
        suitable = [listing for listing in own if listing.status in step.sources]
        moving = [listing for listing in suitable if step != PUBLISH or listing.skills_required_matrix.levels]
        for source in step.sources:
            told = change_of(Opportunity, "status", source, step.target)
            log_changes(request.user, [listing for listing in moving if listing.status == source], [told])
        moved = Opportunity.objects.filter(pk__in=[listing.pk for listing in moving])
        moved.update(status=step.target, updated_at=timezone.now())
        allowed = " or ".join(source.label.lower() for source in step.sources)
        no_skills = "nobody is matched with what requires no skills. Open it to publish it all the same."
        for number, level, told in (
            (len(moving), messages.SUCCESS, f"{step.done}."),
            (len(own) - len(suitable), messages.WARNING, f"not {step.done}: only what is {allowed} can be."),
            (foreign, messages.ERROR, f"not {step.done}: only its owner can change a listing."),
            (len(suitable) - len(moving), messages.WARNING, f"not published: {no_skills}"),
        ):
            if number:
                self.message_user(request, f"{number} listing{' was' if number == 1 else 's were'} {told}", level)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search as the API does, and in the names and addresses of owners."""
        if not search_term.strip():
            return queryset, False
        owners = list(_owners().search(search_term).values_list("pk", flat=True))
        # In this order PostgreSQL reads no search document of an owner's listing.
        return queryset.filter(Q(created_by__in=owners) | Q(search_document=TextQuery(search_term))), False

    @admin.display(description="status", ordering="status")
    def status_label(self, listing: Opportunity) -> str:
        """Return the status as a coloured word."""
        return status_word(listing.status)

    def required_skills(self, listing: Any) -> str:
        """Return the skills with their levels as chips."""
        return skill_chips(listing.rated_skills, at_most=3)

    def volunteers(self, listing: Any) -> str:
        """Return how many volunteers the listing goes with, and how many meet all, or why there are none."""
        count: Coverage | None = listing.volunteer_count
        if count is None:
            return "no skills" if listing.status in CURRENT else "not matched"
        url = reverse("admin:ctj_api_opportunity_candidates", args=[listing.pk])
        html = '<a href="{}">{} <small>{} meet{} all</small></a>'
        return format_html(html, url, count.overlapping, count.complete, "s" if count.complete == 1 else "")

    @admin.display(ordering=Lower("created_by__first_name"))
    def owner(self, listing: Any) -> str:
        """Return who looks after the listing."""
        return "you" if listing.is_own else name_of(listing.created_by)

    @admin.display(ordering="-created_at")
    def age(self, listing: Opportunity) -> str:
        """Return for how long it has been there, and since when."""
        since, day = listing.created_at, date_format(timezone.localtime(listing.created_at))
        html = '<time datetime="{}">{} <small>{}</small></time>'
        return format_html(html, since.isoformat(), timesince(since, depth=1), day)

    @admin.display(description="copy")
    def duplicate(self, listing: Opportunity) -> str:
        """Return the link to a draft of one's own that begins with what the listing says."""
        url = reverse("admin:ctj_api_opportunity_add", query={"duplicate": listing.pk})
        return format_html('<a href="{}">Duplicate<span class="visually-hidden"> {}</span></a>', url, listing)

    @admin.display(description="required skills")
    def skill_levels(self, listing: Opportunity) -> str:
        """Return the skills for those who may only read the listing."""
        return skill_chips(SkillIndex().rated(listing.skills_required_matrix.levels))

    @admin.display(description="meeting times")
    def weekly_meetings(self, listing: Opportunity) -> str:
        """Return the meetings in words for those who may only read the listing."""
        if listing.meeting_times is None:
            return format_html("Those of the project: {}", week_text(listing.project.meeting_times))
        return week_text(listing.meeting_times)


def _editable(request: HttpRequest) -> OpportunityQuerySet:
    return _unless_administrator(request, Opportunity.objects.editable_by(request.user))


def _unless_administrator(request: HttpRequest, rows: OpportunityQuerySet) -> OpportunityQuerySet:
    return Opportunity.objects.all() if is_administrator(request.user) else rows


def _owners() -> UserProfileQuerySet:
    return UserProfile.objects.filter(Exists(Opportunity.objects.filter(created_by=OuterRef("pk"))))
