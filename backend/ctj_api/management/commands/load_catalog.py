"""``manage.py load_catalog``: the catalog from a JSON file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ctj_api.catalog.loading import SHIPPED_CATALOG, load_catalog, read_catalog


class Command(BaseCommand):
    """Bring the database up to a catalog file."""

    help = (
        "Load communities of practice, roles, skills and projects from a JSON file. "
        "Nothing is deleted; running it again changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the file and ``--if-empty``."""
        parser.add_argument(
            "file", nargs="?", type=Path, default=SHIPPED_CATALOG, help="default: the Hack for LA catalog that ships"
        )
        parser.add_argument("--if-empty", action="store_true", help="do nothing when there is any skill")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load the file and say what changed; raises ``CatalogError`` where that can't be done."""
        changes = load_catalog(read_catalog(Path(options["file"])), only_if_empty=options["if_empty"])
        self.stdout.write(f"Catalog: {', '.join(f'{count} {name}' for name, count in changes.items())}.")
