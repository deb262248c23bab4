"""Sign-in by password, which limits guessing in the API and in the admin alike."""

import logging
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest
from prometheus_client import Counter

from ctj_api.models import UserProfile
from ctj_api.querysets import is_administrator

from .client_address import address_key
from .limits import Limit, TooManyAttempts

logger = logging.getLogger(__name__)

LOCKOUTS = Counter("ctj_sign_in_lockouts", "Attempts to sign in that a limit refused.", ("limit",))
# Each series begins at zero, else its first growth would go unseen.
for _limit in ("login", "login address", "login account"):
    LOCKOUTS.labels(_limit)


class LimitedModelBackend(ModelBackend):
    """Django's backend, which counts each attempt before it looks at the password."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> UserProfile | None:
        """Return the user of these credentials; raises ``TooManyAttempts`` before anything is hashed."""
        email = username if username is not None else kwargs.get(UserProfile.USERNAME_FIELD)
        if email is None or password is None:
            return None
        attempt = Attempt(email, address_key(request) if request else "")
        attempt.count()
        user = super().authenticate(request, email, password)
        if user is not None:
            attempt.succeed()
            if request is not None and request.user == user:
                request.session.cycle_key()  # Django keeps that of somebody who signs in again
        return user


class AdministratorBackend(LimitedModelBackend):
    """Signs administrators in while Cognito keeps the other accounts, who are refused as by a wrong password."""

    def user_can_authenticate(self, user: Any) -> bool:
        """Let in those who may do anything in the admin; the password has been looked at by then."""
        return is_administrator(user)


class Attempt:
    """An attempt to sign in, limited by account and address together, by address, and by account."""

    def __init__(self, email: str, address: str) -> None:
        account = email.strip().lower()
        self._pair = Limit("login", settings.LOGIN_RATE, account, address)
        self._address = Limit("login address", settings.LOGIN_ADDRESS_RATE, address)
        self._account = Limit("login account", settings.LOGIN_ACCOUNT_RATE, account)

    def count(self) -> None:
        """Count the attempt, or raise ``TooManyAttempts``."""
        # An address that is locked out leaves no counts of accounts, and uses up nothing of theirs for others.
        for limit in (self._address, self._pair, self._account):
            if seconds := limit.count():
                if limit is self._pair:
                    self._address.take_back()
                LOCKOUTS.labels(limit.what).inc()
                logger.warning("Too many attempts to sign in: locked out by the limit of %s", limit.what)
                raise TooManyAttempts(seconds)

    def succeed(self) -> None:
        """Take back this attempt, but not the failures of others nor those on other accounts."""
        self._pair.reset()
        self._address.take_back()
        self._account.take_back()

    def forgive(self) -> None:
        """Let the owner, who proved in another way to be it, begin anew."""
        self._pair.reset()
        self._account.reset()
