"""The one Django app: everything that CivicTechJobs itself owns."""

from django.apps import AppConfig


class CtjApiConfig(AppConfig):
    """Name the app as the admin shows it."""

    name = "ctj_api"
    verbose_name = "CivicTechJobs"
