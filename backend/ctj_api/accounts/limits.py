"""Limits on attempts, counted exactly in the database for all processes (``docs/decisions/0020-*.md``)."""

from math import ceil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from rest_framework.exceptions import Throttled
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from ctj_api.models import AttemptCount

from .client_address import address_key

COUNT_ATTEMPT = Path(__file__).with_name("count_attempt.sql").read_text(encoding="utf-8")


class TooManyAttempts(Throttled):
    """A limit refuses this attempt; the next one may come after ``seconds``, as the header ``Retry-After`` says."""

    def __init__(self, seconds: int) -> None:
        super().__init__(detail="Too many attempts.")
        self.wait = self.seconds = seconds


class Limit:
    """How often ``what`` may be attempted by, or on, ``whose``: a rate is so many attempts in so many seconds."""

    def __init__(self, what: str, rate: tuple[int, int], *whose: str) -> None:
        self.what = what
        self._allowed, self._period = rate
        # A keyed digest, so that the table holds nobody's address.
        salt = f"ctj_api.accounts.limits.{what}"
        self._key = salted_hmac(salt, "\n".join(whose), algorithm="sha256").hexdigest()
        self._counts = AttemptCount.objects.filter(key=self._key)

    def count(self) -> int:
        """Count an attempt, and return the seconds to wait where it is one too many, otherwise 0."""
        with connection.cursor() as cursor:
            cursor.execute(COUNT_ATTEMPT, {"key": self._key, "seconds": self._period})
            attempts, seconds = cursor.fetchone()
        return max(1, ceil(seconds)) if attempts > self._allowed else 0

    def require(self) -> None:
        """Count an attempt, or raise ``TooManyAttempts``."""
        if seconds := self.count():
            raise TooManyAttempts(seconds)

    def take_back(self) -> None:
        """Count one attempt less."""
        self._counts.filter(attempts__gt=0).update(attempts=F("attempts") - 1)

    def reset(self) -> None:
        """Forget all attempts."""
        self._counts.delete()


class WriteThrottle(BaseThrottle):
    """Limit what somebody who is signed in writes."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count a write, or raise ``TooManyAttempts``."""
        require_write(request)
        return True


def require_write(request: Request | HttpRequest) -> None:
    """Count a write of whoever is signed in, in the API and in the admin together, or raise ``TooManyAttempts``."""
    if request.method not in SAFE_METHODS and request.user.is_authenticated:
        Limit("WRITE_RATE", settings.WRITE_RATE, str(request.user.pk)).require()


def require_from_address(setting: str, request: HttpRequest) -> None:
    """Count what an address asks for at the rate of a setting, or raise ``TooManyAttempts``."""
    Limit(setting, getattr(settings, setting), address_key(request)).require()
