"""Which account a token of Cognito means (docs/decisions/0047-pool-and-sub.md)."""

import logging
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.exceptions import PermissionDenied

from ctj_api.models import UserProfile

from .sessions import end_sessions

UNVERIFIED = "Verify your e-mail address where you sign in, then sign in anew."
UNUSABLE = "Give a plain e-mail address where you sign in, then sign in anew: this one can't be used here."
ADMINISTRATORS = "This address is an administrator's. Ask who runs the server for: manage.py link_cognito {} {}"
ANOTHERS = "The account with this address belongs to another user of Cognito. Ask an administrator to unlink it."

logger = logging.getLogger(__name__)


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
    auth_time: int = 0  # when the owner last proved who they are


class CognitoBackend(ModelBackend):
    """The backend of the sessions that a sign-in by Cognito begins; it knows no passwords."""

    def authenticate(self, request: HttpRequest | None, *args: Any, **credentials: Any) -> None:
        """Leave passwords to the other backend."""


def account_of(claims: Claims) -> UserProfile:
    """Return the account of the token's owner, be it inactive; raises ``PermissionDenied`` for who may have none."""
    try:
        return _account_of(claims)
    except IntegrityError:  # another request came first, whose account is found now
        return _account_of(claims)


def link(user: UserProfile, pool: str, sub: str) -> None:
    """Give an account to a user of Cognito; unless it is an administrator's, its password and sessions end."""
    user.cognito_pool, user.cognito_sub = pool, sub
    told = ["user of Cognito"]
    if not user.is_superuser:  # nobody has proved the address before, so somebody else may have registered it
        user.set_unusable_password()
        end_sessions(user)
        told.append("password, which has ended")
    user.save(update_fields=["cognito_pool", "cognito_sub", "password", "updated_at"])
    LogEntry.objects.log_actions(user.pk, [user], CHANGE, [{"changed": {"fields": told}}])


def _account_of(claims: Claims) -> UserProfile:
    known = UserProfile.objects.filter(cognito_pool=claims.pool, cognito_sub=claims.sub)
    user = known.first() or _account_by_address(claims)
    if user.is_active:
        _take_over(user, claims)
    return user


@transaction.atomic
def _account_by_address(claims: Claims) -> UserProfile:
    """Return the account that is made for a token's owner, or linked; an inactive one is left as it is."""
    if not (claims.email and claims.email_verified):
        raise PermissionDenied(UNVERIFIED)
    if not (address := _cleaned("email", claims.email)):
        raise PermissionDenied(UNUSABLE)
    user = UserProfile.objects.select_for_update(no_key=True).filter(email=address).first()
    if user is None:
        return UserProfile.objects.create_user(address, cognito_pool=claims.pool, cognito_sub=claims.sub)
    if not user.is_active or (user.cognito_pool, user.cognito_sub) == (claims.pool, claims.sub):
        return user
    if user.cognito_sub:
        logger.warning("A token was refused: its address is that of account %s, which is another user's", user.pk)
        raise PermissionDenied(ANOTHERS)
    if user.is_superuser:
        raise PermissionDenied(ADMINISTRATORS.format(address, claims.sub))
    link(user, claims.pool, claims.sub)
    return user


def _take_over(user: UserProfile, claims: Claims) -> None:
    """Store the names of a token that may be names here, and its address where that is verified and free."""
    values = {name: _cleaned(name, getattr(claims, name)) for name in ("first_name", "last_name")}
    if claims.email and claims.email.lower() != user.email:
        address = _cleaned("email", claims.email)
        if claims.email_verified and address and not UserProfile.objects.filter(email=address).exists():
            values["email"] = address
        else:
            logger.warning("Account %s keeps its address: the token's is not verified, not plain or taken", user.pk)
    changed = {name: value for name, value in values.items() if value and value != getattr(user, name)}
    for name, value in changed.items():
        setattr(user, name, value)
    if changed:
        with transaction.atomic():
            UserProfile.objects.filter(pk=user.pk).update(**changed, updated_at=timezone.now())


def _cleaned(name: str, value: str) -> str:
    """Return the value as an account has it, or nothing for one that none may have."""
    field: Any = UserProfile._meta.get_field(name)
    try:
        field.run_validators(value.strip())  # in lower case, an address could be another one
        return str(field.to_python(value.strip()))
    except ValidationError:
        return ""
