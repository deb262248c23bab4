"""Builds demo rows, unsaved, of which all but the times follows from the seed, their kind and their number."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from math import ceil
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from django.utils import timezone

from ctj_api.enums import Experience, Status, WorkEnvironment
from ctj_api.models import Opportunity, Project, Role, Skill, SkillMatrix, UserProfile
from ctj_api.validators import DAYS

DATA = Path(__file__).parent.parent / "data"
PERIOD = timedelta(days=120)
OPPORTUNITIES_PER_MANAGER = 10
MIN_MANAGERS = 2
CYCLE = 10
# By the last digit of the row's number; all others are open.
STATUSES = {0: Status.CLOSED, 4: Status.DRAFT, 7: Status.ON_HOLD, 9: Status.FILLED}
STOPPED_BEFORE_SKILLS = 4

# The lowest and the highest level that listings require, by the experience that they ask for.
LEVELS = dict(zip(Experience, ((1, 2), (1, 3), (2, 4), (3, 5)), strict=True))
HOURS = (3, 4, 5, 6, 8, 10)
# How many of the skills that go with a role its listings choose from, and its volunteers.
REQUIRED_FROM = 7
LEARNED_FROM = 20


@cache
def read_demo(name: str) -> dict[str, Any]:
    """Return alternatives for each part of a listing (``texts``), or names, time zones and hours (``people``)."""
    content: dict[str, Any] = json.loads((DATA / f"demo_{name}.json").read_text(encoding="utf-8"))
    return content


class DemoCatalog:
    """The rows that demo rows refer to: projects, the roles of each practice area, and skills."""

    def __init__(self) -> None:
        self.projects = list(Project.objects.current().values_list("pk", "name"))
        self.skills = {name.lower(): str(pk) for name, pk in Skill.objects.current().values_list("name", "pk")}
        self.roles: dict[str, list[Role]] = defaultdict(list)
        for role in Role.objects.current().select_related("community_of_practice"):
            self.roles[role.practice_area].append(role)
        self._nearby: dict[str, list[str]] = defaultdict(list)
        linked = Skill.objects.current().filter(communities_of_practice__isnull=False)
        for area, pk in linked.values_list("communities_of_practice__practice_area", "pk"):
            self._nearby[area].append(str(pk))

    def pick_role(self, rng: Random) -> Role:
        """Return a role of one of the communities that have any."""
        return rng.choice(self.roles[rng.choice(sorted(self.roles))])

    def skills_for(self, role: Role) -> list[str]:
        """Return the skills that suit a role best, then the others of its community, or all."""
        names = [name.lower() for name in _text_of(role)["skills"]]
        suitable = [self.skills[name] for name in names if name in self.skills]
        return list(dict.fromkeys([*suitable, *(self._nearby[role.practice_area] or self.skills.values())]))


class DemoRow:
    """A numbered demo row, with random numbers and ids of its own."""

    def __init__(self, seed: int, kind: str, number: int) -> None:
        self.is_manager = kind == "pm"
        self.number = number
        self.email = f"{kind}{number}@example.org"
        self.rng = generator(seed, kind, number)
        self.pk = _draw_id(self.rng)
        self.matrix_pk = _draw_id(self.rng)


def generator(seed: int, kind: str, key: int | str) -> Random:
    """Return the random numbers of one row, which are the same each time."""
    # Demo data holds no secret.
    return Random(f"{seed}:{kind}:{key}")  # nosec B311


def manager_count(opportunities: int) -> int:
    """Return how many project managers write this many listings."""
    return max(MIN_MANAGERS, ceil(opportunities / OPPORTUNITIES_PER_MANAGER))


def build_opportunity(row: DemoRow, catalog: DemoCatalog, managers: Sequence[UUID]) -> Opportunity:
    """Return a listing with its matrix, by one of those ``managers`` that a smaller demo has as well."""
    rng = row.rng
    role = catalog.pick_role(rng)
    project, project_name = rng.choice(catalog.projects)
    experience = rng.choice(list(Experience))
    environment = rng.choices(list(WorkEnvironment), weights=(7, 2, 1))[0]
    hours = rng.choice(HOURS)
    skills = _sample(rng, catalog.skills_for(role)[:REQUIRED_FROM], rng.randint(3, 7))
    created_at = timezone.now() - PERIOD * rng.random()
    status = STATUSES.get(row.number % CYCLE, Status.OPEN)
    return Opportunity(
        id=row.pk,
        project_id=project,
        role_id=role.pk,
        body=_body(rng, role, project_name, experience, environment, hours),
        min_experience_required=experience,
        min_hours_required=hours,
        work_environment=environment,
        skills_required_matrix=SkillMatrix(
            id=row.matrix_pk,
            levels={skill: rng.randint(*LEVELS[experience]) for skill in skills},
            created_at=created_at,
        ),
        status=status,
        created_by_id=managers[rng.randrange(manager_count(row.number))],
        created_at=created_at,
        filled_at=created_at + (timezone.now() - created_at) * rng.random() if status == Status.FILLED else None,
    )


def build_account(row: DemoRow, catalog: DemoCatalog, password: str) -> UserProfile:
    """Return a project manager, who joined before the first listing, or a volunteer; some have no skills yet."""
    rng = row.rng
    names = rng.choice(read_demo("people")["names"])
    role = catalog.pick_role(rng)
    joined_at = timezone.now() - PERIOD * (1 if row.is_manager else rng.random())
    account = UserProfile(
        id=row.pk,
        email=row.email,
        password=password,
        first_name=rng.choice(names["first"]),
        last_name=rng.choice(names["last"]),
        is_project_manager=row.is_manager,
        community_of_practice_id=role.community_of_practice_id,
        created_at=joined_at,
        date_joined=joined_at,
    )
    if not row.is_manager and row.number % CYCLE != STOPPED_BEFORE_SKILLS:
        skills = _sample(rng, catalog.skills_for(role)[:LEARNED_FROM], rng.randint(3, 12))
        levels = {skill: rng.randint(1, 5) for skill in skills}
        account.skills_learned_matrix = SkillMatrix(id=row.matrix_pk, levels=levels, created_at=joined_at)
        account.max_available_hours = rng.choice(HOURS)
        account.meeting_availability = _availability(rng)
    return account


def build_meeting_times(rng: Random) -> dict[str, Any]:
    """Return the weekly meeting of a team."""
    people = read_demo("people")
    hours = rng.choice(people["meeting_hours"])
    slots = [_slot(day, hours) | {"name": "Team meeting"} for day in _days(rng, 1)]
    return {"timezone": people["home_timezone"], "slots": slots}


def _draw_id(rng: Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


def _sample(rng: Random, skills: Sequence[str], at_most: int) -> list[str]:
    return rng.sample(skills, min(len(skills), at_most))


def _availability(rng: Random) -> dict[str, Any]:
    people = read_demo("people")
    zone = rng.choice([people["home_timezone"], rng.choice(people["other_timezones"])])
    hours = rng.choice(people["free_hours"])
    return {"timezone": zone, "slots": [_slot(day, hours) for day in _days(rng, rng.randint(1, 4))]}


def _days(rng: Random, count: int) -> list[str]:
    return [DAYS[place] for place in sorted(rng.sample(range(len(DAYS)), count))]


def _slot(day: str, hours: tuple[str, str]) -> dict[str, str]:
    return {"day": day, "start": hours[0], "end": hours[1]}


def _text_of(role: Role) -> Any:
    """Return the words of a role, or general ones."""
    texts = read_demo("texts")
    return texts["roles"][role.practice_area].get(role.title, texts["other_role"])


def _body(
    rng: Random, role: Role, project: str, experience: Experience, environment: WorkEnvironment, hours: int
) -> str:
    texts, role_text = read_demo("texts"), _text_of(role)
    tasks = rng.sample(role_text["tasks"], rng.randint(3, 4))
    paragraphs = [
        rng.choice(texts["projects"].get(project, texts["other_project"])),
        rng.choice(role_text["introductions"]),
        "\n".join([rng.choice(texts["task_headings"]), *(f"- {task}" for task in tasks)]),
        rng.choice(texts["communities"][role.practice_area]),
        rng.choice(texts["experiences"][experience]),
        rng.choice(texts["work_environments"][environment]),
        rng.choice(texts["closings"]),
    ]
    return "\n\n".join(paragraphs).format(project=project, role=role.title, hours=hours)
