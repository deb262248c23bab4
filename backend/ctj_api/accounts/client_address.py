"""The address of the client, which trusted proxies may tell."""

import logging
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

logger = logging.getLogger(__name__)

type Network = IPv4Network | IPv6Network

WARNING_SECONDS = 60
IGNORED = "X-Forwarded-For is ignored: its sender is not in TRUSTED_PROXIES. A proxy's clients share its limits now."


class ClientAddressMiddleware:
    """Put the client's address into ``REMOTE_ADDR``, and drop the request id that no trusted proxy has passed on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self._silent_until = time.monotonic()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the view's response."""
        peer, forwarded_for = request.META.get("REMOTE_ADDR") or "", request.META.get("HTTP_X_FORWARDED_FOR", "")
        if not is_inside(peer, settings.TRUSTED_PROXIES):
            request.META.pop("HTTP_X_REQUEST_ID", None)
            if forwarded_for and time.monotonic() >= self._silent_until:
                self._silent_until = time.monotonic() + WARNING_SECONDS
                logger.warning(IGNORED)
        request.META["REMOTE_ADDR"] = client_address(peer, forwarded_for)
        return self.get_response(request)


def client_address(peer: str, forwarded_for: str) -> str:
    """Return the last address that is no trusted proxy's, or an empty text where the peer has none."""
    # Each proxy appends the address that it was called from, so what stands further left is only a claim.
    address = str(_parse(peer) or "")
    for text in reversed(forwarded_for.split(",")):
        before = _parse(text)
        if before is None or not is_inside(address, settings.TRUSTED_PROXIES):
            break
        address = str(before)
    return address


def is_inside(address: str, networks: Iterable[Network]) -> bool:
    """Return whether the address lies in one of the networks."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def address_key(request: HttpRequest) -> str:
    """Return what limits count by: the client's IPv4 address or IPv6 network."""
    address = _parse(request.META.get("REMOTE_ADDR") or "")
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))  # one household or server is given all of it
    return str(address or "")


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address without its port, as IPv4 where it is an IPv4 address written as IPv6."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
