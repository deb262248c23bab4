"""Where the project lies, and what its environment says, or else a ``.env`` beside ``manage.py``."""

from pathlib import Path

from environs import Env

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()
env.read_env(str(BASE_DIR / ".env"), recurse=False)
