"""Gives rows of the catalogs other ids, in foreign keys, matrices and the admin's history as well."""

import json
from itertools import product
from uuid import UUID, uuid4

from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Model

from ctj_api.models import Project, Role, Skill

type Ids = dict[UUID, UUID]

# What these triggers keep doesn't depend on ids, or holds again when all are written. The other ones go on.
# No table may be altered while a foreign key of its rows is yet to be checked.
SWITCH_TRIGGERS = """
    SET CONSTRAINTS ALL IMMEDIATE;
    ALTER TABLE ctj_api_skill {0} TRIGGER skill_rated_stays;
    ALTER TABLE ctj_api_skillmatrix {0} TRIGGER matrix_renews_search_documents;
    ALTER TABLE ctj_api_opportunity {0} TRIGGER opportunity_search_document_kept;
    SET CONSTRAINTS ALL DEFERRED;
"""
COLUMNS: dict[type[Model], tuple[tuple[str, str], ...]] = {
    Skill: (("ctj_api_skill", "id"), ("ctj_api_skill_communities_of_practice", "skill_id")),
    Role: (("ctj_api_role", "id"),),
    Project: (("ctj_api_project", "id"),),
}
CHANGE_COLUMN = """
    UPDATE {table} SET {column} = (%(ids)s::jsonb ->> {column}::text)::uuid WHERE %(ids)s::jsonb ? {column}::text
"""
CHANGE_LISTINGS = """
    UPDATE ctj_api_opportunity SET
        project_id = coalesce((%(project)s::jsonb ->> project_id::text)::uuid, project_id),
        role_id = coalesce((%(role)s::jsonb ->> role_id::text)::uuid, role_id)
    WHERE %(project)s::jsonb ? project_id::text OR %(role)s::jsonb ? role_id::text
"""
CHANGE_MATRICES = """
    UPDATE ctj_api_skillmatrix SET levels = (
        SELECT jsonb_object_agg(coalesce(%(skill)s::jsonb ->> key, key), value) FROM jsonb_each(levels)
    )
    WHERE levels ?| ARRAY(SELECT jsonb_object_keys(%(skill)s::jsonb))
"""
CHANGE_HISTORY = """
    UPDATE django_admin_log SET object_id = %(ids)s::jsonb ->> object_id
    WHERE content_type_id = %(type)s AND %(ids)s::jsonb ? object_id
"""


def change_ids(ids: dict[type[Model], Ids]) -> None:
    """Give rows other ids, by model; the transaction must have locked their tables and those that refer to them."""
    moved = {model: {old: new for old, new in ids[model].items() if old != new} for model in COLUMNS}
    if not any(moved.values()):
        return
    with connection.cursor() as cursor:
        cursor.execute(SWITCH_TRIGGERS.format("DISABLE"))  # nobody else notices, for the locks keep others from writing
        for model, pairs in moved.items():
            # By way of ids that nobody has: the new ones may be those of other rows until now.
            ways = {old: uuid4() for old in pairs}
            steps = (ways, {way: pairs[old] for old, way in ways.items()})
            for (table, column), step in product(COLUMNS[model], steps):
                cursor.execute(CHANGE_COLUMN.format(table=table, column=column), {"ids": _as_json(step)})
            content_type = ContentType.objects.get_for_model(model)
            cursor.execute(CHANGE_HISTORY, {"ids": _as_json(pairs), "type": content_type.pk})
        cursor.execute(CHANGE_LISTINGS, {"project": _as_json(moved[Project]), "role": _as_json(moved[Role])})
        cursor.execute(CHANGE_MATRICES, {"skill": _as_json(moved[Skill])})
        cursor.execute(SWITCH_TRIGGERS.format("ENABLE"))


def _as_json(ids: Ids) -> str:
    return json.dumps({str(old): str(new) for old, new in ids.items()})
