"""Whose request it is: the address of the client, also where trusted proxies stand in front of the server."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

type Address = IPv4Address | IPv6Address

# What one household or one server is given: its owner may take any address of it.
IPV6_PREFIX = 64


class ClientAddressMiddleware:
    """Put the client's address into ``REMOTE_ADDR``, the one place that everything else reads."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the view's response."""
        request.META["REMOTE_ADDR"] = client_address(
            request.META.get("REMOTE_ADDR") or "", request.META.get("HTTP_X_FORWARDED_FOR", "")
        )
        return self.get_response(request)


def client_address(peer: str, forwarded_for: str) -> str:
    """Return the client's address, or an empty text where there is none.

    ``forwarded_for`` counts only as far as it was written by trusted proxies: from the right to the first address
    that is none of theirs. What stands further left is what the client claims.
    """
    address = _parse(peer)
    if address is None:
        return ""
    for hop in reversed(forwarded_for.split(",")):
        if not _is_trusted(address) or (before := _parse(hop)) is None:
            break
        address = before
    return str(address)


def is_inside(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Return whether the address lies in one of the networks."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def address_key(request: HttpRequest) -> str:
    """Return what limits count by: the IPv4 address, or the IPv6 network whose addresses are all one owner's."""
    address = _parse(request.META.get("REMOTE_ADDR") or "")
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, IPV6_PREFIX), strict=False))
    return str(address or "")


def _is_trusted(address: Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)


def _parse(text: str) -> Address | None:
    """Return the address, without a port; an IPv4 address that is written as IPv6 is one of IPv4."""
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
