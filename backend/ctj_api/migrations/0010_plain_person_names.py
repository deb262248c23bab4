"""Names that were there before the rule get a blank for what is no part of a name, and the rule holds for all rows."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

NO_PART_OF_A_NAME = r"[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+"
CLEAN = """
UPDATE ctj_api_userprofile SET
    first_name = trim(regexp_replace(first_name, %(bad)s, ' ', 'g')),
    last_name = trim(regexp_replace(last_name, %(bad)s, ' ', 'g')),
    updated_at = statement_timestamp()
WHERE first_name ~ %(bad)s OR last_name ~ %(bad)s
"""


class Migration(migrations.Migration):
    dependencies = [("ctj_api", "0009_person_names")]

    operations = [
        migrations.RunSQL([(CLEAN, {"bad": NO_PART_OF_A_NAME})], migrations.RunSQL.noop),
        ValidateConstraint(model_name="userprofile", name="user_first_name_plain"),
        ValidateConstraint(model_name="userprofile", name="user_last_name_plain"),
    ]
