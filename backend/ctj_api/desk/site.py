"""The admin site: who may enter, where they land, and how its pages tell what could not be done."""

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial, wraps
from http import HTTPStatus
from math import ceil
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import authenticate
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, DataError, connection, transaction
from django.db.models import Model, OrderBy, QuerySet, TextField
from django.forms import FloatField
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.text import Truncator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables

from ctj_api.accounts.limits import TooManyAttempts, require_write
from ctj_api.accounts.password_reset import change_password
from ctj_api.accounts.sessions import is_fresh_for_admin
from ctj_api.exceptions import is_deadlock, violated_constraint
from ctj_api.http.query_parameters import MAX_SEARCH
from ctj_api.models import UserProfile
from ctj_api.querysets import Requester, is_administrator, is_project_manager

from . import cognito_sign_in
from .display import NaturalOrder, show
from .first_page import overview
from .forms import MultilineField, VersionedForm
from .history import HistoryAdmin
from .statistics import supply_and_demand

OVERTAKEN = "This was not done: somebody else changed the same thing at the same moment. Try again."
UNUSABLE_FILTER = "The list can't be narrowed as this address asks, so all of it is shown."
UNUSABLE = (IncorrectLookupParameters, DisallowedModelAdminLookup, DataError, OverflowError, ValueError)
LINKED_LOOKUPS = {"exact", "isnull", "year", "month", "day"}
# The columns with names that lists are ordered by, and where the name stands.
NAMES = {"name": "name", "title": "title", "role": "role__title", "project": "project__name"}
MAX_QUERY = 4_000
MAX_CHOSEN = 1_000
READ_TIMEOUT_MS = 5_000

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
        """Return whether the signed-in user works here, and has signed in and been here lately enough."""
        return may_enter(request.user) and is_fresh_for_admin(request.session)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Return a page with its check of permissions, the organisation's time zone, and the limits."""

        @wraps(view)
        def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            def answer() -> HttpResponseBase:
                return _rendered(view(request, *args, **kwargs))

            with timezone.override(settings.ADMIN_TIME_ZONE):
                return self._unless_too_many(request, answer if request.method == "POST" else partial(_read, answer))

        return super().admin_view(view if view == self.logout else limited, cacheable)

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return the sign-in page, or the page that tells of too many attempts; lead on who is signed in already."""
        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(cognito_sign_in.next_page(request))
        mails_links = settings.IDENTITY_PROVIDER == "local"
        context: dict[str, Any] = {"forgot_password_url": settings.PASSWORD_RESET_URL if mails_links else None}
        if cognito_sign_in.is_configured():
            context["cognito_url"] = reverse("admin:cognito", query={"next": cognito_sign_in.next_page(request)})
        if may_enter(request.user) and not self.has_permission(request):
            context |= {"is_outdated": True, "user": None}
        view = super().login
        return self._unless_too_many(request, lambda: view(request, context | (extra_context or {})))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Return the pages, with the two that lead to the pool's sign-in and back, and that about skills."""
        return [
            path("cognito/", cognito_sign_in.begin, name="cognito"),
            path("cognito/callback/", self.cognito_callback, name="cognito_callback"),
            path("supply-and-demand/", self.admin_view(supply_and_demand), name="supply_and_demand"),
            *super().get_urls(),
        ]

    def cognito_callback(self, request: HttpRequest) -> HttpResponse:
        """Let in who comes back from the pool's sign-in and works here; all others get one page without detail."""
        finish = cognito_sign_in.finish
        try:
            return self._unless_too_many(request, lambda: HttpResponseRedirect(finish(request, may_enter)))
        except cognito_sign_in.SignInError as refusal:
            logger.warning("A sign-in by Cognito failed: %s", str(refusal))
        context = {"title": "You are not signed in", "sign_out_url": cognito_sign_in.sign_out_url(request)}
        return show(request, "cognito_refused", context, status=HTTPStatus.FORBIDDEN)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Sign out here and, who has signed in by the pool, there as well."""
        leads_on = request.method == "POST" and cognito_sign_in.has_signed_in_by_pool(request)
        response = super().logout(request, extra_context)
        if leads_on:  # not by a redirect: the content security policy keeps forms, and what they lead to, on this site
            response["Refresh"] = f"0; url={cognito_sign_in.sign_out_url(request)}"
        return response

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Return the page for a new password, to those who sign in with one."""
        if settings.IDENTITY_PROVIDER == "cognito" and not is_administrator(request.user):
            raise PermissionDenied
        view = PasswordChangeView.as_view(
            form_class=partial(NewPasswordForm, request=request),  # for the address, which the limits count
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)

    def _unless_too_many[R: HttpResponseBase](
        self, request: HttpRequest, view: Callable[[], R]
    ) -> R | TemplateResponse:
        try:
            require_write(request)
            return view()
        except TooManyAttempts as error:
            context = {"title": "Too many attempts", "minutes": ceil(error.seconds / 60)}
            headers = {"Retry-After": str(error.seconds)}
            return show(request, "too_many_attempts", context, status=HTTPStatus.TOO_MANY_REQUESTS, headers=headers)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Return the overview, which counts for a project manager what wants to be looked at."""
        context = dict(extra_context or {})
        if is_project_manager(request.user):
            context |= {"title": "Your desk", "overview": overview(request.user)}
        return super().index(request, context)


def _read(answer: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Return the answer; raises an ``OperationalError`` for a query that takes too long."""
    with transaction.atomic(), connection.cursor() as cursor:
        limit = min(READ_TIMEOUT_MS, settings.SQL_STATEMENT_TIMEOUT_MS or READ_TIMEOUT_MS)
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(limit)])
        return answer()


def _rendered[R: HttpResponseBase](response: R) -> R | HttpResponse:
    return response.render() if isinstance(response, TemplateResponse) else response


def answered[**P](view: Callable[P, HttpResponse]) -> Callable[P, HttpResponse]:
    """Run a page of a model in one transaction, and tell in a message what can't be done, unless by a defect."""

    @wraps(view)
    def answer(*args: Any, **kwargs: Any) -> HttpResponse:
        model_admin, request, *_ = args
        try:
            with transaction.atomic():
                return _rendered(view(*args, **kwargs))
        except PermissionDenied as error:
            raise PermissionDenied(getattr(model_admin, "refusal", "")) from error
        except ValidationError as error:
            told = Truncator(" ".join(error.messages)).chars(1_000)
        except DatabaseError as error:
            if violated_constraint(error) is None and not is_deadlock(error):
                raise
            logger.warning("Another user's change came first", exc_info=error)
            told = OVERTAKEN
        messages.error(request, told)
        opts = model_admin.opts
        changelist = f"admin:{opts.app_label}_{opts.model_name}_changelist"
        return redirect(request.path if request.method == "POST" else changelist)

    return answer


class DeskList(ChangeList):
    """A list in which names stand where people look for them."""

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        """Return the ordering, in which each name is put in its natural order."""
        return [self._natural(term) for term in super().get_ordering(request, queryset)]

    def _natural(self, term: Any) -> Any:
        name = NAMES.get(str(term).removeprefix("-"))
        return OrderBy(NaturalOrder(name), descending=term.startswith("-")) if name else term


class DeskAdmin[M: Model](HistoryAdmin[M]):
    """The pages of a model: project managers see all of them, other staff by Django's permissions."""

    # The pages besides Django's: the name, whose view is ``<name>_view``, and the route of each.
    pages: ClassVar[dict[str, str]] = {}
    formfield_overrides: ClassVar = {TextField: {"form_class": MultilineField}}
    form: Any = VersionedForm
    changelist_view = answered(admin.ModelAdmin.changelist_view)
    changeform_view = answered(admin.ModelAdmin.changeform_view)
    delete_view = answered(admin.ModelAdmin.delete_view)

    def get_urls(self) -> list[URLPattern]:
        """Return Django's pages, and before them those that only this model has."""
        views = {name: self.admin_site.admin_view(getattr(self, f"{name}_view")) for name in self.pages}
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [path(route, views[name], name=f"{prefix}_{name}") for name, route in self.pages.items()]
        return [*own, *super().get_urls()]

    def show(self, request: HttpRequest, name: str, context: dict[str, Any]) -> TemplateResponse:
        """Return the page of a template of this model's."""
        template = f"{self.opts.app_label}/{self.opts.model_name}/{name}"
        return show(request, template, {"opts": self.opts, **context})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return how the rows of the list are chosen and put in order."""
        return DeskList

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Let project managers see who and what there is, and others by their permissions."""
        return is_project_manager(request.user) or super().has_view_permission(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the model to those who may see its rows."""
        return self.has_view_permission(request)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search as the API does, where there is a box for it."""
        return (queryset.search(search_term) if self.search_fields else queryset), False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Take only what the list's own filters link to: others could read a secret or take seconds."""
        filters: Any = self.get_list_filter(request)
        offered = [getattr(each, "parameter_name", each) for each in filters]
        names = {self.date_hierarchy, *(each if isinstance(each, str) else each[0] for each in offered)}
        name, _, kind = lookup.rpartition("__")
        return lookup in names or (kind in LINKED_LOOKUPS and name.removesuffix("__id") in names)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Log deletions; raises a ``ValidationError`` where all was changed after the page that asked was made."""
        if not _unchanged(request, queryset):
            raise ValidationError("Look at it before you delete it.")
        return super().log_deletions(request, queryset)

    def response_action(self, request: HttpRequest, queryset: QuerySet[M]) -> HttpResponse | None:
        """Return what an action answers for unchanged rows; raises a ``ValidationError`` for too many."""
        takes_all = request.POST.get("select_across", "0") not in {"0", ""}
        if takes_all and queryset.count() > MAX_CHOSEN:
            raise ValidationError(f"Choose at most {MAX_CHOSEN:,} rows at once.")
        selected = set(request.POST.getlist(ACTION_CHECKBOX_NAME))
        chosen = queryset if takes_all else self.get_queryset(request).filter(pk__in=selected)
        pks = list(chosen.values_list("pk", flat=True))
        self.lock(request, pks)
        rows = list(self.get_queryset(request).filter(pk__in=pks))
        unchanged = _unchanged(request, rows)
        if len(selected) > len(rows) and not takes_all:
            messages.warning(request, f"{len(selected) - len(rows)} of the chosen were deleted meanwhile.")
        if pks and not unchanged:
            return redirect(request.get_full_path())
        return super().response_action(request, self.get_queryset(request).filter(pk__in=unchanged))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the page of the list; raises a ``ValidationError`` for a filter that is unusable."""
        longest = max(map(len, request.GET.values()), default=0)
        if longest > MAX_SEARCH or len(request.META["QUERY_STRING"]) > MAX_QUERY:
            raise ValidationError(UNUSABLE_FILTER)
        try:
            made_at = time.time()
            page: Any = super().get_changelist_instance(request)
        except UNUSABLE as error:
            if not request.GET:
                raise
            logger.warning("A filter of %s is unusable", request.path, exc_info=error)
            raise ValidationError(UNUSABLE_FILTER) from error
        page.made_at = repr(made_at)
        choices = ((filter_.title, each) for filter_ in page.filter_specs for each in [*filter_.choices(page)][1:])
        page.chosen = [f"{title}: {each['display']}" for title, each in choices if each["selected"]]
        return page


def _unchanged(request: HttpRequest, rows: Iterable[Any]) -> list[Any]:
    """Return the ids of the rows that are as the page showed them, if it says when it was made."""
    made_at = FloatField(required=False).clean(request.POST.get("made_at"))
    changed = [row for row in rows if made_at is not None and row.updated_at.timestamp() > made_at]
    if changed:
        names = ", ".join(sorted(map(str, changed)))
        messages.warning(request, f"Changed after this page was made, so nothing was done with: {names}.")
    return [row.pk for row in rows if row not in changed]
