"""Builds demo rows, unsaved, of which all but the times follows from the seed, their kind and their number."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from math import ceil
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from ctj_api.enums import Experience, PracticeArea, Status, WorkEnvironment
from ctj_api.models import CommunityOfPractice, Opportunity, Project, Role, Skill, SkillMatrix, UserProfile
from ctj_api.validators import DAYS

DATA = Path(__file__).parent.parent / "data"
PERIOD = timedelta(days=120)
FIRST_DAY = timedelta(days=1)
OPPORTUNITIES_PER_MANAGER = 10
MIN_MANAGERS = 2
CYCLE = 10
# By the last digit of the row's number; all others are open.
STATUSES = {0: Status.CLOSED, 4: Status.DRAFT, 7: Status.ON_HOLD, 9: Status.FILLED}
STOPPED_BEFORE_SKILLS = 4
STOPPED_BEFORE_AVAILABILITY = 8

LEVELS = {
    Experience.ANY: (1, 2),
    Experience.JUNIOR: (1, 3),
    Experience.MID_LEVEL: (2, 4),
    Experience.SENIOR: (3, 5),
}
LEAD_EXPERIENCES = (Experience.MID_LEVEL, Experience.SENIOR)
OTHER_EXPERIENCES = (Experience.ANY, Experience.JUNIOR, Experience.JUNIOR, Experience.MID_LEVEL, Experience.SENIOR)
LEAD_HOURS = (6, 8, 10)
OTHER_HOURS = (3, 4, 5, 6, 8, 10)
AVAILABLE_HOURS = (3, 4, 5, 6, 8, 10, 12, 15, 20)
WEEKDAYS, WEEKEND = DAYS[:5], DAYS[5:]

MIXED_NAME_SHARE = 0.15
HOME_TIMEZONE_SHARE = 0.75
WEEKEND_SHARE = 0.4
SECOND_MEETING_SHARE = 0.6
OWN_MEETINGS_SHARE = 0.3


@cache
def read_demo(name: str) -> dict[str, Any]:
    """Return alternatives for each part of a listing (``texts``), or names, time zones and hours (``people``)."""
    content: dict[str, Any] = json.loads((DATA / f"demo_{name}.json").read_text(encoding="utf-8"))
    return content


class DemoCatalog:
    """The rows that demo rows refer to: communities by practice area, the roles of each, projects, and skills."""

    def __init__(self) -> None:
        self.communities = dict(CommunityOfPractice.objects.values_list("practice_area", "pk"))
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

    def skills_near(self, role: Role) -> list[str]:
        """Return the skills of the role's community, or all."""
        return self._nearby[role.practice_area] or list(self.skills.values())

    def skills_of(self, role: Role) -> list[str]:
        """Return the skills that suit a role."""
        names = [name.lower() for name in _text_of(role)["skills"]]
        return [self.skills[name] for name in names if name in self.skills] or self.skills_near(role)


class DemoRow:
    """A numbered demo row, with random numbers and ids of its own."""

    def __init__(self, seed: int, kind: str, number: int) -> None:
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


def build_opportunity(row: DemoRow, catalog: DemoCatalog, managers: Sequence[UUID], now: datetime) -> Opportunity:
    """Return a listing with its matrix, by one of those ``managers`` that a smaller demo has as well."""
    rng = row.rng
    role = catalog.pick_role(rng)
    project, project_name = rng.choice(catalog.projects)
    is_lead = role.title.endswith("Lead")
    experience = rng.choice(LEAD_EXPERIENCES if is_lead else OTHER_EXPERIENCES)
    environment = rng.choices(list(WorkEnvironment), weights=(7, 2, 1))[0]
    hours = rng.choice(LEAD_HOURS if is_lead else OTHER_HOURS)
    skills = _sample(rng, catalog.skills_of(role), rng.randint(3, 7))
    created_at = _moment(rng, now)
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
        status=STATUSES.get(row.number % CYCLE, Status.OPEN),
        created_by_id=managers[rng.randrange(manager_count(row.number))],
        created_at=created_at,
        meeting_times=build_meeting_times(rng) if rng.random() < OWN_MEETINGS_SHARE else None,
    )


def build_manager(row: DemoRow, catalog: DemoCatalog, password: str, now: datetime) -> UserProfile:
    """Return a project manager, with a hashed password, who joined before the first listing."""
    joined_at = now - PERIOD + FIRST_DAY * row.rng.random()
    community = catalog.communities[PracticeArea.PROJECT_MANAGEMENT]
    return _account(row, password, joined_at, is_project_manager=True, community_of_practice_id=community)


def build_volunteer(row: DemoRow, catalog: DemoCatalog, password: str, now: datetime) -> UserProfile:
    """Return a volunteer, with a hashed password and what they filled in; some stopped half way."""
    rng = row.rng
    role = catalog.pick_role(rng)
    joined_at = _moment(rng, now)
    volunteer = _account(row, password, joined_at, community_of_practice_id=role.community_of_practice_id)
    step = row.number % CYCLE
    if step != STOPPED_BEFORE_SKILLS:
        levels = _learned_levels(rng, role, catalog)
        volunteer.skills_learned_matrix = SkillMatrix(id=row.matrix_pk, levels=levels, created_at=joined_at)
    if step not in {STOPPED_BEFORE_SKILLS, STOPPED_BEFORE_AVAILABILITY}:
        volunteer.max_available_hours = rng.choice(AVAILABLE_HOURS)
        volunteer.meeting_availability = _availability(rng)
    return volunteer


def build_meeting_times(rng: Random) -> dict[str, Any]:
    """Return weekly meetings: one of the whole team, and often another one."""
    people = read_demo("people")
    team_day, side_day = rng.sample(WEEKDAYS[:4], 2)
    slots = [_slot(team_day, rng.choice(people["team_meetings"])) | {"name": "Team meeting"}]
    if rng.random() < SECOND_MEETING_SHARE:
        hours = rng.choice(people["side_meeting_hours"])
        slots.append(_slot(side_day, hours) | {"name": rng.choice(people["side_meetings"])})
    return _week(people["home_timezone"], slots)


def _draw_id(rng: Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


def _moment(rng: Random, now: datetime) -> datetime:
    """Return a time after the first day, on which the project managers joined."""
    return now - (PERIOD - FIRST_DAY) * rng.random()


def _account(row: DemoRow, password: str, joined_at: datetime, **fields: Any) -> UserProfile:
    names = read_demo("people")["names"]
    first = last = row.rng.choice(names)
    if row.rng.random() < MIXED_NAME_SHARE:
        last = row.rng.choice(names)
    return UserProfile(
        id=row.pk,
        email=row.email,
        password=password,
        first_name=row.rng.choice(first["first"]),
        last_name=row.rng.choice(last["last"]),
        created_at=joined_at,
        date_joined=joined_at,
        **fields,
    )


def _sample(rng: Random, skills: Sequence[str], at_most: int) -> list[str]:
    return rng.sample(skills, min(len(skills), at_most))


def _learned_levels(rng: Random, role: Role, catalog: DemoCatalog) -> dict[str, int]:
    """Return 3 to 12 skills: about half of them suit ``role``, most others its community, now and then one neither."""
    count = rng.randint(3, 12)
    elsewhere = _sample(rng, list(catalog.skills.values()), rng.choice((0, 0, 1)))
    suitable = _sample(rng, catalog.skills_of(role), ceil(count / 2))
    nearby = _sample(rng, catalog.skills_near(role), count)
    chosen = list(dict.fromkeys([*elsewhere, *suitable, *nearby]))[:count]
    lowest = rng.choice((1, 1, 2, 2, 3))
    return {skill: rng.randint(lowest, lowest + 2) for skill in chosen}


def _availability(rng: Random) -> dict[str, Any]:
    people = read_demo("people")
    is_at_home = rng.random() < HOME_TIMEZONE_SHARE
    timezone = people["home_timezone"] if is_at_home else rng.choice(people["other_timezones"])
    hours = rng.choice(people["weekday_hours"])
    slots = [_slot(day, hours) for day in rng.sample(WEEKDAYS, rng.randint(1, 4))]
    if rng.random() < WEEKEND_SHARE:
        slots.append(_slot(rng.choice(WEEKEND), rng.choice(people["weekend_hours"])))
    return _week(timezone, slots)


def _slot(day: str, hours: tuple[str, str]) -> dict[str, str]:
    return {"day": day, "start": hours[0], "end": hours[1]}


def _week(timezone: str, slots: list[dict[str, str]]) -> dict[str, Any]:
    return {"timezone": timezone, "slots": sorted(slots, key=lambda slot: DAYS.index(slot["day"]))}


def _text_of(role: Role) -> Any:
    """Return the words of a role, or general ones."""
    texts = read_demo("texts")
    return texts["roles"][role.practice_area].get(role.title, texts["other_role"])


def _body(
    rng: Random, role: Role, project: str, experience: Experience, environment: WorkEnvironment, hours: int
) -> str:
    texts, role_text = read_demo("texts"), _text_of(role)
    opening = [
        rng.choice(texts["projects"].get(project, texts["other_project"])),
        rng.choice(role_text["introductions"]),
    ]
    rng.shuffle(opening)
    tasks = rng.sample(role_text["tasks"], rng.randint(3, 4))
    paragraphs = [
        *opening,
        "\n".join([rng.choice(texts["task_headings"]), *(f"- {task}" for task in tasks)]),
        rng.choice(texts["communities"][role.practice_area]),
        rng.choice(texts["experiences"][experience]),
        rng.choice(texts["work_environments"][environment]),
        " ".join(rng.sample(texts["closings"], 2)),
    ]
    return "\n\n".join(paragraphs).format(project=project, role=role.title, hours=hours)
