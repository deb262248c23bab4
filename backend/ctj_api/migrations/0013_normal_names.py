"""Names of skills, roles and projects get their normal form; who has that of another gets a number, and is reported."""

import logging
from typing import Any

import django.db.models.functions
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import ctj_api.constraints
import ctj_api.fields

logger = logging.getLogger(__name__)

MAX_STEM = 240
FIELDS = (("skill", "name"), ("project", "name"), ("role", "title"))
WHITE_SPACE = r"\t-\r\u001c- \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
UNSEEN = (
    r"\u0001-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    r"\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
WORD = f"[^{WHITE_SPACE}{UNSEEN}]+"
HAS_LETTER = "(?![\u115f\u1160\u3164\uffa0])[[:alpha:]]"
# Nobody adds or renames meanwhile, but all is read.
LOCK = "LOCK TABLE ctj_api_skill, ctj_api_project, ctj_api_role IN SHARE ROW EXCLUSIVE MODE"
# The names that are right already stay; among the others the oldest comes first.
ROWS = """
SELECT id, {column}, coalesce(nullif(normal, ''), 'Unnamed'), {scope} FROM ctj_api_{table}, LATERAL (
    SELECT normalize(trim(regexp_replace(regexp_replace({column}, %s, '', 'g'), %s, ' ', 'g'))) AS normal
) AS name ORDER BY {column} <> normal, created_at, id
"""
RENAME = "UPDATE ctj_api_{table} SET {column} = %s, updated_at = statement_timestamp() WHERE id = %s"


def give_normal_names(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Rename the rows of each table whose names are in another form."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(LOCK)
        for table, column in FIELDS:
            scope = "community_of_practice_id" if table == "role" else "NULL"
            place = {"table": table, "column": column}
            cursor.execute(ROWS.format(**place, scope=scope), [f"[{UNSEEN}]", f"[{WHITE_SPACE}]+"])
            taken: set[tuple[Any, str]] = set()
            for pk, old, normal, within in cursor.fetchall():
                name = _free_name(normal, {key for community, key in taken if community == within})
                taken.add((within, _lower(name)))
                if name != old:
                    cursor.execute(RENAME.format(**place), [name, pk])
                if name != normal:
                    logger.warning('Another %s is "%s" already: %s is "%s" now. Merge them.', table, normal, pk, name)


def _free_name(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while _lower(free) in taken:
        number += 1
        free = f"{name[:MAX_STEM]} ({number})"
    return free


def _lower(name: str) -> str:
    return "".join(sign.lower()[0] for sign in name)


class Migration(migrations.Migration):
    dependencies = [("ctj_api", "0012_search_words")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(table, column, ctj_api.fields.NameField(db_collation="pg_c_utf8", max_length=255))
                for table, column in FIELDS
            ]
        ),
        migrations.RunPython(give_normal_names, migrations.RunPython.noop),
        migrations.AddConstraint(
            "role",
            models.UniqueConstraint(
                django.db.models.functions.Lower("title"),
                models.F("community_of_practice"),
                name="role_title_unique_in_any_case",
            ),
        ),
        migrations.RemoveConstraint("role", "role_title_unique_in_community"),
        *[
            migrations.AddConstraint(
                table,
                models.CheckConstraint(
                    condition=models.Q(
                        (f"{column}__regex", f"^{WORD}( {WORD})*$"), ctj_api.constraints.IsComposed(column)
                    ),
                    name=f"{table}_{column}_normal",
                ),
            )
            for table, column in FIELDS
        ],
        *[
            migrations.RemoveConstraint(table, f"{table}_{column}_filled")  # the new constraint says it as well
            for table, column in FIELDS
        ],
        # Asked of every write from now on, while the next migration sees to old rows.
        *[
            AddConstraintNotValid(
                "userprofile",
                models.CheckConstraint(
                    condition=models.Q(
                        (field, ""),
                        models.lookups.Regex(django.db.models.functions.Collate(field, "pg_c_utf8"), HAS_LETTER),
                        _connector="OR",
                    ),
                    name=f"user_{field}_letter",
                ),
            )
            for field in ("first_name", "last_name")
        ],
    ]
