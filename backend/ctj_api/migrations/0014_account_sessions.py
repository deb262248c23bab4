"""Whose session one is; those that are there are read once, so that they end with their account as well."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import migrations, models

# Whoever deletes a session, the version before this one too, knows nothing of this table.
GOES_WITH_SESSION = """
ALTER TABLE ctj_api_accountsession ADD CONSTRAINT account_session_goes_with_session
    FOREIGN KEY (session_id) REFERENCES django_session ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
"""
DETACHED = "ALTER TABLE ctj_api_accountsession DROP CONSTRAINT account_session_goes_with_session"
NOTE_OWNER = """
INSERT INTO ctj_api_accountsession (session_id, user_id)
SELECT session_key, id FROM django_session, ctj_api_userprofile WHERE session_key = %s AND id::text = %s
"""


def note_owners(apps: Any, schema_editor: Any) -> None:
    """Note whose session each is that can still be read."""
    sessions = apps.get_model("sessions", "Session").objects.values_list("session_key", "session_data")
    with schema_editor.connection.cursor() as cursor:
        for key, data in sessions:
            cursor.execute(NOTE_OWNER, [key, SessionStore().decode(data).get("_auth_user_id", "")])


class Migration(migrations.Migration):
    dependencies = [
        ("ctj_api", "0010_plain_person_names"),
        ("sessions", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountSession",
            fields=[
                (
                    "session",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="account",
                        serialize=False,
                        to="sessions.session",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sessions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.RunPython(note_owners, migrations.RunPython.noop),
        migrations.RunSQL(GOES_WITH_SESSION, DETACHED),
    ]
