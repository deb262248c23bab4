"""The ASGI application: ``backend.asgi:application``."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")
django.setup(set_prefix=False)

from serving.handlers import ThreadPoolHandler  # noqa: E402 (it reads the settings)

application = ThreadPoolHandler()
