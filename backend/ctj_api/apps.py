"""The one Django app: everything that CivicTechJobs itself owns."""

from django.apps import AppConfig


class CtjApiConfig(AppConfig):
    """Name the app as the admin shows it."""

    name = "ctj_api"
    verbose_name = "CivicTechJobs"

    def ready(self) -> None:
        """Register the description of the authentication with drf-spectacular."""
        from .http import schema  # noqa: F401, PLC0415
