"""Sessions in the database, as Django keeps them: whose they are, how long they live, and two corrections."""

import logging
import time
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY, user_logged_in
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.contrib.sessions.middleware import SessionMiddleware
from django.contrib.sessions.models import Session
from django.db import Error, IntegrityError, transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ctj_api.exceptions import is_temporary, leave_standby
from ctj_api.models import AccountSession, UserProfile

logger = logging.getLogger(__name__)

# A session names the class that signed its user in. This one moved in 2026-11; sessions live for two weeks.
MOVED_BACKENDS = {"ctj_api.sign_in.LimitedModelBackend": "ctj_api.accounts.sign_in.LimitedModelBackend"}
MAX_SESSIONS = 10
# What a session says of itself: the day that its two weeks count from, and three times for the admin.
COUNTS_FROM = "counts_from"
SIGNED_IN_AT, ADMIN_USED_AT, ENTERED_AT = "signed_in_at", "admin_used_at", "password_entered_at"
WRITE_USE_AFTER_SECONDS = 60


class SessionStore(db.SessionStore):
    """Django's store, which doesn't take a database that is away for the end of a session."""

    def load(self) -> dict[str, Any]:
        """Return what is stored, with today's path of the authentication backend."""
        data: dict[str, Any] = super().load()
        backend = data.get(BACKEND_SESSION_KEY)
        return data | {BACKEND_SESSION_KEY: MOVED_BACKENDS[backend]} if backend in MOVED_BACKENDS else data

    def save(self, must_create: bool = False) -> None:
        """Save the session; raise ``UpdateError`` if it is gone, and the database's own error if that is away."""
        user_id = None if must_create else self.get(SESSION_KEY)
        if user_id is not None:
            self[COUNTS_FROM] = _today()
        try:
            super().save(must_create)
        except UpdateError as error:
            cause = error.__context__
            if cause is not None and is_temporary(cause):
                raise cause from cause.__cause__
            raise
        if user_id is not None:
            _note_owner(str(self.session_key), UUID(user_id))


class SessionRenewalMiddleware(SessionMiddleware):
    """Let the two weeks of a session begin anew at its first use of each day, and write nothing at the others."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Return the response, also to a read whose session can't be saved: the next one saves it."""
        session = request.session
        is_used = session.accessed and SESSION_KEY in session and request.user.is_authenticated
        if is_used and session.get(COUNTS_FROM) != _today():
            session.modified = True
        try:
            return super().process_response(request, response)
        except Error as error:
            if request.method not in {"GET", "HEAD"} or not is_temporary(error):
                raise
            leave_standby(error)
            logger.warning("The session of a read is not saved: %s", error)
            return response


def end_sessions(user: UserProfile, kept: str | None = None) -> None:
    """Delete all sessions of ``user``, or all but the one whose key is ``kept``."""
    Session.objects.filter(account__user=user).exclude(pk=kept).delete()


def is_fresh_for_admin(session: SessionBase) -> bool:
    """Return whether the sign-in, and the last use of the admin, are recent enough, and note this use."""
    now = time.time()
    signed_in_at = session.setdefault(SIGNED_IN_AT, now)
    used_at = session.get(ADMIN_USED_AT, signed_in_at)
    if now - signed_in_at > settings.ADMIN_SESSION_SECONDS or now - used_at > settings.ADMIN_IDLE_SECONDS:
        return False
    if now - used_at > WRITE_USE_AFTER_SECONDS:
        session[ADMIN_USED_AT] = now
    return True


@receiver(user_logged_in)
def _note_sign_in(request: HttpRequest, user: UserProfile, **_: object) -> None:
    """Note when; unlike Django's receiver, don't fail for an account that its owner deletes at the same moment."""
    request.session.update(dict.fromkeys((SIGNED_IN_AT, ADMIN_USED_AT, ENTERED_AT), time.time()))
    UserProfile.objects.filter(pk=user.pk).update(last_login=timezone.now())


def _note_owner(key: str, user_id: UUID) -> None:
    """Note once whose session this is, and end the account's oldest beyond the limit."""
    if AccountSession.objects.filter(pk=key).exists():
        return
    try:
        with transaction.atomic():  # the lock lets sign-ins at once count each other
            UserProfile.objects.select_for_update(no_key=True).filter(pk=user_id).values_list("pk").first()
            AccountSession.objects.bulk_create([AccountSession(session_id=key, user_id=user_id)], ignore_conflicts=True)
            others = Session.objects.filter(account__user=user_id).exclude(pk=key).order_by("-expire_date", "pk")
            Session.objects.filter(pk__in=others.values("pk")[MAX_SESSIONS - 1 :]).delete()
    except IntegrityError as error:
        Session.objects.filter(pk=key).delete()
        raise UpdateError from error


def _today() -> str:
    return timezone.now().date().isoformat()
