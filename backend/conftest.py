"""What all tests share: a fast password hasher, and static files that nobody has to collect first."""

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def quick_settings(settings: Settings) -> None:
    """Replace what only costs time in tests."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
