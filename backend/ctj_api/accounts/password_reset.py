"""How somebody who forgot their password gets a new one: by a mailed link that works once, and not for long.

``docs/decisions/0021-passwords-and-reset.md`` says why.
"""

import logging
from email.policy import default as default_policy
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.db import transaction
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from ctj_api.accounts.client_address import address_key
from ctj_api.models import UserProfile
from ctj_api.validators import is_uuid

from .limits import Limit
from .mail import do_later
from .sign_in import Attempt

logger = logging.getLogger(__name__)

# RFC 5322, 2.1.1. The default of 78 would break a link, which nobody could copy from the log then.
MAX_LINE = 998


class Mail(EmailMessage):
    """A mail whose lines stay as they are."""

    def message(self, *, policy: Any = default_policy) -> Any:
        """Return it as it is sent."""
        return super().message(policy=policy.clone(max_line_length=MAX_LINE))


def send_reset_link(email: str) -> None:
    """Mail a link to the owner of the active account, if there is one, and if not too many went there already.

    Otherwise as much is done for a stand-in: who has an account is not told by what a process is busy with.
    """
    is_allowed = Limit("password mail", settings.PASSWORD_MAIL_RATE).wait_after_counting(email.lower()) == 0
    user = UserProfile.objects.filter(email=email, is_active=True).first()
    recipient = user if user is not None and is_allowed else UserProfile(email=email)
    do_later(partial(_mail, recipient, "Choose a new password for CivicTechJobs", "password_link"))


def locked_owner(uid: str, token: str) -> UserProfile | None:
    """Return whose link this is, locked until the transaction ends; ``None`` for one that is wrong, used or too old."""
    try:
        key = urlsafe_base64_decode(uid).decode("ascii")
    except ValueError:
        return None
    if not is_uuid(key):
        return None
    user = UserProfile.objects.select_for_update(no_key=True).filter(pk=key, is_active=True).first()
    return user if user is not None and default_token_generator.check_token(user, token) else None


def change_password(user: UserProfile, password: str, request: HttpRequest) -> None:
    """Store the password, which ends all sessions and uses up the link, and tell the owner by mail."""
    user.set_password(password)
    user.save(update_fields=["password", "updated_at"])
    Attempt(user.email, address_key(request)).forgive()
    mail = partial(_mail, user, "Your CivicTechJobs password has been changed", "password_changed")
    transaction.on_commit(lambda: do_later(mail))


def _mail(user: UserProfile, subject: str, template: str) -> None:
    """Make a mail, and send it unless ``user`` is a stand-in; a failure is told without its text, maybe the address."""
    try:
        text = render_to_string(f"ctj_api/mail/{template}.txt", _context(user))
        message = Mail(subject, text, to=[user.email])
        if user._state.adding:
            message.message().as_bytes()
        else:
            message.send()
    except Exception as error:  # noqa: BLE001 (nobody else would hear of it)
        logger.error("A mail to user %s could not be sent: %s", user.pk, type(error).__name__)  # noqa: TRY400


def _context(user: UserProfile) -> dict[str, object]:
    token = default_token_generator.make_token(user)
    query = urlencode({"uid": urlsafe_base64_encode(force_bytes(user.pk)), "token": token})
    return {
        "link": f"{settings.PASSWORD_RESET_URL}?{query}",
        "minutes": settings.PASSWORD_RESET_TIMEOUT // 60,
    }
