"""Who keeps skills, roles and projects: this database, or PeopleDepot, whose rows synchronisations copy."""

from django.conf import settings
from django.db import connection

from ctj_api.enums import Source

KEPT_ELSEWHERE = "PeopleDepot keeps the catalog: change it there, and run sync_peopledepot."


def is_kept_elsewhere() -> bool:
    """Return whether PeopleDepot keeps the catalogs, so that they aren't changed here."""
    return settings.CATALOG_SOURCE == Source.PEOPLE_DEPOT


def hold_off_synchronisation() -> None:
    """Wait while a synchronisation writes, and let none begin before this transaction ends, so that checks hold."""
    if is_kept_elsewhere():
        with connection.cursor() as cursor:
            # The first table that a synchronisation locks: while it waits for this one, nobody waits for it.
            cursor.execute("LOCK TABLE ctj_api_skill IN ROW SHARE MODE")
