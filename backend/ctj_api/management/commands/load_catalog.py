"""``manage.py load_catalog``: the catalog from a JSON file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from ctj_api.catalog.loading import SHIPPED_CATALOG, load_catalog, read_catalog
from ctj_api.catalog.merging import merge_aliases

PROPOSED = "Stored under other or former names; --merge renames these skills, or merges them with all ratings:"
MERGED = "Renamed, or merged with all ratings:"


class Command(BaseCommand):
    """Bring the database up to a catalog file."""

    help = (
        "Load communities of practice, roles, skills and projects from a JSON file. "
        "Without --merge nothing is deleted; running it again changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the file, ``--if-empty`` and ``--merge``."""
        parser.add_argument("file", nargs="?", type=Path, default=SHIPPED_CATALOG, help="default: the shipped one")
        ways = parser.add_mutually_exclusive_group()
        ways.add_argument("--if-empty", action="store_true", help="do nothing when there is any skill")
        ways.add_argument("--merge", action="store_true", help="rename or merge what has another name now")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load the file and say what changed; raises ``CatalogError`` where that can't be done."""
        catalog = read_catalog(Path(options["file"]))
        with transaction.atomic():
            lines = merge_aliases(catalog, is_dry=not options["merge"])
            changes = load_catalog(catalog, only_if_empty=options["if_empty"])
        self.stdout.write(f"Catalog: {', '.join(f'{count} {name}' for name, count in changes.items())}.")
        if lines and not options["if_empty"]:
            self.stdout.write("\n  ".join([MERGED if options["merge"] else PROPOSED, *lines]))
