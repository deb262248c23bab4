"""The words, names and hours that demo rows are put together from, which lie in ``catalog/data``."""

import json
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent.parent / "data"


@cache
def read_texts() -> dict[str, Any]:
    """Return alternatives for each part of a listing, in which ``{project}``, ``{role}`` and ``{hours}`` stand."""
    return _read("demo_texts.json")


@cache
def read_people() -> dict[str, Any]:
    """Return first and last names that are often heard together, time zones, free hours and meetings."""
    return _read("demo_people.json")


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return content
