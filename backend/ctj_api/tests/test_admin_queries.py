"""How many queries each admin page takes: as many with a thousand rows of each kind as with ten."""

from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import connection, transaction
from django.db.models import Model
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from ctj_api.models import DeletedOpportunity, Opportunity, Project, Role, Skill, SkillMatrix, SyncRun, UserProfile

from .common import WEEK, execute, make_admin_user, make_cop, make_pm_user

FEW, MANY = 10, 1000
MODEL_PAGES = ("changelist", "add", "import", "export", "volunteer_count")
ROW_PAGES = ("change", "history", "delete", "give", "candidates")
GONE = {"status": "open", "body": "Help us.", "skills": [{"name": "Skill", "level": 3}]}


def oldest(model: type[Model]) -> Model:
    """Return the row that was made first."""
    made_at = {SyncRun: "started_at", DeletedOpportunity: "deleted_at"}
    return model._default_manager.order_by(made_at.get(model, "created_at"))[0]


class AdminQueryTests(TestCase):
    """Every page of every model in the admin."""

    def setUp(self) -> None:
        """Make a few rows of each kind."""
        self.pm = make_pm_user()
        self.administrator = make_admin_user()
        self.grow(0, FEW)

    @transaction.atomic
    def grow(self, first: int, last: int) -> None:
        """Make rows of each kind, numbered from ``first`` to ``last``; each matrix rates the first five skills."""
        execute("SET LOCAL statement_timeout = 0")  # the limit of a page ends with the test's transaction
        numbers = range(first, last)
        community = make_cop()
        skills = Skill.objects.bulk_create(Skill(name=f"Skill {number:04}") for number in numbers)
        links = Skill.communities_of_practice.through
        links._default_manager.bulk_create(
            links(skill_id=skill.pk, communityofpractice_id=community.pk) for skill in skills
        )
        roles = Role.objects.bulk_create(
            Role(title=f"Role {number:04}", community_of_practice=community) for number in numbers
        )
        projects = Project.objects.bulk_create(
            Project(name=f"Project {number:04}", meeting_times=WEEK) for number in numbers
        )
        levels = {str(skill.pk): 3 for skill in Skill.objects.order_by("name")[:5]}
        required = SkillMatrix.objects.bulk_create(SkillMatrix(levels=levels) for _ in numbers)
        learned = SkillMatrix.objects.bulk_create(SkillMatrix(levels=levels) for _ in numbers)
        UserProfile.objects.bulk_create(
            UserProfile(
                email=f"vera{number}@example.org",
                community_of_practice=community,
                meeting_availability=WEEK,
                skills_learned_matrix=matrix,
            )
            for number, matrix in zip(numbers, learned, strict=True)
        )
        Opportunity.objects.bulk_create(
            Opportunity(project=project, role=role, body="Help us.", created_by=self.pm, skills_required_matrix=matrix)
            for project, role, matrix in zip(projects, roles, required, strict=True)
        )
        DeletedOpportunity.objects.bulk_create(
            DeletedOpportunity(id=uuid4(), title="Gone", contents=GONE, deleted_by=self.pm) for _ in numbers
        )
        now = timezone.now()
        SyncRun.objects.bulk_create(SyncRun(started_at=now, ended_at=now, outcome="done") for _ in numbers)
        for model in admin.site._registry:
            row = oldest(model)
            LogEntry.objects.log_actions(self.pm.pk, [row] * len(numbers), CHANGE, "Changed.")
        execute("ANALYZE")  # as the server does by itself

    def paths(self) -> Iterator[str]:
        """Return the path of each page, and of those of the oldest row of each model."""
        yield reverse("admin:index")
        yield reverse("admin:app_list", args=["ctj_api"])
        for model in admin.site._registry:
            name = f"admin:ctj_api_{model._meta.model_name}"
            row = oldest(model)
            for page in MODEL_PAGES + ROW_PAGES:
                with suppress(NoReverseMatch):
                    yield reverse(f"{name}_{page}", args=[row.pk] if page in ROW_PAGES else [])
        yield reverse("admin:ctj_api_opportunity_add", query={"duplicate": oldest(Opportunity).pk})

    def count_queries(self, path: str) -> int:
        """Return how many queries a page takes, after one that warms up; each page limits their time."""
        self.client.get(path)
        with CaptureQueriesContext(connection) as queries:
            self.client.get(path)
        self.assertTrue(any("statement_timeout" in query["sql"] for query in queries), path)
        return len(queries)

    def test_administrators_and_project_managers_open_pages_with_a_constant_number_of_queries(self) -> None:
        """For administrators and for project managers."""
        paths = list(self.paths())
        counts = {}
        for user in (self.administrator, self.pm):
            self.client.force_login(user)
            counts[user] = {path: self.count_queries(path) for path in paths}
        self.grow(FEW, MANY)
        for user, before in counts.items():
            self.client.force_login(user)
            for path in paths:
                with self.subTest(path, user=user):
                    self.assertEqual(self.count_queries(path), before[path])
                    self.assertLess(before[path], 30)
