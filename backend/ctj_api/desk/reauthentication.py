"""Reauthentication: giving rights, merging and importing ask for the password, or for the pool's sign-in, again."""

import time
from typing import Any

from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse

from ctj_api.accounts.sessions import ENTERED_AT

from . import cognito_sign_in
from .display import show

MAX_AGE_SECONDS = 15 * 60
OWN_FIELDS = {"csrfmiddlewaretoken", "password"}


def ask_password(pages: admin.ModelAdmin[Any], request: HttpRequest) -> HttpResponse | None:
    """Return the page that asks for the password and sends the form again, or nothing within 15 minutes."""
    is_recent = time.time() - request.session.get(ENTERED_AT, 0) < MAX_AGE_SECONDS
    if is_recent or request.method != "POST" or not pages.has_change_permission(request):
        return None
    by_pool = cognito_sign_in.has_signed_in_by_pool(request)
    typed = {"username": request.user.get_username(), "password": request.POST.get("password", "")}
    form = AuthenticationForm(request, typed if typed["password"] and not by_pool else None)
    if form.is_valid():
        request.session[ENTERED_AT] = time.time()
        return None
    fields = [(name, values) for name, values in request.POST.lists() if name not in OWN_FIELDS]
    title = "Your sign-in again" if by_pool else "Your password again"
    context = {"title": title, "form": form, "fields": fields, "by_pool": by_pool}
    return show(request, "reauthentication", context)
