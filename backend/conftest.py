"""What all tests share: a fast password hasher, static files that nobody has to collect first, and a quiet log."""

import logging

import hypothesis
import pytest
from django.test import TransactionTestCase
from pytest_django import Settings

from ctj_api.http.kept_answers import KeptAnswers


def pytest_configure() -> None:
    """Have a failing test print its failure and the warnings before it, but not a line for each of its requests."""
    root = logging.getLogger()
    root.handlers.clear()  # pytest shows what is logged
    for logger in (root, logging.getLogger("django")):
        logger.setLevel(logging.WARNING)
    TransactionTestCase.serialized_rollback = True  # the migrations make rows


@pytest.fixture(autouse=True)
def quick_settings(settings: Settings) -> None:
    """Replace what only costs time in tests, and let a test write more than a person does."""
    settings.WRITE_RATE = (1_000_000, 60)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture(autouse=True)
def no_answers_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test begin with no kept answers, as a process does."""
    monkeypatch.setattr("ctj_api.http.caching.ANSWERS", KeptAnswers(10_000_000))


# A busy machine is no defect: benchmarks measure time, tests don't.
hypothesis.settings.register_profile("without_deadline", deadline=None)
hypothesis.settings.load_profile("without_deadline")
