"""The configuration of Django's own applications."""

from django.contrib.admin.apps import AdminConfig


class CivicTechJobsAdminConfig(AdminConfig):
    """The admin, with a site of our own."""

    default_site = "ctj_api.desk.site.CivicTechJobsAdminSite"
