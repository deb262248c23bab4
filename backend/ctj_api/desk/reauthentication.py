"""Reauthentication: giving rights, merging and importing ask for the password again, if its last entry was long ago."""

import time
from typing import Any

from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

MAX_AGE_SECONDS = 15 * 60
ENTERED_AT = "password_entered_at"
PREFIX = "reauthentication"
PASSWORD_FIELD = f"{PREFIX}-password"


class ReauthenticationForm(AuthenticationForm):
    """The form for the password of the signed-in user, which limits guesses as the sign-in does."""

    prefix = PREFIX
    error_messages = AuthenticationForm.error_messages | {
        "invalid_login": "This is not your password. Capital letters count in it.",
    }


@receiver(user_logged_in)
def remember_entry(request: HttpRequest, **_: Any) -> None:
    """Store in the session when the password was entered."""
    request.session[ENTERED_AT] = int(time.time())


def ask_password(request: HttpRequest) -> HttpResponse | None:
    """Return the page that asks for the password, or nothing once it was entered in the last 15 minutes.

    The page sends a form that was posted along with the password, so that nothing has to be typed again.
    """
    if time.time() - request.session.get(ENTERED_AT, 0) < MAX_AGE_SECONDS:
        return None
    own_fields = {"csrfmiddlewaretoken", PASSWORD_FIELD}
    posted = [(name, value) for name, values in request.POST.lists() if name not in own_fields for value in values]
    form = ReauthenticationForm(request)
    if PASSWORD_FIELD in request.POST:
        typed = {f"{PREFIX}-username": request.user.get_username(), PASSWORD_FIELD: request.POST[PASSWORD_FIELD]}
        form = ReauthenticationForm(request, typed)
        if form.is_valid():
            request.session[ENTERED_AT] = int(time.time())
            return None if posted else redirect(request.get_full_path())
    context = {**admin.site.each_context(request), "form": form, "posted": posted, "title": "Your password again"}
    return TemplateResponse(request, "admin/reauthentication.html", context)
