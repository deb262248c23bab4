"""What Schemathesis can't know from the schema: the CSRF cookie, and the ids of rows that exist.

It is loaded by Schemathesis itself, in a process of its own.
"""

import json
import os
from random import Random
from typing import Any

import schemathesis

CSRF_COOKIE = os.environ["FUZZ_CSRF_COOKIE"]
# The name of a field, or the path in front of an id → ids of rows that exist.
KNOWN: dict[str, list[str]] = json.loads(os.environ["FUZZ_KNOWN_IDS"])
# Other ids than these are tried as often: they lead to the refusals.
CHANCE = 0.5


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Send the cookie that belongs to the token; let valid requests name rows that exist, often."""
    case.cookies = {**(case.cookies or {}), "csrftoken": CSRF_COOKIE}
    if case.meta is not None and case.meta.generation.mode.is_positive:
        chance = Random(repr((case.path_parameters, case.query, case.body)))  # nosec B311
        for part in ("path_parameters", "query", "body"):
            values = getattr(case, part)
            if isinstance(values, dict):
                setattr(case, part, _with_rows(values, chance, case.operation.path.partition("{")[0]))


def _with_rows(values: dict[str, Any], chance: Random, path: str) -> dict[str, Any]:
    """Return the fields with some ids replaced; an ``id`` in a path is one of the resource before it."""
    return {name: _row(KNOWN.get(path if name == "id" else name), value, chance) for name, value in values.items()}


def _row(ids: list[str] | None, value: Any, chance: Random) -> Any:
    if not ids or value is None or chance.random() > CHANCE:
        return value
    if isinstance(value, list):
        return [chance.choice(ids) for _ in value]
    if isinstance(value, dict):
        return {chance.choice(ids): level for level in value.values()}
    return chance.choice(ids)
