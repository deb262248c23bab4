"""The admin site: administrators curate skills, see everything, and say who is a project manager."""

import logging
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, transaction
from django.db.models import BooleanField, Case, ManyToManyField, Model, QuerySet, TextField, When
from django.forms import CheckboxSelectMultiple
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.views.decorators.http import require_safe

from .desk.changelists import OpportunityChangeList, PostedByFilter, StatusFilter
from .desk.display import skill_chips, status_word, week_text
from .desk.forms import CHANGED_MEANWHILE, MultilineField, OpportunityForm, SkillLevelsFormField, UserProfileForm
from .desk.history import HistoryAdmin, change_of, log_changes
from .desk.skill_index import SkillIndex
from .desk.skills import SkillFilesMixin, SkillMergeMixin
from .desk.transitions import CLOSE, FILL, HOLD, PUBLISH, TRANSITIONS, Transition
from .desk.who_fits import coverage_text, who_fits
from .exceptions import is_database_away
from .matching import Coverage
from .models import CommunityOfPractice, Opportunity, Project, Role, Skill, SkillMatrix, UserProfile
from .querysets import OpportunityQuerySet, is_administrator, is_project_manager
from .ranking.live_index import count_volunteers

NOT_DONE = "This could not be done: the input is unusable, or was overtaken. Try again."

logger = logging.getLogger(__name__)

MAX_SHOWN_DESCRIPTION = 80

admin.site.unregister(Group)


class SafeAdmin[M: Model](HistoryAdmin[M]):
    """Tells input that the database can't use, or that came too late, in a message instead of an error page."""

    formfield_overrides: ClassVar = {TextField: {"form_class": MultilineField}}

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Let everyone see who works here."""
        return self.admin_site.has_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the model to those who may see its rows."""
        return self.has_view_permission(request)

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
            messages.error(request, NOT_DONE)
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

    list_display = ("name", "meetings")
    search_fields = ("name",)
    fields = ("name", "meetings", "people_depot_project_id")

    @admin.display(description="weekly meetings")
    def meetings(self, project: Project) -> str:
        """Return the meetings in words."""
        return week_text(project.meeting_times)


@admin.register(Skill)
class SkillAdmin(SkillFilesMixin, SkillMergeMixin, SafeAdmin[Skill]):
    """The skill catalog; a skill that is in use stays, unless it is merged into another."""

    list_display = ("name", "short_description", "practice_areas", "opportunities", "volunteers")
    list_filter = ("communities_of_practice",)
    search_fields = ("name", "description")
    formfield_overrides: ClassVar = {
        **SafeAdmin.formfield_overrides,
        ManyToManyField: {"widget": CheckboxSelectMultiple},
    }
    actions = ("merge_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Skill]:
        """Return the skills with their communities and with how often they are rated."""
        return Skill.objects.with_usage().prefetch_related("communities_of_practice")

    def import_action(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Return the choice of a file, or the preview."""
        view = super().import_action
        return self._answer(request, lambda: view(request, **kwargs))

    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Import what was previewed; whoever only opens the address starts with the choice of a file."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:ctj_api_skill_import"))
        view = super().process_import
        return self._answer(request, lambda: view(request, **kwargs))

    def export_action(self, request: HttpRequest) -> HttpResponse:
        """Return the file of the skills that the list shows, or the list where its filters are unusable."""
        view = super().export_action
        try:
            response = self._answer(request, lambda: view(request))
        except IncorrectLookupParameters:
            response = HttpResponseRedirect(request.path)
        return redirect("admin:ctj_api_skill_changelist") if response.status_code == HTTPStatus.FOUND else response

    @admin.display(description="description", ordering="description")
    def short_description(self, skill: Skill) -> str:
        """Return the beginning of the description."""
        return Truncator(skill.description).chars(MAX_SHOWN_DESCRIPTION)

    @admin.display(description="practice areas")
    def practice_areas(self, skill: Skill) -> str:
        """Return the names of the communities."""
        return ", ".join(community.name for community in skill.communities_of_practice.all())

    @admin.display(description="Opportunities", ordering="opportunity_count")
    def opportunities(self, skill: Any) -> int:
        """Return how many opportunities require the skill."""
        count: int = skill.opportunity_count
        return count

    @admin.display(description="Volunteers", ordering="volunteer_count")
    def volunteers(self, skill: Any) -> int:
        """Return how many volunteers rate the skill."""
        count: int = skill.volunteer_count
        return count

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
    """The desk of project managers: their own listings first, those of all others to read.

    Who may do what is what the API says, by the same querysets; administrators may change any listing.
    """

    form = OpportunityForm
    list_display = (
        "title",
        "project",
        "status_label",
        "required_skills",
        "volunteers",
        "hours",
        "experience",
        "age",
    )
    list_display_links = ("title",)
    list_filter = (
        PostedByFilter,
        StatusFilter,
        "role__community_of_practice",
        ("project", admin.RelatedOnlyFieldListFilter),
    )
    list_per_page = 50
    search_fields = ("search_document",)
    date_hierarchy = "created_at"
    actions = tuple(transition.name for transition in TRANSITIONS)
    fieldsets = (
        ("What", {"fields": ("project", "role", "body")}),
        ("Who for", {"fields": ("min_experience_required",)}),
        ("Skills", {"fields": ("skill_levels",)}),
        ("Conditions", {"fields": ("min_hours_required", "work_environment")}),
        ("Status", {"fields": ("status",)}),
    )

    def has_view_permission(self, request: HttpRequest, obj: Opportunity | None = None) -> bool:
        """Let everyone see here what they may see in the API."""
        return self._allows(request, Opportunity.objects.visible_to(request.user), obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let project managers post, and administrators."""
        return is_project_manager(request.user) or is_administrator(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Opportunity | None = None) -> bool:
        """Let people change what they have posted."""
        return self._allows(request, Opportunity.objects.editable_by(request.user), obj)

    def has_delete_permission(self, request: HttpRequest, obj: Opportunity | None = None) -> bool:
        """Let project managers delete any listing."""
        if obj is not None and obj.pk in getattr(request, "deletable", ()):
            return True
        return self._allows(request, Opportunity.objects.deletable_by(request.user), obj)

    def get_deleted_objects(
        self, objs: QuerySet[Opportunity] | Sequence[Opportunity], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        """Return what a deletion would take along; asks once for all rows who may delete them."""
        rows = _unless_administrator(request, Opportunity.objects.deletable_by(request.user))
        ids = [listing.pk for listing in objs]
        request.deletable = set(rows.filter(pk__in=ids).values_list("pk", flat=True))  # type: ignore[attr-defined]
        to_delete, counts, needed, protected = super().get_deleted_objects(objs, request)
        return to_delete, dict(counts), needed, protected

    def _allows(self, request: HttpRequest, rows: OpportunityQuerySet, obj: Opportunity | None) -> bool:
        if not self.admin_site.has_permission(request):
            return False
        return obj is None or _unless_administrator(request, rows).filter(pk=obj.pk).exists()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Opportunity]:
        """Return the listings that the requester may see, each with whether it is their own."""
        is_own = Case(When(created_by=request.user.pk, then=True), default=False, output_field=BooleanField())
        rows = _unless_administrator(request, Opportunity.objects.visible_to(request.user))
        return rows.with_details().annotate(is_own=is_own)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Put the requester's own listings first, the newest first among them."""
        return ("-is_own", "-created_at", "id")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that knows what its columns need, for the whole page at once."""
        return OpportunityChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Opportunity], search_term: str
    ) -> tuple[QuerySet[Opportunity], bool]:
        """Search as the API does."""
        return cast("OpportunityQuerySet", queryset).search(search_term), False

    def get_urls(self) -> list[URLPattern]:
        """Return the pages, and what the skill picker asks."""
        count = self.admin_site.admin_view(require_safe(self.volunteer_count_view))
        return [path("volunteer-count/", count, name="ctj_api_opportunity_volunteer_count"), *super().get_urls()]

    def volunteer_count_view(self, request: HttpRequest) -> HttpResponse:
        """Return, for rows of the skill picker, in words how many volunteers there are for them."""
        field = SkillLevelsFormField(required=False)
        try:
            levels = field.clean(field.widget.value_from_datadict(request.GET, None, "skill_levels"))
        except ValidationError as error:
            return JsonResponse({"text": " ".join(error.messages)}, status=HTTPStatus.BAD_REQUEST)
        return JsonResponse({"text": coverage_text(levels, count_volunteers({None: levels})[None])})

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Show below the form of a stored listing who fits."""
        shown: Opportunity | None = context["original"]
        # A form that was refused has changed the row that it shows.
        listing = Opportunity.objects.with_details().filter(pk=shown.pk).first() if shown else None
        if listing is not None:
            context["who_fits"] = who_fits(listing)
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Opportunity, form: Any, change: bool) -> None:
        """Save the opportunity with its skill matrix, and stamp a new one with who posts it.

        One that is changed was locked by the history, so before its matrix: the order of the API.
        """
        levels = form.cleaned_data["skill_levels"]
        obj.skills_required_matrix = SkillMatrix.objects.store(
            levels, into=obj.skills_required_matrix if change else None
        )
        if not change:
            obj.created_by = cast("UserProfile", request.user)
        super().save_model(request, obj, form, change)

    @admin.action(description="Publish", permissions=["change"])
    def publish(self, request: HttpRequest, chosen: QuerySet[Opportunity]) -> None:
        """Let volunteers find the listings."""
        self._move(request, chosen, PUBLISH)

    @admin.action(description="Put on hold", permissions=["change"])
    def hold(self, request: HttpRequest, chosen: QuerySet[Opportunity]) -> None:
        """Stop matching for a while."""
        self._move(request, chosen, HOLD)

    @admin.action(description="Mark as filled", permissions=["change"])
    def fill(self, request: HttpRequest, chosen: QuerySet[Opportunity]) -> None:
        """Say that somebody was found."""
        self._move(request, chosen, FILL)

    @admin.action(description="Close", permissions=["change"])
    def close(self, request: HttpRequest, chosen: QuerySet[Opportunity]) -> None:
        """Say that nobody is looked for any more."""
        self._move(request, chosen, CLOSE)

    def _move(self, request: HttpRequest, chosen: QuerySet[Opportunity], transition: Transition) -> None:
        """Take the step with those of ``chosen`` that allow it, and say what became of the others."""
        locked = Opportunity.objects.select_for_update().filter(pk__in=chosen.values("pk")).order_by("pk")
        ids = list(locked.values_list("pk", flat=True))
        rows = _unless_administrator(request, Opportunity.objects.editable_by(request.user))
        own = rows.filter(pk__in=ids).select_related("role", "project")
        moving = [listing for listing in own if listing.status in transition.sources]
        for source in transition.sources:
            told = change_of(Opportunity, "status", source, transition.target)
            log_changes(request.user, [listing for listing in moving if listing.status == source], [told])
        Opportunity.objects.filter(pk__in=[listing.pk for listing in moving]).update(
            status=transition.target, updated_at=timezone.now()
        )
        self._tell(request, transition, len(moving), len(own) - len(moving), len(ids) - len(own))

    def _tell(self, request: HttpRequest, transition: Transition, moved: int, unsuitable: int, foreign: int) -> None:
        if moved:
            messages.success(request, f"{_listings(moved)} {transition.done}.")
        if unsuitable:
            allowed = " or ".join(source.label.lower() for source in transition.sources)
            messages.warning(request, f"{_listings(unsuitable)} not {transition.done}: only what is {allowed} can be.")
        if foreign:
            messages.error(
                request, f"{_listings(foreign)} not {transition.done}: only who has posted a listing can change it."
            )

    @admin.display(description="role", ordering="role__title")
    def title(self, listing: Opportunity) -> str:
        """Return the title of the role."""
        return listing.role.title

    @admin.display(description="status", ordering="status")
    def status_label(self, listing: Opportunity) -> str:
        """Return the status as a coloured word."""
        return status_word(listing.status, listing.get_status_display())

    @admin.display(description="hours a week", ordering="min_hours_required")
    def hours(self, listing: Opportunity) -> int:
        """Return the hours a week."""
        return listing.min_hours_required

    @admin.display(description="experience", ordering="min_experience_required")
    def experience(self, listing: Opportunity) -> str:
        """Return the experience that is asked for."""
        return listing.get_min_experience_required_display()

    @admin.display(description="required skills")
    def required_skills(self, listing: Any) -> str:
        """Return the skills with their levels as chips."""
        return skill_chips(listing.rated_skills)

    @admin.display(description="volunteers")
    def volunteers(self, listing: Any) -> str:
        """Return how many volunteers the listing goes with, and how many of them meet everything."""
        count: Coverage = listing.volunteer_count
        url = reverse("admin:ctj_api_opportunity_change", args=[listing.pk])
        html = '<a href="{}#who-fits">{} <small>{} meet all</small></a>'
        return format_html(html, url, count.overlapping, count.complete)

    @admin.display(description="age", ordering="-created_at")
    def age(self, listing: Any) -> str:
        """Return for how long it has been there, and who posted it."""
        poster = "you" if listing.is_own else _name(listing.created_by)
        return format_html("{} <small>by {}</small>", timesince(listing.created_at, depth=1), poster)

    @admin.display(description="required skills")
    def skill_levels(self, listing: Opportunity) -> str:
        """Return the skills for those who may only read the listing."""
        return skill_chips(SkillIndex().rated(listing.skills_required_matrix.levels))


@admin.register(UserProfile)
class UserProfileAdmin(SafeAdmin[UserProfile]):
    """Accounts, for administrators: who is active, a project manager or an administrator. Identity is the owner's."""

    form = UserProfileForm
    list_display = (
        "email",
        "get_full_name",
        "community_of_practice",
        "is_project_manager",
        "is_administrator",
        "is_active",
    )
    list_filter = ("is_project_manager", "is_superuser", "is_active", "community_of_practice")
    list_select_related = ("community_of_practice",)
    search_fields = ("email", "first_name", "last_name")
    ordering = ("email",)
    actions = ("make_project_manager", "end_project_manager")
    readonly_fields = (
        "email",
        "first_name",
        "last_name",
        "community_of_practice",
        "max_available_hours",
        "availability",
        "last_login",
        "created_at",
    )
    fieldsets = (
        (None, {"fields": ("email", "first_name", "last_name")}),
        ("Rights", {"fields": ("is_active", "is_project_manager", "is_superuser")}),
        (
            "Qualifier",
            {
                "fields": (
                    "community_of_practice",
                    "skill_levels",
                    "shown_levels",
                    "max_available_hours",
                    "availability",
                )
            },
        ),
        ("Dates", {"fields": ("last_login", "created_at")}),
    )

    def has_view_permission(self, request: HttpRequest, obj: UserProfile | None = None) -> bool:
        """Let administrators see accounts: project managers meet volunteers where they match."""
        return admin.ModelAdmin.has_view_permission(self, request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let nobody add: people sign up themselves."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: UserProfile | None = None) -> bool:
        """Let nobody delete: an account is made inactive."""
        return False

    def save_model(self, request: HttpRequest, obj: UserProfile, form: Any, change: bool) -> None:
        """Save the rights, and the skills if they were changed here: nothing else that the owner may be changing.

        Raises a ``ValidationError`` where the owner has changed the skills since the form was checked.
        """
        obj.is_staff = obj.is_superuser
        obj.save(update_fields=["is_active", "is_project_manager", "is_superuser", "is_staff", "updated_at"])
        if form.has_new_levels:
            owner = UserProfile.objects.select_for_update(no_key=True).get(pk=obj.pk)
            matrix = owner.skills_learned_matrix
            if (matrix.levels if matrix else {}) != form.initial["skill_levels"]:
                raise ValidationError(CHANGED_MEANWHILE)
            owner.skills_learned_matrix = SkillMatrix.objects.store(form.cleaned_data["skill_levels"], into=matrix)
            owner.save(update_fields=["skills_learned_matrix", "updated_at"])

    @admin.action(description="Make project managers", permissions=["change"])
    def make_project_manager(self, request: HttpRequest, chosen: QuerySet[UserProfile]) -> None:
        """Let the chosen post opportunities and enter here."""
        self._set_project_manager(request, chosen, value=True)

    @admin.action(description="Take away the rights of a project manager", permissions=["change"])
    def end_project_manager(self, request: HttpRequest, chosen: QuerySet[UserProfile]) -> None:
        """Let the chosen be volunteers only."""
        self._set_project_manager(request, chosen, value=False)

    def _set_project_manager(self, request: HttpRequest, chosen: QuerySet[UserProfile], *, value: bool) -> None:
        rows = UserProfile.objects.filter(pk__in=chosen.values("pk")).exclude(is_project_manager=value)
        changed = list(rows.select_for_update(no_key=True).order_by("pk"))
        UserProfile.objects.filter(pk__in=[user.pk for user in changed]).update(
            is_project_manager=value, updated_at=timezone.now()
        )
        log_changes(request.user, changed, [change_of(UserProfile, "is_project_manager", not value, value)])
        if not changed:
            self.message_user(request, "Nobody was changed.", messages.WARNING)
            return
        became = "Now project managers" if value else "No project managers any more"
        self.message_user(request, f"{became}: {', '.join(sorted(map(str, changed)))}.", messages.SUCCESS)

    @admin.display(description="administrator", boolean=True, ordering="is_superuser")
    def is_administrator(self, user: UserProfile) -> bool:
        """Return whether the user may give rights."""
        return user.is_superuser

    @admin.display(description="meeting availability")
    def availability(self, user: UserProfile) -> str:
        """Return the week slots in words."""
        return week_text(user.meeting_availability)


def _unless_administrator(request: HttpRequest, rows: OpportunityQuerySet) -> OpportunityQuerySet:
    """Return ``rows``, which a rule of the API allows, or for an administrator all."""
    return Opportunity.objects.all() if is_administrator(request.user) else rows


def _name(user: UserProfile | None) -> str:
    return str(user.get_full_name() or user) if user else "somebody who has left"


def _listings(number: int) -> str:
    return "1 listing was" if number == 1 else f"{number} listings were"


def _uses_of(skills: Iterable[Skill]) -> list[str]:
    return [
        f"{skill}: required by {usage.opportunities} opportunit{pluralize(usage.opportunities, 'y,ies')} "
        f"and rated by {usage.volunteers} volunteer{pluralize(usage.volunteers)}"
        for skill, usage in SkillMatrix.objects.usage_of(skills).items()
        if usage.opportunities or usage.volunteers
    ]
