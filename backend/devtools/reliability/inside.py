"""Fills the database that all servers start with, and tells as JSON who is in it."""

import json
import sys

from django.core.management import call_command

from ctj_api.models import CommunityOfPractice, Project, Role, Skill, UserProfile
from devtools.benchmarks.inside import sign_in  # sets Django up

VOLUNTEERS = 1000
MANAGERS = 4


def main() -> None:
    """Migrate, load the catalog, make the accounts, and sign them in."""
    call_command("migrate", verbosity=0)
    call_command("load_catalog", if_empty=True, stdout=sys.stderr)
    prepared = {
        "volunteers": _accounts("volunteer", VOLUNTEERS, is_project_manager=False),
        "managers": _accounts("manager", MANAGERS, is_project_manager=True),
    }
    rows = {model._meta.model_name: [str(pk) for pk in model.objects.values_list("pk", flat=True)] for model in _MODELS}
    json.dump(prepared | {"rows": rows}, sys.stdout)


_MODELS: tuple[type[CommunityOfPractice | Project | Role | Skill], ...] = (CommunityOfPractice, Project, Role, Skill)


def _accounts(kind: str, count: int, *, is_project_manager: bool) -> dict[str, str]:
    """Return e-mail address → the key of a session, of new accounts without a password."""
    emails = [f"{kind}{number}@example.org" for number in range(count)]
    users = [UserProfile(email=email, password="!", is_project_manager=is_project_manager) for email in emails]  # nosec B106: none
    UserProfile.objects.bulk_create(users)
    return sign_in(emails)


if __name__ == "__main__":
    main()
