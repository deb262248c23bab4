"""Fills a database by any version of the code, whose folder is the ``PYTHONPATH``, and tells what is in it as JSON."""

import json
import sys

import django
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction
from django.test import Client

CATALOG = {"communities": "CommunityOfPractice", "projects": "Project", "roles": "Role", "skills": "Skill"}


def sessions_of(kind: str, count: int) -> dict[str, str]:
    """Return the session of each of so many new accounts, by e-mail address."""
    sessions = {}
    for number in range(count):
        email, client = f"{kind}{number}@example.org", Client()
        client.force_login(get_user_model()._default_manager.create(email=email, is_project_manager=kind == "manager"))
        sessions[email] = client.cookies["sessionid"].value
    return sessions


django.setup(set_prefix=False)
call_command("migrate", verbosity=0)
call_command("load_catalog", if_empty=True, stdout=sys.stderr)
content: dict[str, object] = {}
for name, model in CATALOG.items():
    content[name] = [str(row.pk) for row in apps.get_model("ctj_api", model)._default_manager.all()]
with transaction.atomic():
    content |= {"volunteers": sessions_of("volunteer", 50), "managers": sessions_of("manager", 4)}
json.dump(content, sys.stdout)
