"""``manage.py sync_peopledepot``: the catalogs from PeopleDepot."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connection

from ctj_api.catalog.source import is_kept_elsewhere
from ctj_api.catalog.sync import synchronise
from ctj_api.enums import SyncOutcome

ANOTHER_RUN, CONFLICTS = 3, 4


class Command(BaseCommand):
    """Bring the catalogs up to PeopleDepot's."""

    help = (
        "Bring skills, roles and projects up to PeopleDepot's lists, in one transaction or not at all. Exit status: "
        "0 done, 1 failed or refused and nothing written, 3 another run is on, 4 done but for conflicts."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare how to run."""
        parser.add_argument("--dry-run", action="store_true", help="print what would be done, and write nothing")
        parser.add_argument("--adopt", action="store_true", help="first give our rows their ids, by their names")
        parser.add_argument("--allow-retire", type=int, metavar="N", help="retire and rename exactly N rows")
        parser.add_argument("--every", type=float, metavar="MINUTES", help="run again and again, with these pauses")

    def handle(self, *args: Any, every: float | None, **options: Any) -> None:
        """Run once, or again and again; raises ``CommandError`` for what isn't done."""
        if every is None:
            self._synchronise(**options)
            return
        if every <= 0 or options["dry_run"] or options["adopt"] or options["allow_retire"] is not None:
            raise CommandError("--every takes a number of minutes above 0, and goes with no other option.")
        while True:
            try:
                self._synchronise(**options)
            except (CommandError, Error) as error:
                self.stderr.write(str(error))
            connection.close()
            time.sleep(every * 60)

    def _synchronise(self, *, dry_run: bool, adopt: bool, allow_retire: int | None, **_: Any) -> None:
        if not is_kept_elsewhere() and not adopt:
            raise CommandError("CATALOG_SOURCE is local: the catalogs are ours. Only --adopt runs before the switch.")
        if not settings.PEOPLEDEPOT_URL:
            raise CommandError("Set PEOPLEDEPOT_URL, and PEOPLEDEPOT_TOKEN or PEOPLEDEPOT_TOKEN_FILE.")
        run = synchronise(adopts=adopt, is_dry=dry_run, allowed=allow_retire)
        if run is None:
            raise CommandError("Another synchronisation is on.", returncode=ANOTHER_RUN)
        for kind, lines in run.plan.items():
            self.stdout.write("\n  ".join([f"{kind.capitalize()}:", *lines]))
        if run.outcome == SyncOutcome.CONFLICTS:
            raise CommandError("There are conflicts.", returncode=CONFLICTS)
        if run.outcome != SyncOutcome.DONE:
            raise CommandError(f"{run.get_outcome_display()}. {run.reason}")
