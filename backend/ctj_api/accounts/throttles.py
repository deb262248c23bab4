"""Limits by the client's address, for the endpoints that anybody may use to write."""

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from ctj_api.accounts.client_address import address_key

from .limits import Limit, Rate


class AddressThrottle(BaseThrottle):
    """So many requests from an address; ``setting`` names the one that says how many."""

    setting: str

    def __init__(self) -> None:
        self._wait = 0

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Count the request and return whether it may go on; a method that isn't there is refused later."""
        if request.method != "POST":
            return True
        rate: Rate = getattr(settings, self.setting)
        self._wait = Limit(self.setting, rate).wait_after_counting(address_key(request._request))
        return self._wait == 0

    def wait(self) -> float:
        """Return the seconds until the next request may come."""
        return self._wait


class SignupThrottle(AddressThrottle):
    """How many accounts an address may ask for."""

    setting = "SIGNUP_RATE"


class PasswordResetThrottle(AddressThrottle):
    """How often an address may ask for links, or try them."""

    setting = "PASSWORD_RESET_RATE"
