"""The words that demo listings are put together from; they are in ``data/demo_texts.json``.

``{project}``, ``{role}`` and ``{hours}`` stand for those of the listing. Skills are named as the shipped catalog
names them.
"""

import json
from functools import cache
from pathlib import Path
from typing import TypedDict

DEMO_TEXTS = Path(__file__).parent.parent / "data" / "demo_texts.json"


class RoleText(TypedDict):
    """What listings say of a role: opening sentences, things to do, and the skills that help."""

    introductions: list[str]
    tasks: list[str]
    skills: list[str]


class DemoTexts(TypedDict):
    """Alternatives for each part of a listing."""

    projects: dict[str, list[str]]
    other_project: list[str]
    roles: dict[str, dict[str, RoleText]]
    other_role: RoleText
    task_headings: list[str]
    communities: dict[str, list[str]]
    experiences: dict[str, list[str]]
    work_environments: dict[str, list[str]]
    closings: list[str]


@cache
def read_texts() -> DemoTexts:
    """Return the texts; roles are by practice area and title."""
    texts: DemoTexts = json.loads(DEMO_TEXTS.read_text(encoding="utf-8"))
    return texts
