"""Names of people are one line of text: asked of every write from now on, while the next migration sees to old rows."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

import ctj_api.validators

NO_PART_OF_A_NAME = r"[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"


class Migration(migrations.Migration):
    dependencies = [("ctj_api", "0008_attempt_count")]

    operations = [
        # A validator is nothing in the database.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="userprofile",
                    name=field,
                    field=models.CharField(
                        blank=True, max_length=150, validators=[ctj_api.validators.validate_person_name]
                    ),
                )
                for field in ("first_name", "last_name")
            ]
        ),
        *[
            AddConstraintNotValid(
                model_name="userprofile",
                constraint=models.CheckConstraint(
                    condition=~models.Q((f"{field}__regex", NO_PART_OF_A_NAME)),
                    name=f"user_{field}_plain",
                ),
            )
            for field in ("first_name", "last_name")
        ],
    ]
