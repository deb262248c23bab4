"""The admin site: who may enter, and where they land."""

from collections.abc import Callable
from http import HTTPStatus
from math import ceil
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.auth import authenticate
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables

from ctj_api.accounts.limits import TooManyAttempts
from ctj_api.accounts.password_reset import change_password
from ctj_api.models import UserProfile
from ctj_api.querysets import Requester, is_administrator, is_project_manager


def may_enter(user: Requester) -> bool:
    """Return whether ``user`` works in the admin: project managers do, and administrators."""
    return is_project_manager(user) or is_administrator(user)


class SignInForm(AdminAuthenticationForm):
    """Lets project managers in, without a further right to assign."""

    error_messages = {  # noqa: RUF012 (a dictionary by its type)
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "This is not the e-mail address and password of a project manager or an administrator. "
        "Capital letters count in the password.",
    }

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        """Raise a ``ValidationError`` for who has no work here, in the words for a wrong password."""
        AuthenticationForm.confirm_login_allowed(self, cast("UserProfile", user))
        if not may_enter(user):
            raise self.get_invalid_login_error()


class NewPasswordForm(AdminPasswordChangeForm):
    """Takes the old password as sign-in does."""

    def __init__(self, user: UserProfile, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.request = request

    @sensitive_variables("old_password")
    def clean_old_password(self) -> str:
        """Return the old password; raises ``ValidationError`` for another one, ``TooManyAttempts`` after some."""
        old_password: str = self.cleaned_data["old_password"]
        if authenticate(self.request, username=self.user.email, password=old_password) is None:
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return old_password

    def save(self, commit: bool = True) -> UserProfile:
        """Store the new password, and tell the owner by mail."""
        change_password(self.user, self.cleaned_data["new_password1"], self.request)
        return self.user


class NewPasswordView(PasswordChangeView):
    """The form for a new password; all sessions but this one end with it."""

    form_class = NewPasswordForm
    success_url = reverse_lazy("admin:password_change_done")

    def get_form_kwargs(self) -> dict[str, Any]:
        """Return what the form is made of: the request, too, for the address that it comes from."""
        return {**super().get_form_kwargs(), "request": self.request}


class CivicTechJobsAdminSite(admin.AdminSite):
    """The desk of project managers, and the administrators' view of everything."""

    site_header = "CivicTechJobs"
    site_title = "CivicTechJobs"
    index_title = "Administration"
    site_url = None
    enable_nav_sidebar = False
    login_form = SignInForm

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether the signed-in user works here."""
        return may_enter(request.user)

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return the sign-in page, or what it answers after too many attempts."""
        view = super().login
        return self._unless_too_many(request, lambda: view(request, extra_context))

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Return the form for a new password, or what it answers after too many attempts at the old one."""
        context = {**self.each_context(request), **(extra_context or {})}
        return self._unless_too_many(request, lambda: NewPasswordView.as_view(extra_context=context)(request))

    def _unless_too_many[R: HttpResponseBase](
        self, request: HttpRequest, view: Callable[[], R]
    ) -> R | TemplateResponse:
        try:
            return view()
        except TooManyAttempts as error:
            minutes = ceil(error.seconds / 60)
            context = {**self.each_context(request), "title": "Too many attempts", "minutes": minutes}
            headers = {"Retry-After": str(error.seconds)}
            status = HTTPStatus.TOO_MANY_REQUESTS
            return TemplateResponse(request, "admin/too_many_attempts.html", context, status=status, headers=headers)

    def index(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the overview; a project manager's own listings are theirs."""
        if not is_administrator(request.user):
            return HttpResponseRedirect(reverse("admin:ctj_api_opportunity_changelist", query={"posted_by": "me"}))
        return super().index(request, extra_context)
