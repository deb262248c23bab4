"""Sessions in the database, as Django keeps them, that tell a database that is away from a session that has ended."""

from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError

from .exceptions import is_passing


class SessionStore(db.SessionStore):
    """Django's own store; it takes whatever the database says of a change for the end of the session."""

    def save(self, must_create: bool = False) -> None:
        """Save the session; raises ``UpdateError`` where it is gone, and what else the database raises as it is."""
        try:
            super().save(must_create)
        except UpdateError as error:
            cause = error.__context__
            if cause is not None and is_passing(cause):
                raise cause from cause.__cause__
            raise
