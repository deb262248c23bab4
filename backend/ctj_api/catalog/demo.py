"""The demo: accounts and listings of which all but the times follows from the seed, their kind and their number."""

import json
from collections import defaultdict
from datetime import datetime, timedelta
from functools import cache
from math import ceil
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from django.db import reset_queries, transaction
from django.utils import timezone
from tqdm import tqdm

from ctj_api.enums import Experience, Status, WorkEnvironment
from ctj_api.models import Opportunity, Project, Role, Skill, SkillMatrix, UserProfile
from ctj_api.validators import DAYS

from .loading import SHIPPED_CATALOG, load_catalog, read_catalog

PERIOD = timedelta(days=120)
BATCH_SIZE = 1000
HOME = "America/Los_Angeles"
STOPPED_BEFORE_SKILLS = 4  # the last digit of a volunteer's number


@cache
def read_demo(name: str) -> dict[str, Any]:
    """Return alternatives for each part of a listing (``texts``), or what rows are drawn from (``rows``)."""
    path = Path(__file__).parent / "data" / f"demo_{name}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


class Demo:
    """Adds the demo of a seed, with a hashed password for all accounts; what is there already stays as it is."""

    def __init__(self, seed: int, password: str) -> None:
        """Load a catalog if there is none, and give meetings to projects without any."""
        self._seed = seed
        self._password = password
        self._managers: list[UserProfile] = []
        catalogs = (Skill.objects.current(), Role.objects.current(), Project.objects.current())
        if not all(rows.exists() for rows in catalogs):
            load_catalog(read_catalog(SHIPPED_CATALOG))
        self.projects = list(Project.objects.current())
        without_meetings = [project for project in self.projects if project.meeting_times is None]
        for project in without_meetings:
            project.meeting_times = _week(self._generator("project", project.name), "meetings", HOME, 1)
            project.updated_at = timezone.now()
        Project.objects.bulk_update(without_meetings, ["meeting_times", "updated_at"])
        self.roles: dict[str, list[Role]] = defaultdict(list)
        for role in Role.objects.current().select_related("community_of_practice"):
            self.roles[role.practice_area].append(role)
        self.skills: dict[str, str] = {}
        self._nearby: dict[str, list[str]] = defaultdict(list)
        for skill in Skill.objects.current().prefetch_related("communities_of_practice"):
            self.skills[skill.name.lower()] = str(skill.pk)
            for community in skill.communities_of_practice.all():
                self._nearby[community.practice_area].append(str(skill.pk))

    def add(self, opportunities: int, volunteers: int) -> tuple[int, int, int]:
        """Add what is missing of a demo of this size; return how many managers, volunteers and listings that was."""
        managers = _manager_count(opportunities)
        added_managers = self._in_batches("pm", managers)
        numbers = {f"pm{number}@example.org": number for number in range(1, managers + 1)}
        known = UserProfile.objects.filter(email__in=numbers)
        self._managers = sorted(known, key=lambda manager: numbers[manager.email])
        return added_managers, self._in_batches("volunteer", volunteers), self._in_batches("opportunity", opportunities)

    def _in_batches(self, kind: str, count: int) -> int:
        model: Any = Opportunity if kind == "opportunity" else UserProfile
        build: Any = self._opportunity if kind == "opportunity" else self._account
        matrix_name = "skills_required_matrix" if kind == "opportunity" else "skills_learned_matrix"
        stored = model.objects.count()
        for first in tqdm(range(1, count + 1, BATCH_SIZE), kind, disable=None):
            numbers = range(first, min(first + BATCH_SIZE, count + 1))
            rows = [build(self._generator(kind, number), kind, number) for number in numbers]
            matrices = [matrix for row in rows if (matrix := getattr(row, matrix_name))]
            with transaction.atomic():
                SkillMatrix.objects.bulk_create(matrices, ignore_conflicts=True)
                model.objects.bulk_create(rows, ignore_conflicts=True)
                unowned = SkillMatrix.objects.filter(volunteer=None, opportunity=None)  # their account was there
                unowned.filter(pk__in=[matrix.pk for matrix in matrices]).delete()
            reset_queries()  # which Django keeps while debugging
        return int(model.objects.count() - stored)

    def _generator(self, kind: str, key: int | str) -> Random:
        # Demo data holds no secret.
        return Random(f"{self._seed}:{kind}:{key}")  # nosec B311

    def _account(self, rng: Random, kind: str, number: int) -> UserProfile:
        """Return a project manager, who joined before the first listing, or a volunteer; some have no skills yet."""
        pk, matrix_pk, rows, is_manager = _draw_id(rng), _draw_id(rng), read_demo("rows"), kind == "pm"
        names, role = rng.choice(rows["names"]), self._pick_role(rng)
        joined_at = timezone.now() - PERIOD * (1 if is_manager else rng.random())
        account = UserProfile(
            id=pk,
            email=f"{kind}{number}@example.org",
            password=self._password,
            first_name=rng.choice(names["first"]),
            last_name=rng.choice(names["last"]),
            is_project_manager=is_manager,
            community_of_practice_id=role.community_of_practice_id,
            created_at=joined_at,
            date_joined=joined_at,
        )
        if not is_manager and number % 10 != STOPPED_BEFORE_SKILLS:
            skills = _sample(rng, self._skills_for(role)[:20], 12)
            account.skills_learned_matrix = _matrix(rng, matrix_pk, skills, (1, 5), joined_at)
            account.max_available_hours = rng.choice(rows["hours"])
            zone = rng.choice([HOME, rng.choice(rows["other_timezones"])])
            account.meeting_availability = _week(rng, "free", zone, 4)
        return account

    def _opportunity(self, rng: Random, _kind: str, number: int) -> Opportunity:
        """Return a listing with its matrix, by one of those managers that a smaller demo has as well."""
        pk, matrix_pk, rows = _draw_id(rng), _draw_id(rng), read_demo("rows")
        role = self._pick_role(rng)
        opportunity = Opportunity(
            id=pk,
            project=rng.choice(self.projects),
            role=role,
            min_experience_required=rng.choice(list(Experience)),
            work_environment=rng.choices(list(WorkEnvironment), weights=(7, 2, 1))[0],
            min_hours_required=rng.choice(rows["hours"]),
            status=rows["statuses"][number % 10],
        )
        skills = _sample(rng, self._skills_for(role)[:7], 7)
        opportunity.created_at = timezone.now() - PERIOD * rng.random()
        opportunity.body = _body(rng, opportunity)
        levels = rows["levels"][opportunity.min_experience_required]
        opportunity.skills_required_matrix = _matrix(rng, matrix_pk, skills, levels, opportunity.created_at)
        if opportunity.status == Status.FILLED:
            opportunity.filled_at = opportunity.created_at + (timezone.now() - opportunity.created_at) * rng.random()
        opportunity.created_by = rng.choice(self._managers[: _manager_count(number)] or [None])
        return opportunity

    def _pick_role(self, rng: Random) -> Role:
        return rng.choice(self.roles[rng.choice(sorted(self.roles))])

    def _skills_for(self, role: Role) -> list[str]:
        """Return the skills that suit a role best, then the others of its community, or all."""
        names = [name.lower() for name in _text_of(role)["skills"]]
        suitable = [self.skills[name] for name in names if name in self.skills]
        return list(dict.fromkeys([*suitable, *(self._nearby[role.practice_area] or self.skills.values())]))


def _manager_count(opportunities: int) -> int:
    return max(2, ceil(opportunities / 10))


def _draw_id(rng: Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


def _sample(rng: Random, skills: list[str], at_most: int) -> list[str]:
    count = rng.randint(3, at_most)
    return rng.sample(skills, min(len(skills), count))


def _matrix(rng: Random, pk: UUID, skills: list[str], levels: tuple[int, int], created_at: datetime) -> SkillMatrix:
    return SkillMatrix(id=pk, levels={skill: rng.randint(*levels) for skill in skills}, created_at=created_at)


def _week(rng: Random, kind: str, zone: str, at_most: int) -> dict[str, Any]:
    """Return a week with one of the ``free`` times, or of the ``meetings``, on at most so many days."""
    slot = rng.choice(read_demo("rows")[kind])
    days = rng.randint(1, at_most) if at_most > 1 else 1
    chosen = sorted(rng.sample(DAYS, days), key=DAYS.index)
    return {"timezone": zone, "slots": [{"day": day, **slot} for day in chosen]}


def _text_of(role: Role) -> Any:
    texts = read_demo("texts")
    return texts["roles"][role.practice_area].get(role.title, texts["other_role"])


def _body(rng: Random, opportunity: Opportunity) -> str:
    role, project = opportunity.role, opportunity.project.name
    texts, role_text = read_demo("texts"), _text_of(role)
    tasks = rng.sample(role_text["tasks"], rng.randint(3, 4))
    paragraphs = [
        rng.choice(texts["projects"].get(project, texts["other_project"])),
        rng.choice(role_text["introductions"]),
        "\n".join([rng.choice(texts["task_headings"]), *(f"- {task}" for task in tasks)]),
        rng.choice(texts["communities"][role.practice_area]),
        rng.choice(texts["experiences"][opportunity.min_experience_required]),
        rng.choice(texts["work_environments"][opportunity.work_environment]),
        rng.choice(texts["closings"]),
    ]
    hours = opportunity.min_hours_required
    return "\n\n".join(paragraphs).format(project=project, role=role.title, hours=hours)
