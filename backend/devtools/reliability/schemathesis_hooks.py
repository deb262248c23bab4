"""What Schemathesis, which loads it, can't know from the schema: the CSRF cookie, and the ids of rows that exist."""

import json
import os
from random import Random
from typing import Any

import schemathesis

# The name of a field, or the path in front of an id → ids of rows that exist.
KNOWN: dict[str, list[str]] = json.loads(os.environ["FUZZ_KNOWN_IDS"])
# Other ids than these are tried as often: they lead to the refusals.
CHANCE = 0.5


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Send the cookie that belongs to the token; let valid requests name rows that exist, often."""
    case.cookies = {**(case.cookies or {}), "csrftoken": os.environ["FUZZ_CSRF_COOKIE"]}
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    chance = Random(repr((case.path_parameters, case.query, case.body)))  # nosec B311
    path = case.operation.path.partition("{")[0]
    for part in ("path_parameters", "query", "body"):
        values = getattr(case, part)
        if isinstance(values, dict):
            ids = {name: KNOWN.get(path if name == "id" else name) for name in values}
            setattr(case, part, {name: _with_ids(value, ids[name], chance) for name, value in values.items()})


def _with_ids(value: Any, ids: list[str] | None, chance: Random) -> Any:
    if not ids or value is None or chance.random() > CHANCE:
        return value
    if isinstance(value, list):
        return [chance.choice(ids) for _ in value]
    if isinstance(value, dict):
        return {chance.choice(ids): level for level in value.values()}
    return chance.choice(ids)
