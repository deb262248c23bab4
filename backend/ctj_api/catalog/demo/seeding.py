"""Writes the demo rows that are missing, in batches of one transaction each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db import reset_queries, transaction
from django.db.models import Q
from django.utils import timezone
from tqdm import tqdm

from ctj_api.catalog.loading import SHIPPED_CATALOG, load_catalog, read_catalog
from ctj_api.models import Opportunity, Project, Role, Skill, SkillMatrix, UserProfile

from .rows import DemoCatalog, DemoRow, build_account, build_meeting_times, build_opportunity, generator, manager_count

BATCH_SIZE = 1000


def prepare_catalog(seed: int) -> DemoCatalog:
    """Load a catalog if there is none, give meetings to projects without any, and return what demo rows refer to."""
    if not all(rows.exists() for rows in (Skill.objects.current(), Role.objects.current(), Project.objects.current())):
        load_catalog(read_catalog(SHIPPED_CATALOG))
    projects = list(Project.objects.current().filter(meeting_times__isnull=True))
    for project in projects:
        project.meeting_times = build_meeting_times(generator(seed, "project", project.name))
        project.updated_at = timezone.now()
    Project.objects.bulk_update(projects, ["meeting_times", "updated_at"])
    return DemoCatalog()


@dataclass
class DemoSeeder:
    """Adds the demo of a seed, with a hashed ``password`` for all accounts, and shows its progress."""

    catalog: DemoCatalog
    seed: int
    password: str
    managers: list[UUID] = field(default_factory=list)

    def add(self, opportunities: int, volunteers: int) -> tuple[int, int, int]:
        """Add what is missing of a demo of this size; return how many managers, volunteers and listings that was."""
        return (
            self._in_batches("pm", manager_count(opportunities), self._add_accounts),
            self._in_batches("volunteer", volunteers, self._add_accounts),
            self._in_batches("opportunity", opportunities, self._add_opportunities),
        )

    def _in_batches(self, kind: str, count: int, add: Callable[[Sequence[DemoRow]], int]) -> int:
        added = 0
        for first in tqdm(range(1, count + 1, BATCH_SIZE), kind, disable=None):
            numbers = range(first, min(first + BATCH_SIZE, count + 1))
            with transaction.atomic():
                added += add([DemoRow(self.seed, kind, number) for number in numbers])
            reset_queries()  # which Django keeps while debugging
        return added

    def _add_accounts(self, rows: Sequence[DemoRow]) -> int:
        """Add the accounts that are missing by id and by address; remember the project managers."""
        pks = [row.pk for row in rows]
        accounts = UserProfile.objects.filter(Q(pk__in=pks) | Q(email__in=[row.email for row in rows]))
        known = dict(accounts.values_list("email", "pk"))
        self.managers += [known.get(row.email, row.pk) for row in rows if row.is_manager]
        taken = {*known, *known.values()}
        missing = (row for row in rows if taken.isdisjoint((row.email, row.pk)))
        added = [build_account(row, self.catalog, self.password) for row in missing]
        matrices = [account.skills_learned_matrix for account in added]
        SkillMatrix.objects.bulk_create(matrix for matrix in matrices if matrix)
        return len(UserProfile.objects.bulk_create(added))

    def _add_opportunities(self, rows: Sequence[DemoRow]) -> int:
        known = set(Opportunity.objects.filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
        missing = (row for row in rows if row.pk not in known)
        added = [build_opportunity(row, self.catalog, self.managers) for row in missing]
        SkillMatrix.objects.bulk_create(opportunity.skills_required_matrix for opportunity in added)
        return len(Opportunity.objects.bulk_create(added))
