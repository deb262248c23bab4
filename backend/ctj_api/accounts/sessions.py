"""Sessions in the database, as Django keeps them, that tell a database that is away from a session that has ended."""

from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError

from ctj_api.exceptions import is_passing

# Sessions name the class that signed somebody in; those from before it moved are valid for two weeks more.
MOVED = {"ctj_api.sign_in.LimitedModelBackend": "ctj_api.accounts.sign_in.LimitedModelBackend"}


class SessionStore(db.SessionStore):
    """Django's own store; it takes whatever the database says of a change for the end of the session."""

    def load(self) -> dict[str, Any]:
        """Return what is stored, under today's name of the class that signed somebody in."""
        data: dict[str, Any] = super().load()
        backend = data.get(BACKEND_SESSION_KEY)
        return data | {BACKEND_SESSION_KEY: MOVED[backend]} if backend in MOVED else data

    def save(self, must_create: bool = False) -> None:
        """Save the session; raises ``UpdateError`` where it is gone, and what else the database raises as it is."""
        try:
            super().save(must_create)
        except UpdateError as error:
            cause = error.__context__
            if cause is not None and is_passing(cause):
                raise cause from cause.__cause__
            raise
