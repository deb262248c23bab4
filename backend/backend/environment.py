"""Where the project lies, and what its environment says, or else a ``.env`` beside ``manage.py``."""

from ipaddress import ip_network
from pathlib import Path

from environs import Env

from backend.rates import Rate

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()
env.read_env(str(BASE_DIR / ".env"), recurse=False)


# The types of settings that environs doesn't know.
env.add_parser("rate", Rate.parse)
env.add_parser("networks", lambda text: tuple(ip_network(part.strip()) for part in text.split(",") if part.strip()))
