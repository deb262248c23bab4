"""``manage.py restore``: the database as it was when a backup was made."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from ctj_api.backups import BackupError, check_backup, restore


class Command(BaseCommand):
    """Brings back all or nothing, and asks for nothing."""

    help = (
        "Restore the database from a file of backup, or of pg_dump --format=custom: all of it, or nothing where "
        "anything fails. Everybody has to sign in again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the file, ``--replace`` and ``--check``."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--replace", action="store_true", help="lose what the database holds now")
        parser.add_argument("--check", action="store_true", help="read the whole file, and leave the database as it is")

    def handle(self, *args: Any, **options: Any) -> None:
        """Restore the file and say what was in it; raises ``CommandError`` where nothing was restored."""
        file: Path = options["file"]
        try:
            if options["check"]:
                self.stdout.write(f"{file} can be restored: {check_backup(file)}.")
            else:
                contents = restore(file, options["replace"])
                self.stdout.write(
                    f"Restored: {contents}. Run 'manage.py migrate' next, if the server is not started anew."
                )
        except (BackupError, Error, OSError) as error:
            raise CommandError(str(error)) from error
