"""``manage.py link_cognito``: an account for a user of Cognito whom no address gives one."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from ctj_api.accounts.linking import link
from ctj_api.auth import SUB
from ctj_api.models import UserProfile


class Command(BaseCommand):
    """Link an account."""

    help = "Give an account to a user of COGNITO_USER_POOL; unless it is an administrator's, its password ends."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the account's address, and who it is for."""
        parser.add_argument("email")
        parser.add_argument("sub")

    @transaction.atomic
    def handle(self, *args: Any, email: str, sub: str, **options: Any) -> None:
        """Link the account and say so; raises ``CommandError`` where one of the two is unknown or has another."""
        pool = settings.COGNITO_USER_POOL
        user = UserProfile.objects.select_for_update(no_key=True).filter(email=email).first()
        owner = UserProfile.objects.filter(cognito_pool=pool, cognito_sub=sub).first()
        if not pool or not SUB.fullmatch(sub):
            raise CommandError("Set COGNITO_USER_POOL, and give a sub of 1 to 255 characters of ASCII.")
        if user is None:
            raise CommandError(f"There is no account with the address {email}.")
        if user.cognito_sub or owner:
            raise CommandError(f"{owner or user} is linked already: unlink it in the admin first.")
        link(user, pool, sub)
        self.stdout.write(f"{user} is linked to {sub} now.")
