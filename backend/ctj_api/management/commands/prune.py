"""``manage.py prune``: ends what is kept for a time only; run it once a day."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from ctj_api.models import DeletedOpportunity


class Command(BaseCommand):
    """End what is outdated."""

    help = "Delete the listings that can't be restored any more and outdated sessions."

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete the outdated rows, and say how many listings are gone for good."""
        gone, _ = DeletedOpportunity.objects.outdated().delete()
        call_command("clearsessions")
        self.stdout.write(f"{gone} deleted opportunities are gone for good.")
