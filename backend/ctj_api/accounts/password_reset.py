"""New passwords for people who forgot theirs, by a mailed link that works once (``docs/decisions/0021-*.md``)."""

from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from rest_framework.exceptions import NotAuthenticated

from ctj_api.models import UserProfile

from .client_address import address_key
from .limits import Limit
from .mail import UnwrappedMessage, send_later
from .sessions import end_sessions
from .sign_in import Attempt


class LinkTokenGenerator(PasswordResetTokenGenerator):
    """Django's tokens, which another password or address ends, but not a sign-in."""

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        return f"{user.pk}{user.password}{timestamp}{user.email}"


link_tokens = LinkTokenGenerator()


def send_reset_link(email: str) -> None:
    """Mail a link to the account's owner; do the same without an account, so that timing reveals nothing."""
    is_allowed = Limit("password mail", settings.PASSWORD_MAIL_RATE, email.lower()).count() == 0
    user = UserProfile.objects.filter(email=email, is_active=True).first()
    recipient = user if user is not None and is_allowed else UserProfile(email=email)
    send_later(partial(_mail, recipient, "Choose a new password for CivicTechJobs", "password_link"))


def locked_owner(uid: str, token: str) -> UserProfile | None:
    """Return whose link this is, locked until the transaction ends, or ``None`` if it is wrong, used or too old."""
    try:
        key = UUID(urlsafe_base64_decode(uid).decode("ascii"))
    except ValueError:
        return None
    user = UserProfile.objects.select_for_update(no_key=True).filter(pk=key, is_active=True).first()
    return user if user is not None and link_tokens.check_token(user, token) else None


def locked_if_unchanged(confirmed: UserProfile) -> UserProfile:
    """Return the account, locked; raises ``NotAuthenticated`` where its password is another one by now."""
    unchanged = UserProfile.objects.select_for_update().filter(pk=confirmed.pk, password=confirmed.password)
    if (owner := unchanged.first()) is None:
        raise NotAuthenticated
    return owner


@transaction.atomic
def change_password(user: UserProfile, password: str, request: HttpRequest) -> None:
    """Store the password, which ends all sessions and all links, and tell the owner by mail."""
    user.set_password(password)
    user.save(update_fields=["password", "updated_at"])
    end_sessions(user)
    Attempt(user.email, address_key(request)).forgive()
    mail = partial(_mail, user, "Your CivicTechJobs password has been changed", "password_changed")
    transaction.on_commit(lambda: send_later(mail))


def _mail(user: UserProfile, subject: str, template: str) -> None:
    """Make a mail, and send it unless ``user`` only stands in for nobody."""
    token = link_tokens.make_token(user)
    query = urlencode({"uid": urlsafe_base64_encode(force_bytes(user.pk)), "token": token})
    link, minutes = f"{settings.PASSWORD_RESET_URL}?{query}", settings.PASSWORD_RESET_TIMEOUT // 60
    text = render_to_string(f"ctj_api/mail/{template}.txt", {"link": link, "minutes": minutes})
    message = UnwrappedMessage(subject, text, to=[user.email])
    if user._state.adding:
        message.message().as_bytes()
    else:
        message.send()
