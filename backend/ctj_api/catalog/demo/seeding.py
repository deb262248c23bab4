"""Writes the demo rows that are missing, in batches of one transaction each."""

from collections.abc import Callable, Mapping, Sequence
from itertools import batched
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db import connection, reset_queries, transaction
from django.db.models import Q
from django.utils import timezone

from ctj_api.catalog.loading import SHIPPED_CATALOG, load_catalog, read_catalog
from ctj_api.models import Opportunity, Project, Role, Skill, SkillMatrix, UserProfile

from .rows import (
    DemoCatalog,
    DemoRow,
    build_manager,
    build_meeting_times,
    build_opportunity,
    build_volunteer,
    generator,
    manager_count,
)

BATCH_SIZE = 1000


def prepare_catalog(seed: int) -> DemoCatalog:
    """Load a catalog if there is none, give meetings to projects without any, and return what demo rows refer to."""
    if not all(rows.exists() for rows in (Skill.objects.current(), Role.objects.current(), Project.objects.current())):
        load_catalog(read_catalog(SHIPPED_CATALOG))
    _add_meeting_times(seed)
    return DemoCatalog()


class DemoSeeder:
    """Adds the demo of a seed, and calls ``progress`` with the number of rows after each batch.

    New accounts get ``password``; with ``reset_passwords`` those of an earlier run get it too.
    """

    def __init__(
        self,
        catalog: DemoCatalog,
        seed: int,
        password: str,
        *,
        reset_passwords: bool,
        progress: Callable[[int], object],
    ) -> None:
        self._catalog = catalog
        self._seed = seed
        self._password = make_password(password)
        self._reset_passwords = reset_passwords
        self._progress = progress
        self._now = timezone.now()
        self._managers: list[UUID] = []

    def add(self, opportunities: int, volunteers: int) -> tuple[int, int, int]:
        """Add what is missing of a demo of this size; return how many managers, volunteers and listings that was."""
        counts = (
            self._in_batches("pm", manager_count(opportunities), self._add_managers),
            self._in_batches("volunteer", volunteers, self._add_volunteers),
            self._in_batches("opportunity", opportunities, self._add_opportunities),
        )
        _count_rows_for_planner()
        return counts

    def _in_batches(self, kind: str, count: int, add: Callable[[Sequence[DemoRow]], int]) -> int:
        added = 0
        for numbers in batched(range(1, count + 1), BATCH_SIZE):
            with transaction.atomic():
                added += add([DemoRow(self._seed, kind, number) for number in numbers])
            reset_queries()  # which Django keeps while debugging
            self._progress(len(numbers))
        return added

    def _add_managers(self, rows: Sequence[DemoRow]) -> int:
        known = self._known_accounts(rows)
        self._managers += [known.get(row.email, row.pk) for row in rows]
        return self._add_accounts(rows, known, build_manager)

    def _add_volunteers(self, rows: Sequence[DemoRow]) -> int:
        return self._add_accounts(rows, self._known_accounts(rows), build_volunteer)

    def _add_accounts(
        self, rows: Sequence[DemoRow], known: Mapping[str, UUID], build: Callable[..., UserProfile]
    ) -> int:
        if self._reset_passwords:
            UserProfile.objects.filter(pk__in=[row.pk for row in rows]).update(password=self._password)
        added = [build(row, self._catalog, self._password, self._now) for row in rows if row.email not in known]
        matrices = [account.skills_learned_matrix for account in added]
        SkillMatrix.objects.bulk_create(matrix for matrix in matrices if matrix)
        return len(UserProfile.objects.bulk_create(added))

    def _add_opportunities(self, rows: Sequence[DemoRow]) -> int:
        known = set(Opportunity.objects.filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
        missing = (row for row in rows if row.pk not in known)
        added = [build_opportunity(row, self._catalog, self._managers, self._now) for row in missing]
        SkillMatrix.objects.bulk_create(opportunity.skills_required_matrix for opportunity in added)
        return len(Opportunity.objects.bulk_create(added))

    @staticmethod
    def _known_accounts(rows: Sequence[DemoRow]) -> Mapping[str, UUID]:
        """Return which account stands for each row that has one, by id or by e-mail address."""
        pks, emails = [row.pk for row in rows], [row.email for row in rows]
        accounts = UserProfile.objects.filter(Q(pk__in=pks) | Q(email__in=emails)).values_list("email", "pk")
        by_email = dict(accounts)
        known = set(by_email.values())
        return by_email | {row.email: row.pk for row in rows if row.pk in known}


def _count_rows_for_planner() -> None:
    """Let PostgreSQL know now that the tables have grown, else its first plans are for empty ones."""
    tables = [model._meta.db_table for model in (SkillMatrix, UserProfile, Opportunity)]
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {', '.join(tables)}")


def _add_meeting_times(seed: int) -> None:
    projects = list(Project.objects.current().filter(meeting_times__isnull=True))
    for project in projects:
        project.meeting_times = build_meeting_times(generator(seed, "project", project.name))
        project.updated_at = timezone.now()
    Project.objects.bulk_update(projects, ["meeting_times", "updated_at"])
