"""``manage.py backup``: the database in one file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from ctj_api.backups import BackupError, back_up, back_up_to_stdout


class Command(BaseCommand):
    """Writes what the database holds at one moment; the server may go on meanwhile."""

    help = (
        "Write the database to a file, which restore and PostgreSQL's pg_restore read. The server may go on meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the file and ``--overwrite``."""
        parser.add_argument("file", type=Path, help="a file that is not there yet; - for the standard output")
        parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the file and say what is in it; raises ``CommandError`` where there is none."""
        file: Path = options["file"]
        try:
            if str(file) == "-":
                back_up_to_stdout()
            else:
                contents = back_up(file, options["overwrite"])
                size = file.stat().st_size / 1_000_000
                self.stdout.write(f"Backup: {file}, {size:,.1f} MB: {contents}.")
        except (BackupError, Error, OSError) as error:
            raise CommandError(str(error)) from error
