"""Where the project lies, and what its environment says, or else a ``.env`` beside ``manage.py``."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from environs import FileAwareEnv
from marshmallow import ValidationError

from backend.rates import Rate

BASE_DIR = Path(__file__).resolve().parent.parent


class Environment(FileAwareEnv):
    """Reads settings, and collects what is wrong with them, a secret's file that can't be read included."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        try:
            return super()._get_value(env_key, default)
        except ValueError as error:
            if self.eager:
                raise
            self._errors[env_key].append(str(error))
            return default


def read_environment(*, eager: bool) -> Environment:
    """Return what reads the environment; a secret may also lie in the file that ``NAME_FILE`` names.

    An eager one raises for the first wrong value, the other one when it is sealed, for all of them.
    """
    environment = Environment(eager=eager, strip_whitespace=True)
    environment.read_env(str(BASE_DIR / ".env"), recurse=False)
    environment.add_parser("rate", _checked(Rate.parse))
    environment.add_parser("networks", _checked(_networks))
    environment.add_parser("texts", _texts)
    return environment


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part) for part in text.replace(",", " ").split())


def _texts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _checked[T](parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return the parser with the exception that environs collects."""

    def parse_setting(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    return parse_setting


env = read_environment(eager=True)
