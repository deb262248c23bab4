"""Names of people without a letter become empty, and texts end their lines as new ones do."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

HAS_LETTER = "(?![\u115f\u1160\u3164\uffa0])[[:alpha:]]"
EMPTY_NAMES = """
UPDATE ctj_api_userprofile SET
    first_name = CASE WHEN first_name COLLATE pg_c_utf8 ~ %(letter)s THEN first_name ELSE '' END,
    last_name = CASE WHEN last_name COLLATE pg_c_utf8 ~ %(letter)s THEN last_name ELSE '' END,
    updated_at = statement_timestamp()
WHERE first_name <> '' AND first_name COLLATE pg_c_utf8 !~ %(letter)s
    OR last_name <> '' AND last_name COLLATE pg_c_utf8 !~ %(letter)s
"""
END_LINES = r"UPDATE ctj_api_{table} SET {column} = regexp_replace({column}, '\r\n?', E'\n', 'g') WHERE {column} ~ '\r'"


class Migration(migrations.Migration):
    dependencies = [("ctj_api", "0013_normal_names")]

    operations = [
        migrations.RunSQL(
            [
                (EMPTY_NAMES, {"letter": HAS_LETTER}),
                END_LINES.format(table="opportunity", column="body"),
                END_LINES.format(table="skill", column="description"),
                END_LINES.format(table="communityofpractice", column="description"),
            ],
            migrations.RunSQL.noop,
        ),
        ValidateConstraint("userprofile", "user_first_name_letter"),
        ValidateConstraint("userprofile", "user_last_name_letter"),
    ]
