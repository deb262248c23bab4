"""``manage.py seed_demo``: accounts and listings to show the site with."""

import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ctj_api.catalog.demo import Demo


class Command(BaseCommand):
    """Add what is missing of a demo."""

    help = (
        "Add demo accounts and listings. Project managers are pm1@example.org, pm2@example.org and so on (one for "
        "every ten opportunities, at least two), volunteers volunteer1@example.org and so on. The same seed gives the "
        "same rows, and a larger demo contains the smaller one; rows that are there already are left as they are. "
        "For development only."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the size of the demo, the seed and the password."""
        parser.add_argument("--opportunities", type=int, default=40, metavar="N", help="default: 40")
        parser.add_argument("--volunteers", type=int, default=30, metavar="N", help="default: 30")
        parser.add_argument("--seed", type=int, default=1, metavar="K", help="default: 1")
        parser.add_argument("--password", metavar="P", help="of the added accounts; default: a random one, printed")

    def handle(self, *args: Any, password: str | None, **options: Any) -> None:
        """Add the rows; raises ``CommandError`` in production."""
        if not settings.DEBUG:
            raise CommandError("seed_demo runs in development only (DJANGO_DEBUG=true): its accounts are well known.")
        used = secrets.token_urlsafe(12) if password is None else password
        demo = Demo(options["seed"], make_password(used))
        managers, volunteers, listings = demo.add(options["opportunities"], options["volunteers"])
        added = f"{listings} opportunities, {managers} project managers and {volunteers} volunteers"
        self.stdout.write(f"Demo: {added} added.")
        if password is None and managers + volunteers:
            self.stdout.write(f"The added accounts have the password {used}")
