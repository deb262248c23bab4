"""The project's settings, with the routes of the benchmarks beside its own."""

from backend.settings import *  # noqa: F403 (all of them)

ROOT_URLCONF = "devtools.benchmarks.plain"
