"""Gives rows of the catalogs other ids, in foreign keys, matrices and the admin's history as well."""

import json
from pathlib import Path
from uuid import UUID

from django.db import connection
from django.db.models import Model

CHANGE_IDS = Path(__file__).with_name("change_ids.sql").read_text(encoding="utf-8")


def change_ids(ids: dict[type[Model], dict[UUID, UUID]]) -> None:
    """Give rows other ids, by model; the transaction must have locked their tables and those that refer to them."""
    moved = {
        model._meta.model_name: {str(old): str(new) for old, new in pairs.items() if old != new}
        for model, pairs in ids.items()
    }
    if any(moved.values()):
        with connection.cursor() as cursor:
            cursor.execute(CHANGE_IDS, {"ids": json.dumps(moved)})
