"""The admin site: who may enter, where they land, and how its pages tell what could not be done."""

import logging
from collections.abc import Callable
from functools import partial, wraps
from http import HTTPStatus
from math import ceil
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import authenticate
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.db import DatabaseError, DataError, transaction
from django.db.models import Model, TextField
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables

from ctj_api.accounts.limits import TooManyAttempts, require_write
from ctj_api.accounts.password_reset import change_password
from ctj_api.exceptions import is_deadlock, violated_constraint
from ctj_api.models import UserProfile
from ctj_api.querysets import Requester, is_administrator, is_project_manager

from .forms import MultilineField
from .history import HistoryAdmin

OVERTAKEN = "This was not done: somebody else changed the same thing at the same moment. Try again."
UNUSABLE_FILTER = "The list can't be narrowed as this address asks, so all of it is shown."

logger = logging.getLogger(__name__)


def may_enter(user: Requester) -> bool:
    """Return whether ``user`` works in the admin: project managers, administrators and Django's staff do."""
    return manages_listings(user) or (user.is_active and getattr(user, "is_staff", False))


def manages_listings(user: Requester) -> bool:
    """Return whether ``user`` works with listings: project managers and administrators do, other staff doesn't."""
    return is_project_manager(user) or is_administrator(user)


class SignInForm(AdminAuthenticationForm):
    """The sign-in form, which takes everybody who works in the admin."""

    error_messages = AdminAuthenticationForm.error_messages | {
        "invalid_login": "This is not the e-mail address and password of a project manager or an administrator. "
        "Capital letters count in the password.",
    }

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        """Raise a ``ValidationError`` for somebody who has no work here, in the words for a wrong password."""
        if not may_enter(user):
            raise self.get_invalid_login_error()


class NewPasswordForm(AdminPasswordChangeForm):
    """The form for a new password, which limits guesses at the old one as the sign-in does."""

    def __init__(self, user: UserProfile, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.request = request

    @sensitive_variables("old_password")
    def clean_old_password(self) -> str:
        """Return the old password; raises ``ValidationError`` for a wrong one, ``TooManyAttempts`` after several."""
        old_password: str = self.cleaned_data["old_password"]
        if authenticate(self.request, username=self.user.email, password=old_password) is None:
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return old_password

    def save(self, commit: bool = True) -> UserProfile:
        """Store the new password, and tell the owner by mail."""
        change_password(self.user, self.cleaned_data["new_password1"], self.request)
        return self.user


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
        """Return the sign-in page, or the page that tells of too many attempts."""
        view = super().login
        return self._unless_too_many(request, lambda: view(request, extra_context))

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Return the page for a new password."""
        view = PasswordChangeView.as_view(
            form_class=partial(NewPasswordForm, request=request),  # for the address, which the limits count
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)

    def admin_view[V: Callable[..., HttpResponseBase]](self, view: V, cacheable: bool = False) -> V:
        """Return a page of the admin, which counts what is written as the API does; signing out is always possible."""

        @wraps(view)
        def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return self._unless_too_many(request, lambda: view(request, *args, **kwargs))

        page: Any = view if view == self.logout else limited
        guarded: V = super().admin_view(page, cacheable)
        return guarded

    def _unless_too_many[R: HttpResponseBase](
        self, request: HttpRequest, view: Callable[[], R]
    ) -> R | TemplateResponse:
        try:
            require_write(request)
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
        """Return the overview, or for a project manager the way to their own listings."""
        if is_project_manager(request.user) and not is_administrator(request.user):
            return HttpResponseRedirect(reverse("admin:ctj_api_opportunity_changelist", query={"posted_by": "me"}))
        return super().index(request, extra_context)


def answered[**P](view: Callable[P, HttpResponse]) -> Callable[P, HttpResponse]:
    """Run a page of a model in one transaction, and tell in a message what can't be done for a reason of the user's.

    A ``ValidationError`` is told in its own words, a conflict with another user in ours; all else is a defect.
    """

    @wraps(view)
    def answer(*args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        model_admin: Any
        request: Any
        model_admin, request, *_ = args
        try:
            with transaction.atomic():
                response = view(*args, **kwargs)
                return response.render() if isinstance(response, TemplateResponse) else response
        except ValidationError as error:
            told = " ".join(error.messages)
        except DatabaseError as error:
            if not _is_overtaken(error):
                raise
            logger.warning("Another user's change came first", exc_info=error)
            told = OVERTAKEN
        messages.error(request, told)
        opts = model_admin.opts
        changelist = f"admin:{opts.app_label}_{opts.model_name}_changelist"
        return redirect(request.path if request.method == "POST" else changelist)

    return answer


def _is_overtaken(error: DatabaseError) -> bool:
    return violated_constraint(error) is not None or is_deadlock(error)


class DeskAdmin[M: Model](HistoryAdmin[M]):
    """The pages of a model: project managers see all of them, other staff by Django's permissions."""

    formfield_overrides: ClassVar = {TextField: {"form_class": MultilineField}}
    changelist_view = answered(admin.ModelAdmin.changelist_view)
    changeform_view = answered(admin.ModelAdmin.changeform_view)
    delete_view = answered(admin.ModelAdmin.delete_view)

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Let project managers see who and what there is, and others by their permissions."""
        return is_project_manager(request.user) or super().has_view_permission(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the model to those who may see its rows."""
        return self.has_view_permission(request)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Return the page of the list; raises a ``ValidationError`` where a filter of the address is unusable.

        Only an address with parameters can be at fault: the list without any has no input.
        """
        try:
            return super().get_changelist_instance(request)
        except (IncorrectLookupParameters, DataError, OverflowError, ValueError) as error:
            if not request.GET:
                raise
            logger.warning("A filter of %s is unusable", request.path, exc_info=error)
            raise ValidationError(UNUSABLE_FILTER) from error
