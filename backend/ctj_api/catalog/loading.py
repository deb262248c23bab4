"""Loads a catalog from a JSON file: adds what is missing, and deletes nothing (``docs/deployment-infra.md``)."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction
from django.utils import timezone
from rest_framework import serializers

from ctj_api.enums import PracticeArea
from ctj_api.http.serializer_fields import MeetingTimesField
from ctj_api.models import CommunityOfPractice, Project, Role, Skill
from ctj_api.querysets import by_any_name
from ctj_api.validators import MAX_NAME, add_aliases, lower_name, normal_name

from .source import KEPT_ELSEWHERE, is_kept_elsewhere

SHIPPED_CATALOG = Path(__file__).parent / "data" / "hfla_catalog.json"

type Entry = dict[str, Any]
type Catalog = dict[str, list[Entry]]
type Communities = dict[str, CommunityOfPractice]


class CatalogError(CommandError):
    """A catalog can't be loaded; the message says why, for a file with its name and the entry."""


class _EntrySerializer(serializers.Serializer[Any]):
    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        if unknown := sorted(data.keys() - self.fields.keys()):
            raise serializers.ValidationError({key: ["This is not a part of a catalog."] for key in unknown})
        return values


class _NameField(serializers.CharField):
    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation(normal_name(data) if isinstance(data, str) else data)


class _CommunitySerializer(_EntrySerializer):
    practice_area = serializers.ChoiceField(PracticeArea.choices)
    name = _NameField(max_length=MAX_NAME)
    description = serializers.CharField(allow_blank=True, default="")


class _RoleSerializer(_EntrySerializer):
    title = _NameField(max_length=MAX_NAME)
    community_of_practice = serializers.ChoiceField(PracticeArea.choices)


class _SkillSerializer(_EntrySerializer):
    name = _NameField(max_length=MAX_NAME)
    aliases = serializers.ListField(child=_NameField(max_length=MAX_NAME), default=list)
    # Recognised when they are stored, but nobody looks for the skill by these.
    former_names = serializers.ListField(child=_NameField(max_length=MAX_NAME), default=list)
    description = serializers.CharField(allow_blank=True, default="")
    communities_of_practice = serializers.ListField(child=serializers.ChoiceField(PracticeArea.choices), default=list)


class _ProjectSerializer(_EntrySerializer):
    name = _NameField(max_length=MAX_NAME)
    meeting_times = MeetingTimesField(required=False)


class _CatalogSerializer(_EntrySerializer):
    communities_of_practice = _CommunitySerializer(many=True, default=list)
    roles = _RoleSerializer(many=True, default=list)
    skills = _SkillSerializer(many=True, default=list)
    projects = _ProjectSerializer(many=True, default=list)

    def validate(self, attrs: Catalog) -> Catalog:
        errors = {}
        for part, keys_of in KEYS.items():
            counts = Counter(key for entry in attrs[part] for key in keys_of(entry))
            errors[part] = [f'"{key}" is listed more than once.' for key, count in counts.items() if count > 1]
        if any(errors.values()):
            raise serializers.ValidationError(errors)
        return attrs


# What tells the entries of each part from each other.
KEYS: dict[str, Callable[[Entry], list[str]]] = {
    "communities_of_practice": lambda entry: [entry["practice_area"]],
    "roles": lambda entry: [f"{lower_name(entry['title'])} ({entry['community_of_practice']})"],
    "skills": lambda entry: [lower_name(name) for name in (entry["name"], *entry["aliases"], *entry["former_names"])],
    "projects": lambda entry: [lower_name(entry["name"])],
}


def read_catalog(path: Path) -> Catalog:
    """Return the catalog that the JSON file at ``path`` holds; raises ``CatalogError`` for a file that is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{path} is not JSON: {error}") from error
    if isinstance(content, dict):
        content.pop("source", None)  # tells readers of the file where the names come from
    serializer = _CatalogSerializer(data=content)
    if not serializer.is_valid():
        raise CatalogError("\n".join([f"{path} is not a catalog:", *_problems(serializer.errors, content)]))
    catalog: Catalog = serializer.validated_data
    return catalog


def _problems(errors: Any, data: Any, place: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a line for each message in the nested ``errors``: where it is in ``data``, and what is wrong."""
    for key, error in errors.items() if isinstance(errors, dict) else enumerate(errors):
        if isinstance(error, str):
            yield f"{', '.join(place)}: {error}" if place else error
        elif key == "non_field_errors":
            yield from _problems(error, data, place)
        elif isinstance(key, str):
            yield from _problems(error, data.get(key), (*place, key))
        else:
            entry = data[key] if isinstance(data[key], dict) else {}
            name = entry.get("name") or entry.get("title")
            yield from _problems(error, data[key], (*place, f"entry {key + 1}" + (f' ("{name}")' if name else "")))


@transaction.atomic
def load_catalog(catalog: Catalog, *, only_if_empty: bool = False) -> dict[str, int]:
    """Load ``catalog``, with ``only_if_empty`` unless there is any skill, and return how many rows changed."""
    communities = locked_communities()
    if only_if_empty and (is_kept_elsewhere() or Skill.objects.exists()):
        catalog = {part: [] for part in catalog}
    elif is_kept_elsewhere():
        raise CatalogError(KEPT_ELSEWHERE)
    skills_added, skills_updated = _load_skills(catalog, communities)
    roles = [
        Role(title=entry["title"], community_of_practice=communities[entry["community_of_practice"]])
        for entry in catalog["roles"]
    ]
    projects = [Project(**entry) for entry in catalog["projects"]]
    return {
        "skills added": skills_added,
        "skills updated": skills_updated,
        "roles added": _add_missing(Role, roles),
        "projects added": _add_missing(Project, projects),
        "projects updated": _load_meetings(catalog["projects"]),
        "communities updated": _load_communities(catalog["communities_of_practice"], communities),
    }


def locked_communities() -> Communities:
    """Return the communities by practice area, after locking them, so that loads at the same time are one by one."""
    return {row.practice_area: row for row in CommunityOfPractice.objects.select_for_update(no_key=True)}


def _load_communities(entries: list[Entry], communities: Communities) -> int:
    changed = []
    for entry in entries:
        row = communities[entry["practice_area"]]
        name, description = entry["name"], entry["description"] or row.description
        if (row.name, row.description) != (name, description):
            row.name, row.description, row.updated_at = name, description, timezone.now()
            changed.append(row)
    return CommunityOfPractice.objects.bulk_update(changed, ["name", "description", "updated_at"])


def _add_missing(model: type[Role | Project], rows: list[Any]) -> int:
    """Add those rows whose names aren't stored in any case, and return how many these are."""
    stored = model._default_manager.count()
    model._default_manager.bulk_create(rows, ignore_conflicts=True)
    return model._default_manager.count() - stored


def _load_meetings(entries: list[Entry]) -> int:
    weeks = {lower_name(entry["name"]): entry["meeting_times"] for entry in entries if "meeting_times" in entry}
    changed = []
    for project in Project.objects.current().select_for_update(no_key=True):
        week = weeks.get(lower_name(project.name), project.meeting_times)
        if project.meeting_times != week:
            project.meeting_times, project.updated_at = week, timezone.now()
            changed.append(project)
    return Project.objects.bulk_update(changed, ["meeting_times", "updated_at"])


def stored_skills(catalog: Catalog, rows: Iterable[Skill]) -> list[tuple[Entry, list[Skill]]]:
    """Return each skill of ``catalog``, and those of ``rows`` that bear its name, then those that bear an alias."""
    # Those of the shipped catalog count in any file, so that old files don't bring former names back.
    known = catalog["skills"] + read_catalog(SHIPPED_CATALOG)["skills"]
    names = {key: entry["name"] for entry in known for key in KEYS["skills"](entry)}
    bearers = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.retired_at is not None, row.name)):
        bearers[names.get(lower_name(row.name))].append(row)
    entries: dict[str, Entry] = {}
    for entry in catalog["skills"]:
        name = names[lower_name(entry["name"])]
        whole = entries.setdefault(name, {**entry, "name": name, "aliases": [], "communities_of_practice": []})
        whole["description"] = whole["description"] or entry["description"]
        whole["aliases"] += entry["aliases"]
        whole["communities_of_practice"] += entry["communities_of_practice"]
    return [(entry, sorted(bearers[name], key=lambda row: not is_named(row, name))) for name, entry in entries.items()]


def is_named(skill: Skill, name: str) -> bool:
    """Return whether ``skill`` bears ``name``, in any case."""
    return lower_name(skill.name) == lower_name(name)


def _load_skills(catalog: Catalog, communities: Communities) -> tuple[int, int]:
    """Return how many skills were added and how many updated; what was merged into another skill stays away."""
    stored = list(Skill.objects.select_for_update(no_key=True).prefetch_related("communities_of_practice"))
    known = by_any_name(stored)
    link = Skill.communities_of_practice.through
    added, updated, links = [], [], []
    for entry, skills in stored_skills(catalog, stored):
        missing = {communities[area] for area in entry["communities_of_practice"]}
        if not skills and lower_name(entry["name"]) in known:
            continue
        if not skills:
            aliases = add_aliases(entry["name"], [], entry["aliases"], known)
            skill = Skill(name=entry["name"], aliases=aliases, description=entry["description"])
            added.append(skill)
        elif (skill := skills[0]).retired_at:
            continue
        else:
            missing -= set(skill.communities_of_practice.all())
            aliases = add_aliases(skill.name, skill.aliases, entry["aliases"], known)
            if missing or skill.aliases != aliases or (entry["description"] and not skill.description):
                skill.aliases = aliases
                skill.description = skill.description or entry["description"]
                skill.updated_at = timezone.now()
                updated.append(skill)
        links += [link(skill=skill, communityofpractice=community) for community in missing]
    Skill.objects.bulk_create(added)
    link._default_manager.bulk_create(links)
    return len(added), Skill.objects.bulk_update(updated, ["description", "aliases", "updated_at"])
