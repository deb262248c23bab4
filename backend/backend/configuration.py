"""Whether the settings are complete: a server that is half configured doesn't start, and says all that is missing."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvValidationError

MIN_SECRET_KEY = 50
MIN_SECRET_CHARACTERS = 5


def check_settings(settings: dict[str, Any], environment: Env) -> None:
    """Raise ``ImproperlyConfigured``, with a line for each setting that is missing or can't be used."""
    problems = [*_unreadable(environment), *_missing(settings)]
    if not settings["DEBUG"]:
        problems += _unfit_for_production(settings)
    if problems:
        lines = "".join(f"\n- {problem}" for problem in sorted(problems))
        raise ImproperlyConfigured(
            f"The settings are not complete:{lines}\nIn development set DJANGO_DEBUG=true as well. "
            "docs/operations.md has all settings."
        )


def _unreadable(environment: Env) -> Iterator[str]:
    try:
        environment.seal()
    except EnvValidationError as error:
        for name, messages in cast("Mapping[str, list[str]]", error.error_messages).items():
            yield f"{name}: {' '.join(map(str, messages))}"


def _missing(settings: dict[str, Any]) -> Iterator[str]:
    if not settings["SECRET_KEY"]:
        yield "set DJANGO_SECRET_KEY to a long random string"


def _unfit_for_production(settings: dict[str, Any]) -> Iterator[str]:
    key = settings["SECRET_KEY"]
    if key and (len(key) < MIN_SECRET_KEY or len(set(key)) < MIN_SECRET_CHARACTERS):
        yield f"set DJANGO_SECRET_KEY to a longer one: {MIN_SECRET_KEY} random characters at least"
    if not settings["SQL_HOST"]:
        yield "set SQL_HOST (with SQL_USER, SQL_PASSWORD, SQL_DATABASE) to an external PostgreSQL"
    if not settings["ALLOWED_HOSTS"]:
        yield "set DJANGO_ALLOWED_HOSTS to the host names that the API is reached by"
    if "*" in (settings["ALLOWED_HOSTS"] or ()):
        yield "set DJANGO_ALLOWED_HOSTS to names: with * a link could lead to any host"
    if any("://" not in origin for origin in settings["CSRF_TRUSTED_ORIGINS"] or ()):
        yield "set DJANGO_CSRF_TRUSTED_ORIGINS to origins with their scheme, such as https://jobs.example.org"
    if not re.fullmatch(r"https?://[^?#]+", settings["PASSWORD_RESET_URL"] or ""):
        yield "set PASSWORD_RESET_URL to the front end's page for a new password, such as https://jobs.example.org/new"
    if settings["MAIL"] == "smtp" and not settings["EMAIL_HOST"]:
        yield "set EMAIL_HOST to a mail server, or EMAIL_BACKEND to console to have mails written to the log"
