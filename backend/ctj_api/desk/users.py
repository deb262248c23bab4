"""The accounts in the admin: how administrators give and take rights."""

from collections.abc import Collection
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from ctj_api.accounts.sessions import end_sessions
from ctj_api.models import Opportunity, SkillMatrix, UserProfile
from ctj_api.querysets import LAST_ADMINISTRATOR, is_administrator

from .departure import give_listings
from .display import community_of, week_text
from .forms import NewAuthorForm, UserProfileForm
from .history import change_of, log_changes
from .reauthentication import ask_password
from .reference import ViewOnlyAdmin
from .site import answered
from .transitions import HOLD

IDENTITY = ("email", "first_name", "last_name")
RIGHTS = ("is_active", "is_project_manager", "is_superuser")
OF_VOLUNTEER = ("community_of_practice", "max_available_hours", "availability")
DATES = ("last_login", "created_at")


class UserProfileAdmin(ViewOnlyAdmin[UserProfile]):
    """The accounts, for administrators, who give and take rights; people sign up themselves, and none is deleted."""

    form = UserProfileForm
    pages: ClassVar = {"listings": "listings/"}
    list_display = ("email", "full_name", community_of, "project_manager", "administrator", "is_active")
    list_filter = ("is_project_manager", "is_superuser", "is_active", "community_of_practice")
    list_select_related = ("community_of_practice",)
    search_fields = ("email", "first_name", "last_name")
    ordering = ("email",)
    actions = ("make_project_manager", "end_project_manager", "make_inactive", "unlink")
    readonly_fields = (*OF_VOLUNTEER, "linked_to", *DATES)
    fieldsets = (
        (None, {"fields": (IDENTITY,)}),
        ("Rights", {"fields": (*RIGHTS, "user_permissions")}),
        ("Qualifier", {"fields": (OF_VOLUNTEER[0], "skill_levels", *OF_VOLUNTEER[1:])}),
        ("Dates", {"fields": (DATES,)}),
    )

    def has_view_permission(self, request: HttpRequest, obj: UserProfile | None = None) -> bool:
        """Let administrators only see and change accounts: who may change them may take any right."""
        return is_administrator(request.user)

    has_change_permission = has_view_permission

    def has_unlink_permission(self, request: HttpRequest) -> bool:
        """Let accounts be unlinked where there is a pool."""
        return bool(settings.COGNITO_USER_POOL) and is_administrator(request.user)

    def get_fieldsets(self, request: HttpRequest, obj: UserProfile | None = None) -> Any:
        """Return the groups of fields, with whose account this is for Cognito where there is a pool."""
        groups = super().get_fieldsets(request, obj)
        return [*groups, ("Cognito", {"fields": ("linked_to",)})] if self.has_unlink_permission(request) else groups

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the list, whose actions ask for the password again."""
        return ask_password(self, request) or super().changelist_view(request, *args, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the form of an account, which asks for the password again before it is saved."""
        return ask_password(self, request) or super().changeform_view(request, *args, **kwargs)

    def lock(self, request: HttpRequest, pks: Collection[Any]) -> None:
        """Lock these accounts, and with them all administrators, one of whom has to stay."""
        rows = UserProfile.objects.filter(Q(pk__in=pks) | Q(is_superuser=True, is_active=True))
        list(rows.select_for_update(no_key=True).order_by("pk").values_list("pk"))

    def save_model(self, request: HttpRequest, obj: UserProfile, form: Any, change: bool) -> None:
        """Save what was changed; another address ends the account's sessions, as the end of its activity does."""
        obj.is_staff = obj.is_superuser or form.cleaned_data["user_permissions"].exists() or obj.groups.exists()
        corrected = [name for name in IDENTITY if name in form.changed_data]
        if "skill_levels" in form.changed_data:
            levels = form.cleaned_data["skill_levels"]
            obj.skills_learned_matrix = SkillMatrix.objects.store(levels, into=obj.skills_learned_matrix)
            corrected.append("skills_learned_matrix")
        obj.save(update_fields=[*RIGHTS, "is_staff", "updated_at", *corrected])
        if "email" in corrected or not obj.is_active:
            end_sessions(obj, kept=request.session.session_key)

    @admin.action(description="Make project managers", permissions=["change"])
    def make_project_manager(self, request: HttpRequest, chosen: QuerySet[UserProfile]) -> None:
        """Let the chosen post opportunities and enter here."""
        self._set(request, chosen, "Now project managers", is_project_manager=True)

    @admin.action(description="Take away the rights of a project manager", permissions=["change"])
    def end_project_manager(self, request: HttpRequest, chosen: QuerySet[UserProfile]) -> None:
        """Let the chosen be volunteers only."""
        self._set(request, chosen, "No project managers any more", is_project_manager=False)

    @admin.action(description="Make inactive", permissions=["change"])
    def make_inactive(self, request: HttpRequest, chosen: QuerySet[UserProfile]) -> HttpResponse | None:
        """End the sessions of the chosen for good, and ask what becomes of their open listings."""
        if UserProfile.objects.has_no_administrator_but(*chosen):
            raise ValidationError(LAST_ADMINISTRATOR)
        changed = self._set(request, chosen, "Now inactive", is_active=False)
        for user in changed:
            end_sessions(user, kept=request.session.session_key)
        return _ask_about_listings(changed)

    @admin.action(description="Unlink from Cognito", permissions=["unlink"])
    def unlink(self, request: HttpRequest, chosen: QuerySet[UserProfile]) -> None:
        """End the sessions of the chosen, and let the next token with their address link their accounts."""
        for user in self._set(request, chosen, "Linked to nobody now", cognito_pool="", cognito_sub=""):
            end_sessions(user, kept=request.session.session_key)

    def _set(
        self, request: HttpRequest, chosen: QuerySet[UserProfile], became: str, **values: Any
    ) -> list[UserProfile]:
        changed = list(chosen.exclude(**values).order_by("pk"))
        UserProfile.objects.filter(pk__in=[user.pk for user in changed]).update(**values, updated_at=timezone.now())
        log_changes(request.user, changed, [change_of(UserProfile, name, not now, now) for name, now in values.items()])
        if changed:
            self.message_user(request, f"{became}: {', '.join(sorted(map(str, changed)))}.", messages.SUCCESS)
        else:
            self.message_user(request, "Nobody was changed.", messages.WARNING)
        return changed

    def response_change(self, request: HttpRequest, obj: UserProfile) -> HttpResponse:
        """Lead from the form of an inactive account to the question what becomes of its open listings."""
        response = super().response_change(request, obj)
        return (None if obj.is_active else _ask_about_listings([obj])) or response

    @answered
    def listings_view(self, request: HttpRequest) -> HttpResponse:
        """Ask what becomes of the open listings of inactive accounts, or put them on hold or give them away."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        authors = UserProfile.objects.filter(pk__in=request.GET.getlist("user"), is_active=False)
        listings = Opportunity.objects.open().filter(created_by__in=authors)
        form = NewAuthorForm(request.POST if request.method == "POST" else None)
        form.fields["new_author"].required = False  # without one they are put on hold
        if not form.is_valid():
            context = {"listings": listings.with_details(), "form": form, "title": "Open listings of who has left"}
            return self.show(request, "listings", context)
        if new_author := form.cleaned_data["new_author"]:
            give_listings(request, listings, new_author)
        else:
            desk: Any = self.admin_site.get_model_admin(Opportunity)
            desk.take(HOLD, request, listings)
        return redirect("admin:ctj_api_userprofile_changelist")

    @admin.display(ordering="first_name")
    def full_name(self, user: UserProfile) -> str:
        """Return the name, which may be empty."""
        return user.get_full_name()

    @admin.display(ordering="is_project_manager")
    def project_manager(self, user: UserProfile) -> str | None:
        """Return whether the user posts listings; it is no fault not to."""
        return "yes" if user.is_project_manager else None

    @admin.display(ordering="is_superuser")
    def administrator(self, user: UserProfile) -> str | None:
        """Return whether the user may give rights; it is no fault not to."""
        return "yes" if user.is_superuser else None

    def linked_to(self, user: UserProfile) -> str:
        """Return who this is for Cognito."""
        return f"{user.cognito_sub} of {user.cognito_pool}" if user.cognito_sub else "nobody"

    @admin.display(description="meeting availability")
    def availability(self, user: UserProfile) -> str:
        """Return the week slots in words."""
        return week_text(user.meeting_availability)


def _ask_about_listings(authors: list[UserProfile]) -> HttpResponse | None:
    listings = Opportunity.objects.open().filter(created_by__in=authors).order_by("created_by_id")
    owners = list(listings.values_list("created_by", flat=True).distinct())
    return redirect(reverse("admin:ctj_api_userprofile_listings", query={"user": owners})) if owners else None
