"""``manage.py link_cognito``: an account for a user of Cognito whom no address gives one."""

import re
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from ctj_api.accounts.linking import link
from ctj_api.models import UserProfile


class Command(BaseCommand):
    """Link an account."""

    help = (
        "Let a user of the pool in COGNITO_USER_POOL have an account, which an administrator's has to be given. "
        "An administrator keeps the password; anybody else's, and their sessions, end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the account and the user."""
        parser.add_argument("email", metavar="EMAIL", help="the address of the account")
        parser.add_argument("sub", metavar="SUB", help="the user's sub in Cognito")

    @transaction.atomic
    def handle(self, *args: Any, email: str, sub: str, **options: Any) -> None:
        """Link the account and say so; raises ``CommandError`` where one of the two is unknown or has another."""
        pool = settings.COGNITO_USER_POOL
        if not pool:
            raise CommandError("Set COGNITO_USER_POOL.")
        if not re.fullmatch("[!-~]{1,255}", sub):
            raise CommandError("A sub has 1 to 255 visible characters of ASCII.")
        user = UserProfile.objects.select_for_update(no_key=True).filter(email=email).first()
        if user is None:
            raise CommandError(f"There is no account with the address {email}.")
        if user.cognito_sub:
            raise CommandError(f"{user} is linked to {user.cognito_sub} already. Unlink it in the admin first.")
        if owner := UserProfile.objects.filter(cognito_pool=pool, cognito_sub=sub).first():
            raise CommandError(f"This sub has the account {owner} already. Unlink that in the admin first.")
        link(user, pool, sub)
        self.stdout.write(f"{user} is the account of {sub} of {pool} now.")
