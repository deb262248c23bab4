"""Versions of the admin's forms: nobody overwrites unseen what has been changed since the page was made."""

import json
from collections.abc import Collection
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db import connection
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from .history import HistoryAdmin, differences, newest_entry, snapshot

VERSION, OVERWRITE, TOKEN = "_version", "_overwrite", "_add_token"
CHANGED_MEANWHILE = (
    "This was changed after you opened it, so nothing was saved. What you typed still stands in the form."
)


class VersionedForm[M: Model](forms.ModelForm[M]):
    """A form that is refused where its row was changed after the page was made; what sends no version is taken."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before = {} if self.instance._state.adding else snapshot(self.instance)
        self._digests = {name: _digest(value) for name, value in self.before.items()}
        sent: str | None = self.data.get(OVERWRITE) or self.data.get(VERSION)
        self.last_entry, seen = (0, self._digests) if sent is None else _read(sent)
        self.changed_meanwhile = [name for name, digest in self._digests.items() if seen.get(name) != digest]

    @property
    def version(self) -> str:
        """The row as it is stored: a digest for each field, and the newest entry of its history."""
        return Signer().sign_object([newest_entry(self.instance), self._digests])

    @property
    def seen_version(self) -> str:
        """The version that the user knows of: the one that was sent, or of a new page the stored one."""
        return self.data.get(OVERWRITE) or self.data.get(VERSION) or self.version

    def clean(self) -> dict[str, Any]:
        """Return the values; raises a ``ValidationError`` where somebody else's change would be lost."""
        values = super().clean() or self.cleaned_data
        if self.changed_meanwhile:
            raise ValidationError(CHANGED_MEANWHILE)
        return values


class VersionedAdmin[M: Model](HistoryAdmin[M]):
    """A model's pages, whose forms know their versions, and make one row however often they are sent."""

    form = VersionedForm

    def lock(self, request: HttpRequest, pks: Collection[Any]) -> None:
        """Lock these rows, by id, so that they stay as they are read from now on."""
        rows = self.model._default_manager.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk")
        list(rows.values_list("pk"))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> M | None:
        """Return the row, after locking one that is about to be changed.

        The lock is a query of its own: with joins PostgreSQL drops a row that another transaction changed meanwhile.
        """
        found = super().get_object(request, object_id, from_field)
        if found is None or request.method != "POST":
            return found
        self.lock(request, [found.pk])
        return super().get_object(request, object_id, from_field)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Add what the form is known by, and after a refusal the first wrong field and what others have changed."""
        form: Any = context["adminform"].form
        if wrong := next(filter(form.fields.__contains__, form.errors), None):
            form.fields[wrong].widget.attrs["autofocus"] = True
        context["add_token"] = self._signer(request).sign(uuid4())
        if form.changed_meanwhile:
            context["differences"] = differences(form, request.user)
        return super().render_change_form(request, context, *args, **kwargs)

    def find_added(self, request: HttpRequest) -> HttpResponse | None:
        """Return the way to the row that the same form has made already, after waiting for it, if there is one."""
        if (pk := self._token_of(request)) is None:
            return None
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [str(pk)])
        if (added := self.model._default_manager.filter(pk=pk).first()) is None:
            return None
        messages.warning(request, f"{added} was saved already, and only once. This is what is stored.")
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", pk)

    def save_form(self, request: HttpRequest, form: Any, change: Any) -> Any:
        """Give a new row the id that its form carries."""
        if not change:
            form.instance.pk = self._token_of(request) or form.instance.pk
        return super().save_form(request, form, change)

    def _token_of(self, request: HttpRequest) -> UUID | None:
        try:
            return UUID(self._signer(request).unsign(request.POST.get(TOKEN, "")))
        except BadSignature:
            return None

    def _signer(self, request: HttpRequest) -> Signer:
        return Signer(salt=f"{self.opts.label} of {request.user.pk}")


def _digest(value: Any) -> str:
    ordered = sorted(map(str, value)) if isinstance(value, frozenset) else value
    return sha256(json.dumps(ordered, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _read(version: str) -> tuple[int, dict[str, str]]:
    """Return the newest entry and the digests of a version; of one that we didn't make, none, so that all differs."""
    try:
        entry, digests = Signer().unsign_object(version)
    except BadSignature:
        return 0, {}
    return entry, digests
