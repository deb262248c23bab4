"""Fills a database by any version of the code, and tells as JSON who and what is in it.

It runs as a file, with the folder of that version as ``PYTHONPATH``.
"""

import json
import sys

import django
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction
from django.test import Client

VOLUNTEERS = 50
MANAGERS = 4
CATALOG = {"communities": "CommunityOfPractice", "projects": "Project", "roles": "Role", "skills": "Skill"}


def main() -> None:
    """Migrate, load the catalog, and make accounts, which have no password."""
    django.setup(set_prefix=False)
    call_command("migrate", verbosity=0)
    call_command("load_catalog", if_empty=True, stdout=sys.stderr)
    content: dict[str, object] = {}
    for name, model in CATALOG.items():
        content[name] = [str(row.pk) for row in apps.get_model("ctj_api", model)._default_manager.all()]
    with transaction.atomic():
        content["volunteers"] = dict(_account(f"volunteer{number}") for number in range(VOLUNTEERS))
        content["managers"] = dict(_account(f"manager{number}", is_project_manager=True) for number in range(MANAGERS))
    json.dump(content, sys.stdout)


def _account(name: str, is_project_manager: bool = False) -> tuple[str, str]:
    """Return the e-mail address of a new account, and the key of a session of it."""
    email = f"{name}@example.org"
    user = get_user_model()._default_manager.create(email=email, is_project_manager=is_project_manager)
    client = Client()
    client.force_login(user)
    return email, client.cookies["sessionid"].value


main()
