"""The one Django app: everything that CivicTechJobs itself owns."""

from django.apps import AppConfig
from django.contrib.auth import user_logged_in


class CtjApiConfig(AppConfig):
    """Name the app as the admin shows it."""

    name = "ctj_api"
    verbose_name = "CivicTechJobs"

    def ready(self) -> None:
        """Leave the time of the last sign-in to the sessions."""
        user_logged_in.disconnect(dispatch_uid="update_last_login")
