"""The catalog of communities, roles, skills and projects: reading it from a JSON file, and loading it.

A file never deletes. It adds roles, skills and projects that are missing, a skill's missing communities and a blank
skill's description; the names and descriptions of the five communities it replaces, unless its own are blank.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from django.db import transaction
from django.utils import timezone
from rest_framework import serializers

from ctj_api.enums import PracticeArea
from ctj_api.models import MAX_NAME, CommunityOfPractice, Project, Role, Skill

SHIPPED_CATALOG = Path(__file__).parent / "data" / "hfla_catalog.json"
MAX_PROBLEMS = 10


class CatalogError(Exception):
    """A catalog file that can't be loaded; the message names the file, the entry and what is wrong."""


class CommunityEntry(TypedDict):
    """A community of practice, as the file has it."""

    practice_area: str
    name: str
    description: str


class RoleEntry(TypedDict):
    """A role, as the file has it."""

    title: str
    community_of_practice: str


class SkillEntry(TypedDict):
    """A skill, as the file has it."""

    name: str
    description: str
    communities_of_practice: list[str]


class ProjectEntry(TypedDict):
    """A project, as the file has it."""

    name: str


class Catalog(TypedDict):
    """The content of a catalog file; a list that the file leaves out is empty."""

    communities_of_practice: list[CommunityEntry]
    roles: list[RoleEntry]
    skills: list[SkillEntry]
    projects: list[ProjectEntry]


@dataclass(frozen=True)
class CatalogChanges:
    """How many rows loading a catalog added or updated."""

    skills_added: int = 0
    skills_updated: int = 0
    roles_added: int = 0
    projects_added: int = 0
    communities_updated: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in asdict(self).items())


class _EntrySerializer(serializers.Serializer[Any]):
    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        if unknown := sorted(data.keys() - self.fields.keys()):
            raise serializers.ValidationError({key: ["This is not a part of a catalog."] for key in unknown})
        return values


class _CommunitySerializer(_EntrySerializer):
    practice_area = serializers.ChoiceField(PracticeArea.choices)
    name = serializers.CharField(max_length=MAX_NAME)
    description = serializers.CharField(allow_blank=True, default="")


class _RoleSerializer(_EntrySerializer):
    title = serializers.CharField(max_length=MAX_NAME)
    community_of_practice = serializers.ChoiceField(PracticeArea.choices)


class _SkillSerializer(_EntrySerializer):
    name = serializers.CharField(max_length=MAX_NAME)
    description = serializers.CharField(allow_blank=True, default="")
    communities_of_practice = serializers.ListField(child=serializers.ChoiceField(PracticeArea.choices), default=list)


class _ProjectSerializer(_EntrySerializer):
    name = serializers.CharField(max_length=MAX_NAME)


class _CatalogSerializer(_EntrySerializer):
    source = serializers.CharField(required=False, allow_blank=True)  # type: ignore[assignment]
    communities_of_practice = _CommunitySerializer(many=True, default=list)
    roles = _RoleSerializer(many=True, default=list)
    skills = _SkillSerializer(many=True, default=list)
    projects = _ProjectSerializer(many=True, default=list)

    def validate_communities_of_practice(self, entries: list[CommunityEntry]) -> list[CommunityEntry]:
        _refuse_repeated(entry["practice_area"] for entry in entries)
        return entries

    def validate_roles(self, entries: list[RoleEntry]) -> list[RoleEntry]:
        _refuse_repeated(f"{entry['title']} ({entry['community_of_practice']})" for entry in entries)
        return entries

    def validate_skills(self, entries: list[SkillEntry]) -> list[SkillEntry]:
        _refuse_repeated(lower_name(entry["name"]) for entry in entries)
        return entries

    def validate_projects(self, entries: list[ProjectEntry]) -> list[ProjectEntry]:
        _refuse_repeated(lower_name(entry["name"]) for entry in entries)
        return entries


def read_catalog(path: Path) -> Catalog:
    """Return the catalog that the JSON file at ``path`` holds; raises ``CatalogError`` for a file that is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{path} is not JSON: {error}") from error
    serializer = _CatalogSerializer(data=content)
    if not serializer.is_valid():
        problems = list(_problems(serializer.errors, content))
        more = [f"and {len(problems) - MAX_PROBLEMS} more."] if len(problems) > MAX_PROBLEMS else []
        raise CatalogError("\n".join([f"{path} is not a catalog:", *problems[:MAX_PROBLEMS], *more]))
    catalog: Catalog = serializer.validated_data
    return catalog


@transaction.atomic
def load_catalog(catalog: Catalog) -> CatalogChanges:
    """Bring the database up to ``catalog`` and return how much changed, in a number of queries that is fixed."""
    communities = _communities_locked()
    skills_added, skills_updated = _load_skills(catalog["skills"], communities)
    return CatalogChanges(
        skills_added=skills_added,
        skills_updated=skills_updated,
        roles_added=_load_roles(catalog["roles"], communities),
        projects_added=_load_projects(catalog["projects"]),
        communities_updated=_load_communities(catalog["communities_of_practice"], communities),
    )


@transaction.atomic
def load_catalog_if_empty(catalog: Catalog) -> CatalogChanges:
    """Load ``catalog`` unless there is any skill, and return what that added."""
    _communities_locked()
    return CatalogChanges() if Skill.objects.exists() else load_catalog(catalog)


def _communities_locked() -> dict[str, CommunityOfPractice]:
    """Return the communities by practice area; another loading waits for them until this transaction ends."""
    rows = CommunityOfPractice.objects.select_for_update(no_key=True)
    return {row.practice_area: row for row in rows}


def _load_communities(entries: list[CommunityEntry], communities: dict[str, CommunityOfPractice]) -> int:
    changed = []
    for entry in entries:
        row = communities[entry["practice_area"]]
        name, description = entry["name"], entry["description"] or row.description
        if (row.name, row.description) != (name, description):
            row.name, row.description, row.updated_at = name, description, timezone.now()
            changed.append(row)
    return CommunityOfPractice.objects.bulk_update(changed, ["name", "description", "updated_at"])


def _load_roles(entries: list[RoleEntry], communities: dict[str, CommunityOfPractice]) -> int:
    known = set(Role.objects.values_list("title", "community_of_practice__practice_area"))
    added = [
        Role(title=entry["title"], community_of_practice=communities[entry["community_of_practice"]])
        for entry in entries
        if (entry["title"], entry["community_of_practice"]) not in known
    ]
    return len(Role.objects.bulk_create(added))


def _load_projects(entries: list[ProjectEntry]) -> int:
    known = {lower_name(name) for name in Project.objects.values_list("name", flat=True)}
    added = [Project(name=entry["name"]) for entry in entries if lower_name(entry["name"]) not in known]
    return len(Project.objects.bulk_create(added))


def _load_skills(entries: list[SkillEntry], communities: dict[str, CommunityOfPractice]) -> tuple[int, int]:
    known = {lower_name(skill.name): skill for skill in Skill.objects.select_for_update(no_key=True)}
    added = {
        lower_name(entry["name"]): Skill(name=entry["name"], description=entry["description"])
        for entry in entries
        if lower_name(entry["name"]) not in known
    }
    Skill.objects.bulk_create(added.values())
    described = _describe_skills(entries, known)
    linked = _link_skills(entries, known | added, communities)
    updated = [skill for key, skill in known.items() if key in described | linked]
    for skill in updated:
        skill.updated_at = timezone.now()
    return len(added), Skill.objects.bulk_update(updated, ["description", "updated_at"])


def _describe_skills(entries: list[SkillEntry], skills: dict[str, Skill]) -> set[str]:
    """Give blank descriptions the file's text, unsaved, and return the keys of the skills that got one."""
    described = set()
    for entry in entries:
        skill = skills.get(lower_name(entry["name"]))
        if skill and entry["description"] and not skill.description:
            skill.description = entry["description"]
            described.add(lower_name(entry["name"]))
    return described


def _link_skills(
    entries: list[SkillEntry], skills: dict[str, Skill], communities: dict[str, CommunityOfPractice]
) -> set[str]:
    """Save the links to communities that are missing and return the keys of the skills that got one."""
    link = Skill.communities_of_practice.through
    known = set(link._default_manager.values_list("skill_id", "communityofpractice_id"))
    wanted = {
        (lower_name(entry["name"]), communities[area].pk)
        for entry in entries
        for area in entry["communities_of_practice"]
    }
    missing = [(key, community) for key, community in wanted if (skills[key].pk, community) not in known]
    link._default_manager.bulk_create(
        link(skill_id=skills[key].pk, communityofpractice_id=community) for key, community in missing
    )
    return {key for key, _ in missing}


def lower_name(name: str) -> str:
    """Return ``name`` in lower case as PostgreSQL's ``pg_c_utf8`` makes it: one character for each."""
    return "".join(character.lower()[0] for character in name)


def _refuse_repeated(names: Iterable[str]) -> None:
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise serializers.ValidationError([f'"{name}" is listed more than once.' for name in repeated])


def _problems(errors: Any, data: Any, place: str = "") -> Iterator[str]:
    """Yield a line for each message in the nested ``errors``: where it is in ``data``, and what is wrong."""
    if isinstance(errors, dict):
        for key, nested in errors.items():
            yield from _problems(nested, *_step(key, data, place))
        return
    for index, error in enumerate(errors):
        if isinstance(error, str):
            yield f"{place}: {error}" if place else error
        else:
            yield from _problems(error, *_step(index, data, place))


def _step(key: str | int, data: Any, place: str) -> tuple[Any, str]:
    """Return the part of ``data`` that ``key`` leads to, and how people call that place."""
    if key == "non_field_errors":
        return data, place
    if isinstance(key, str):
        return data.get(key), f"{place}, {key}" if place else key
    entry = data[key]
    name = entry.get("name") or entry.get("title") if isinstance(entry, dict) else None
    return entry, f"{place}, entry {key + 1}" + (f' ("{name}")' if name else "")
