"""Whether the settings are complete: a server that is half configured doesn't start, and says all that is missing."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvValidationError

from backend.environment import is_local

MIN_SECRET_KEY = 50
MIN_SECRET_CHARACTERS = 5
MIN_TOKEN = 20
# Who reads the traffic of this machine alone reads the links anyway.
RESET_PAGE = re.compile(r"(https://|http://(localhost|127\.0\.0\.1)(:\d+)?/)[^?#]*[^?#/][^?#]*")


def check_settings(settings: dict[str, Any], environment: Env) -> None:
    """Raise ``ImproperlyConfigured``, with a line for each setting that is missing or can't be used."""
    problems = list(_unreadable(environment))
    if not settings["SECRET_KEY"]:
        problems.append("set DJANGO_SECRET_KEY to a long random string")
    if settings["IDENTITY_PROVIDER"] == "cognito":
        problems += _unfit_cognito(settings)
    if settings["CATALOG_SOURCE"] == "peopledepot" or settings["PEOPLEDEPOT_URL"]:
        problems += _unfit_people_depot(settings)
    if not settings["DEBUG"]:
        problems += _unfit_for_production(settings)
    if problems:
        lines = "".join(f"\n- {problem}" for problem in sorted(problems))
        raise ImproperlyConfigured(
            f"The settings are not complete:{lines}\nIn development set DJANGO_DEBUG=true as well. "
            "docs/deployment-infra.md has all settings."
        )


def _unreadable(environment: Env) -> Iterator[str]:
    try:
        environment.seal()
    except EnvValidationError as error:
        for name, messages in cast("Mapping[str, list[str]]", error.error_messages).items():
            yield f"{name}: {' '.join(map(str, messages))}"


def _unfit_cognito(settings: dict[str, Any]) -> Iterator[str]:
    for name in ("COGNITO_AWS_REGION", "COGNITO_USER_POOL", "COGNITO_APP_CLIENT_ID"):
        if not settings[name]:
            yield f"set {name}, as IDENTITY_PROVIDER is cognito"
    if not (settings["COGNITO_USER_POOL"] or "").startswith(f"{settings['COGNITO_AWS_REGION']}_"):
        yield "set COGNITO_USER_POOL to the id of a pool of COGNITO_AWS_REGION, such as us-west-2_AbCdEfGhI"
    addresses = {name: (settings[name] or "").split() for name in ("COGNITO_JWKS_URL", "COGNITO_DOMAIN")}
    for name, urls in {**addresses, "COGNITO_ISSUERS": settings["COGNITO_ISSUERS"] or [""]}.items():
        if not all(_is_safe_url(url, settings) for url in urls):
            yield f"set {name} to an address by https://"
    bridge = ("COGNITO_DOMAIN", "COGNITO_ADMIN_CLIENT_ID", "COGNITO_ADMIN_CLIENT_SECRET")
    if any(settings[name] for name in bridge):
        yield from (f"set {name}, too, or none of {', '.join(bridge)}" for name in bridge if not settings[name])
    if settings["COGNITO_ADMIN_CLIENT_ID"] in (settings["COGNITO_APP_CLIENT_ID"] or ()):
        yield "set COGNITO_ADMIN_CLIENT_ID to a client of its own, whose tokens the API refuses"


def _unfit_people_depot(settings: dict[str, Any]) -> Iterator[str]:
    url = settings["PEOPLEDEPOT_URL"] or ""
    if not _is_safe_url(url, settings) or "/api/v1" in url:
        yield "set PEOPLEDEPOT_URL to PeopleDepot's address by https://, without /api/v1/"
    if not settings["PEOPLEDEPOT_TOKEN"]:
        yield "set PEOPLEDEPOT_TOKEN, or PEOPLEDEPOT_TOKEN_FILE to a file with it"


def _is_safe_url(url: str, settings: dict[str, Any]) -> bool:
    """Return whether ``url`` leads to a server by TLS, or to this machine while debugging, and holds no password."""
    try:
        parts = urlsplit(url)
        is_loopback = parts.scheme == "http" and is_local(parts.hostname or "example.org") and settings["DEBUG"]
        return bool(parts.hostname) and not set("@?# ") & set(url) and (parts.scheme == "https" or is_loopback)
    except ValueError:
        return False


def _unfit_for_production(settings: dict[str, Any]) -> Iterator[str]:
    yield from _weak_secrets(settings)
    yield from _too_open(settings)
    if settings["SECURE_PROXY_SSL_HEADER"] and not settings["TRUSTED_PROXIES"]:
        yield "set TRUSTED_PROXIES to the proxy's addresses: else who guesses passwords locks everybody out"
    if settings["MAIL"] == "smtp" and not settings["EMAIL_HOST"]:
        yield "set EMAIL_HOST to a mail server, or EMAIL_BACKEND to console to have mails written to the log"
    if settings["MAIL"] == "smtp" and "@localhost" in (settings["DEFAULT_FROM_EMAIL"] or "@localhost"):
        yield "set DEFAULT_FROM_EMAIL to the address that mails come from"
    if not settings["SQL_HOST"]:
        yield "set SQL_HOST (with SQL_USER, SQL_PASSWORD, SQL_DATABASE) to an external PostgreSQL"
    if settings["SQL_SSLMODE"] == "prefer" and not is_local(settings["SQL_HOST"]):
        yield "set SQL_SSLMODE to verify-full, or where the network is your own to less: require, or disable"
    if settings["LOG_FORMAT"] == "console":
        yield "set LOG_FORMAT to json: console writes what exceptions quote, which may be anybody's data"


def _weak_secrets(settings: dict[str, Any]) -> Iterator[str]:
    if settings["SECRET_KEY"] and _is_weak_key(settings["SECRET_KEY"]):
        yield f"set DJANGO_SECRET_KEY to a longer one: {MIN_SECRET_KEY} random characters at least"
    if any(map(_is_weak_key, settings["SECRET_KEY_FALLBACKS"] or ())):
        yield "set DJANGO_SECRET_KEY_FALLBACKS to keys that were as long: what they sign is believed"
    if settings["METRICS_TOKEN"] and len(settings["METRICS_TOKEN"]) < MIN_TOKEN:
        yield f"set METRICS_TOKEN to a longer one: {MIN_TOKEN} random characters at least"


def _is_weak_key(key: str) -> bool:
    is_from_startproject = key.startswith("django-insecure-")
    return is_from_startproject or len(key) < MIN_SECRET_KEY or len(set(key)) < MIN_SECRET_CHARACTERS


def _too_open(settings: dict[str, Any]) -> Iterator[str]:
    if not settings["ALLOWED_HOSTS"]:
        yield "set DJANGO_ALLOWED_HOSTS to the host names that the API is reached by"
    if "*" in (settings["ALLOWED_HOSTS"] or ()):
        yield "set DJANGO_ALLOWED_HOSTS to names: with * a link could lead to any host"
    if not RESET_PAGE.fullmatch(settings["PASSWORD_RESET_URL"] or ""):
        yield "set PASSWORD_RESET_URL to the front end's page for a new password, by https://"
    for name in ("TRUSTED_PROXIES", "METRICS_ALLOWED_NETWORKS"):
        if any(network.prefixlen == 0 for network in settings[name] or ()):
            yield f"set {name} to networks of your own: everybody is in this one"
