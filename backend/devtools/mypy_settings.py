"""The settings as mypy reads them, also where nobody has made a ``.env`` yet."""

import os

os.environ.setdefault("DJANGO_DEBUG", "true")
os.environ.setdefault("DJANGO_SECRET_KEY", "unused")

from backend import environment
from backend.settings import *  # noqa: F403 (it stands for all of them)

BASE_DIR = environment.BASE_DIR
