"""Who may sign in: whoever knows the password, and hasn't guessed too often, in the API and in the admin alike."""

import logging
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from prometheus_client import Counter

from ctj_api.accounts.client_address import address_key
from ctj_api.models import UserProfile

from .limits import Limit, TooManyAttempts

logger = logging.getLogger(__name__)

LOCKOUTS = Counter("ctj_sign_in_lockouts", "Attempts to sign in that a limit refused.", ("limit",))


class LimitedModelBackend(ModelBackend):
    """Django's own backend, that looks at a password only after it has counted the attempt."""

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> AbstractBaseUser | None:
        """Return the user of these credentials; raises ``TooManyAttempts`` before it hashes anything.

        Who is signed in already gets a new session: Django keeps the session of who signs in again.
        """
        email = username if username is not None else kwargs.get(UserProfile.USERNAME_FIELD)
        if email is None or password is None:
            return None
        attempt = Attempt(email, address_key(request) if request else "")
        attempt.count()
        user = super().authenticate(request, email, password)
        if user is not None:
            attempt.succeed()
            _renew_session(request, user)
        return user


class Attempt:
    """An attempt to sign in to an account from an address, of which each is limited, and both together more so."""

    def __init__(self, email: str, address: str) -> None:
        account = email.strip().lower()
        self._pair = Limit("login", settings.LOGIN_RATE), (account, address)
        self._whole = (
            (Limit("login address", settings.LOGIN_ADDRESS_RATE), (address,)),
            (Limit("login account", settings.LOGIN_ACCOUNT_RATE), (account,)),
        )

    def count(self) -> None:
        """Count it before its password is looked at, so that many at once are no more than the limit.

        One address that is locked out of an account doesn't use up what the account has for others.
        """
        for limit, whose in (self._pair, *self._whole):
            try:
                limit.count(*whose)
            except TooManyAttempts:
                LOCKOUTS.labels(limit.what).inc()
                logger.warning("Too many attempts to sign in: locked out by the limit of %s", limit.what)
                raise

    def succeed(self) -> None:
        """Take it back. The failures of others stay counted, and those from this address to other accounts."""
        self._forget_pair()
        for limit, whose in self._whole:
            limit.take_back(*whose)

    def forgive(self) -> None:
        """Let the account's owner, who has proved to be it in another way, begin anew."""
        self._forget_pair()
        limit, whose = self._whole[-1]
        limit.forget(*whose)

    def _forget_pair(self) -> None:
        limit, whose = self._pair
        limit.forget(*whose)


def _renew_session(request: HttpRequest | None, user: AbstractBaseUser) -> None:
    if request is not None and request.user == user:
        request.session.cycle_key()
