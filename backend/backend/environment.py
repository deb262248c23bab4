"""What the environment says, or else a ``.env`` beside ``manage.py``, and where the project lies."""

import hashlib
import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from environs import FileAwareEnv
from marshmallow import ValidationError

BASE_DIR = Path(__file__).resolve().parent.parent
EMBEDDED_DATABASE = "civictechjobs"
EMBEDDED_USER = "postgres"
EMBEDDED_PORT = 5432  # no TCP port: a part of the socket's file name
LONGEST_SOCKET_PATH = 100  # the limit is 108 on Linux and 104 on macOS
# TMPDIR may differ from one shell to the next, and be long itself. What is in there is checked before it is used.
SHORT_DIRECTORY = Path("/tmp")  # nosec B108
LOCAL_HOST = re.compile(r"[/@].*|localhost|127(\.\d{1,3}){3}|::1")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Environment(FileAwareEnv):
    """Names secrets' files that can't be read among what else is wrong."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        try:
            return super()._get_value(env_key, default)
        except ValueError as error:
            self._errors[env_key].append(str(error))
            return default


def read_environment(*, eager: bool) -> Environment:
    """Return a reader of settings that raises for the first wrong value, or else for all of them when it is sealed."""
    environment = Environment(eager=eager, strip_whitespace=True)
    environment.read_env(str(BASE_DIR / ".env"), recurse=False)
    environment.add_parser("rate", parse_rate)
    environment.add_parser("networks", _networks)
    environment.add_parser("texts", lambda text: [part.strip() for part in text.split(",") if part.strip()])
    return environment


def data_directory() -> Path:
    """Return the folder of the embedded database: ``DATA_DIR``, or ``backend/.data``."""
    return BASE_DIR / (env.str("DATA_DIR", "") or ".data")


def is_local(hosts: str) -> bool:
    """Whether all these hosts, with commas between them, are sockets or addresses of this machine."""
    return all(map(LOCAL_HOST.fullmatch, hosts.split(",")))


def socket_directory(data_dir: Path) -> Path:
    """Return the folder of the embedded database's socket, which is a short one where the path would be too long."""
    home = data_dir / "postgres"
    if len(os.fsencode(home / f".s.PGSQL.{EMBEDDED_PORT}")) <= LONGEST_SOCKET_PATH:
        return home
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return SHORT_DIRECTORY / f"{EMBEDDED_DATABASE}-{digest}"


def parse_rate(text: str) -> tuple[int, int]:
    """Return attempts and seconds of a text like ``5/15m``; raises ``ValidationError`` for any other."""
    match = re.fullmatch(r"([1-9]\d{0,6})/([1-9]\d{0,3})([smhd])", text.strip(), re.ASCII)
    if match is None:
        raise ValidationError(f'"{text}" is no rate such as 5/15m: attempts, and a number of s, m, h or d')
    attempts, number, unit = match.groups()
    return int(attempts), int(number) * SECONDS[unit]


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise ValidationError(str(error)) from error


env = read_environment(eager=True)
