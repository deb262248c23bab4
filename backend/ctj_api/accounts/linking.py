"""Which account the owner of a token has."""

from typing import TYPE_CHECKING

from rest_framework.exceptions import PermissionDenied

from ctj_api.models import UserProfile

if TYPE_CHECKING:
    from ctj_api.auth import Claims


def account_of(claims: "Claims") -> UserProfile:
    """Return the account of the token's owner; raises ``PermissionDenied`` for one who may have none."""
    account = UserProfile.objects.filter(cognito_pool=claims.pool, cognito_sub=claims.sub).first()
    if account is None:
        raise PermissionDenied("This Cognito account has no account here.")
    return account
