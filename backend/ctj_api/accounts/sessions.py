"""Sessions in the database, as Django keeps them, with two corrections."""

from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError

from ctj_api.exceptions import is_passing

# A session names the class that signed its user in. This one moved in 2026-11; sessions live for two weeks.
MOVED_BACKENDS = {"ctj_api.sign_in.LimitedModelBackend": "ctj_api.accounts.sign_in.LimitedModelBackend"}


class SessionStore(db.SessionStore):
    """Django's store, which doesn't take a database that is away for the end of a session."""

    def load(self) -> dict[str, Any]:
        """Return what is stored, with today's path of the authentication backend."""
        data: dict[str, Any] = super().load()
        backend = data.get(BACKEND_SESSION_KEY)
        return data | {BACKEND_SESSION_KEY: MOVED_BACKENDS[backend]} if backend in MOVED_BACKENDS else data

    def save(self, must_create: bool = False) -> None:
        """Save the session; raise ``UpdateError`` if it is gone, and the database's own error if that is away."""
        try:
            super().save(must_create)
        except UpdateError as error:
            cause = error.__context__
            if cause is not None and is_passing(cause):
                raise cause from cause.__cause__
            raise
