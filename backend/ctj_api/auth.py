"""Who sends a request, by an ID token of Cognito (docs/decisions/0046-*.md)."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Claims:
    """What a verified ID token says of its owner; a text that it doesn't say is empty."""

    pool: str
    sub: str
    email: str = ""
    email_verified: bool = False
    first_name: str = ""
    last_name: str = ""
    nonce: str = ""


def verify_id_token(token: str, audiences: Collection[str]) -> Claims:
    """Return what an ID token of the pool says that was made for one of these clients.

    Raises REST framework's ``AuthenticationFailed`` for any other, and ``ServiceUnavailable`` without the keys.
    """
    raise NotImplementedError
