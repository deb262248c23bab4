"""The accounts in the admin: how administrators give and take rights."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ctj_api.models import SkillMatrix, UserProfile
from ctj_api.querysets import is_administrator

from .display import week_text
from .forms import CHANGED_MEANWHILE, UserProfileForm
from .history import change_of, log_changes
from .reauthentication import ask_password
from .site import DeskAdmin

QUALIFIER = ("community_of_practice", "skill_levels", "shown_levels", "max_available_hours", "availability")


class UserProfileAdmin(DeskAdmin[UserProfile]):
    """The accounts, for administrators: they give and take rights, while name and address are the owner's."""

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
        ("Rights", {"fields": ("is_active", "is_project_manager", "is_superuser", "user_permissions")}),
        ("Qualifier", {"fields": QUALIFIER}),
        ("Dates", {"fields": ("last_login", "created_at")}),
    )

    def has_view_permission(self, request: HttpRequest, obj: UserProfile | None = None) -> bool:
        """Let administrators only see and change accounts: who may change them may take any right."""
        return is_administrator(request.user)

    has_change_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest, obj: UserProfile | None = None) -> bool:
        """Let nobody add or delete: people sign up themselves, and an account is made inactive."""
        return False

    has_delete_permission = has_add_permission

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the list, whose actions ask for the password again."""
        return ask_password(self, request) or super().changelist_view(request, *args, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the form of an account, which asks for the password again before it is saved."""
        return ask_password(self, request) or super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: UserProfile, form: Any, change: bool) -> None:
        """Save the rights, and the skills if they were changed here, but nothing else that the owner may be changing.

        Raises a ``ValidationError`` where the owner has changed the skills since the form was checked.
        """
        obj.is_staff = obj.is_superuser or form.cleaned_data["user_permissions"].exists() or obj.groups.exists()
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
