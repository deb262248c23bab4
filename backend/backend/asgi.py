"""The ASGI application: ``backend.asgi:application``."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")
django.setup(set_prefix=False)

from serving.handlers import OneHopHandler  # noqa: E402 (what it imports asks the settings)

application = OneHopHandler()
