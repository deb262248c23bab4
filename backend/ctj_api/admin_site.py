"""The admin site: who may enter, and where they land."""

from http import HTTPStatus
from math import ceil
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from .limits import TooManyAttempts
from .models import UserProfile
from .querysets import Requester, is_administrator, is_project_manager


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
        try:
            return super().login(request, extra_context)
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
