"""Fills a database with any version of the code, and tells as JSON who and what is in it.

It runs as a file, with the folder of that version as ``PYTHONPATH``, and takes the number of volunteers.
"""

import json
import sys

import django

django.setup(set_prefix=False)

from django.core.management import call_command  # noqa: E402 (what these import asks the settings)
from django.db import transaction  # noqa: E402
from django.test import Client  # noqa: E402

from ctj_api.models import CommunityOfPractice, Project, Role, Skill, UserProfile  # noqa: E402

MANAGERS = 4
ROWS = {"communities": CommunityOfPractice, "projects": Project, "roles": Role, "skills": Skill}


def main(volunteers: int) -> None:
    """Migrate, load the catalog, and make accounts, which have no password."""
    call_command("migrate", verbosity=0)
    call_command("load_catalog", if_empty=True, stdout=sys.stderr)
    people = {
        "volunteers": [UserProfile(email=f"volunteer{number}@example.org") for number in range(volunteers)],
        "managers": [
            UserProfile(email=f"manager{number}@example.org", is_project_manager=True) for number in range(MANAGERS)
        ],
    }
    content = {
        name: [str(pk) for pk in model._default_manager.values_list("pk", flat=True)] for name, model in ROWS.items()
    }
    with transaction.atomic():
        sessions = {
            kind: [(user.email, session(user)) for user in UserProfile.objects.bulk_create(users)]
            for kind, users in people.items()
        }
    json.dump(content | sessions, sys.stdout)


def session(user: UserProfile) -> str:
    """Return the key of a new session of somebody."""
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


main(int(sys.argv[1]))
