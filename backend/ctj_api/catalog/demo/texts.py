"""The words, names and hours that demo rows are put together from, which lie in ``catalog/data``."""

import json
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent.parent / "data"


@cache
def read_demo(name: str) -> dict[str, Any]:
    """Return alternatives for each part of a listing (``texts``), or names, time zones and hours (``people``)."""
    content: dict[str, Any] = json.loads((DATA / f"demo_{name}.json").read_text(encoding="utf-8"))
    return content
