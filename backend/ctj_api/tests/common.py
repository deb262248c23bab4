"""Factory helpers: each call saves new rows, but for communities, of which there are five and no more."""

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
from django.contrib.auth.models import Permission
from django.db import connection, transaction
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from rest_framework.test import APIClient

from ctj_api.models import CommunityOfPractice, Opportunity, Project, Role, Skill, SkillMatrix, SyncRun, UserProfile

PASSWORD = "a-long-enough-passphrase"
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
WEEK = {"timezone": "America/Los_Angeles", "slots": [{"day": "mon", "start": "18:00", "end": "20:00"}]}
PATIENCE_SECONDS = 60

_numbers = count(1)


def make_regular_user(levels: dict[Skill, int] | None = None, **fields: Any) -> UserProfile:
    """Return a volunteer, with a skill matrix where ``levels`` are given."""
    values: dict[str, Any] = {"email": f"user{next(_numbers)}@example.org", "password": PASSWORD, **fields}
    with transaction.atomic():
        if levels is not None:
            values["skills_learned_matrix"] = make_matrix(levels)
        return UserProfile.objects.create_user(**values)


def make_pm_user(**fields: Any) -> UserProfile:
    """Return a project manager."""
    return make_regular_user(**{"is_project_manager": True, **fields})


def make_admin_user(**fields: Any) -> UserProfile:
    """Return an administrator."""
    return make_regular_user(**{"is_staff": True, "is_superuser": True, **fields})


def make_staff_user(*permissions: str, **fields: Any) -> UserProfile:
    """Return a member of the staff with Django's ``permissions``, named as in ``change_skill``."""
    user = make_regular_user(**{"is_staff": True, **fields})
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def make_cop(practice_area: str | None = None, **fields: Any) -> CommunityOfPractice:
    """Return the community of ``practice_area``, else one that nothing uses yet, or the first where all are used."""
    communities = CommunityOfPractice.objects
    if practice_area is None:
        unused = communities.filter(roles=None, skills=None, members=None).exclude(name__startswith="Community ")
        if community := unused.first():
            fields = {"name": f"Community {next(_numbers):04}", **fields}
        practice_area = (community or communities.earliest("practice_area")).practice_area
    return communities.update_or_create(practice_area=practice_area, defaults=fields)[0]


def make_role(**fields: Any) -> Role:
    """Return a role, of a community of its own as far as there are any."""
    if "community_of_practice" not in fields:
        fields["community_of_practice"] = make_cop()
    return Role.objects.create(**{"title": f"Role {next(_numbers):04}", **fields})


def make_skill(**fields: Any) -> Skill:
    """Return a skill of no community."""
    return Skill.objects.create(**{"name": f"Skill {next(_numbers):04}", **fields})


def make_project(**fields: Any) -> Project:
    """Return a project."""
    return Project.objects.create(**{"name": f"Project {next(_numbers):04}", **fields})


def make_sync_run(**fields: Any) -> SyncRun:
    """Return a synchronisation that has just ended well."""
    now = timezone.now()
    return SyncRun.objects.create(**{"started_at": now, "ended_at": now, "outcome": "done", **fields})


def make_matrix(levels: dict[Skill, int]) -> SkillMatrix:
    """Return a skill matrix, whose owner the same transaction must save."""
    return SkillMatrix.objects.store({str(skill.pk): level for skill, level in levels.items()})


def make_opportunity(levels: dict[Skill, int] | None = None, **fields: Any) -> Opportunity:
    """Return an open opportunity that requires ``levels``."""
    with transaction.atomic():
        return Opportunity.objects.create(
            **{
                "project": fields.pop("project", None) or make_project(),
                "role": fields.pop("role", None) or make_role(),
                "body": "Help us to build it.",
                "status": "open",
                "skills_required_matrix": make_matrix(levels or {}),
                **fields,
            }
        )


def opportunity_payload(**fields: Any) -> dict[str, Any]:
    """Return what a project manager posts."""
    return {
        "project": str(make_project().pk),
        "role": str(make_role().pk),
        "body": "Help us to build it.",
        "min_experience_required": "junior",
        "min_hours_required": 6,
        "work_environment": "remote",
        "skills_required_matrix": {},
        "status": "open",
        **fields,
    }


def url_patterns(resolver: URLResolver | None = None, path: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Return every route of the project, with its whole path as it is written."""
    for pattern in (resolver or get_resolver()).url_patterns:
        whole = path + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from url_patterns(pattern, whole)
        else:
            yield whole, pattern


def candidates_url(listing: Opportunity, **query: object) -> str:
    """Return the URL of the page of a listing's candidates."""
    return reverse("admin:ctj_api_opportunity_candidates", args=[listing.pk], query=query)


def change_url(row: Model) -> str:
    """Return the URL of a row's form in the admin."""
    return reverse(f"admin:ctj_api_{row._meta.model_name}_change", args=[row.pk])


def browser(user: UserProfile | None = None) -> APIClient:
    """Return a client whose CSRF token is checked like any other's, with ``user`` signed in if there is one."""
    client = APIClient(enforce_csrf_checks=True)
    if user is not None:
        client.force_login(user)
    refresh_csrf_token(client)
    return client


def refresh_csrf_token(client: APIClient) -> None:
    """Let ``client`` fetch the token that its next unsafe requests send; sign-in changes it."""
    client.credentials(HTTP_X_CSRFTOKEN=client.get("/api/auth/csrf/").json()["csrf_token"])


def client_of(user: UserProfile) -> APIClient:
    """Return another tab of somebody who is signed in."""
    client = APIClient()
    client.force_authenticate(user)
    return client


def form_client(user: UserProfile) -> Client:
    """Return a browser in which an administrator is signed in."""
    client = Client()
    client.force_login(user)
    return client


@contextmanager
def other_connection() -> Iterator[psycopg.Connection]:
    """Give a connection to the same database, whose transactions are committed by hand."""
    info = connection.connection.info
    with psycopg.connect(info.dsn, password=info.password) as other:
        yield other


def execute(sql: str, *values: Any) -> Any:
    """Let the database execute ``sql`` on the test's connection, and return the first row."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchone() if cursor.description else None


def at_once[T](*calls: Callable[[], T]) -> list[T]:
    """Return the results of ``calls``, which start at the same moment."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait()
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def in_another_thread[T](call: Callable[[], T]) -> T:
    """Return what ``call`` gives in a thread with a connection of its own."""
    return at_once(call)[0]


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and return how it went."""
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Return once it is so; fails where that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError("It did not come about in time.")
        time.sleep(0.02)


def count_queries(call: Callable[[], object]) -> int:
    """Return how many queries the call takes."""
    with CaptureQueriesContext(connection) as queries:
        call()
    return len(queries)


def error_of(response: Any) -> dict[str, Any]:
    """Return the error of an enveloped response; fails where the body is anything else."""
    body = response.json()
    assert set(body) == {"error"}, body
    error: dict[str, Any] = body["error"]
    assert set(error) - {"fields"} == {"code", "message"}, error
    assert ("fields" in error) == (error["code"] == "validation_error"), error
    return error


def wrong_fields(response: Any) -> list[str]:
    """Return the fields that an enveloped 400 names, sorted; fails for any other response."""
    assert response.status_code == 400, response.status_code
    return sorted(error_of(response)["fields"])
