"""The configuration of Django's own applications, and of the database's sessions."""

from typing import Any

from django.conf import settings
from django.contrib.admin.apps import AdminConfig
from django.db.backends.signals import connection_created
from psycopg import Error


class CivicTechJobsAdminConfig(AdminConfig):
    """The admin, with a site of our own."""

    default_site = "ctj_api.desk.site.CivicTechJobsAdminSite"

    def ready(self) -> None:
        """Have each new connection to the database begin with our settings."""
        super().ready()
        connection_created.connect(_begin_session)


def _begin_session(connection: Any, **_: object) -> None:
    """Set the limits, or give the connection up: a statement that is cancelled here would leave it without any."""
    try:
        connection.connection.execute(settings.SQL_SESSION)
    except Error:
        connection.close()
        raise
