"""Whose session one is; those that are there are read once, so that they end with their account as well."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import migrations, models

# Whoever deletes a session, the version before this one too, knows nothing of this table. The lock that this takes lets
# sessions be read, but not end, until their owners are noted.
GOES_WITH_SESSION = """
ALTER TABLE ctj_api_accountsession ADD CONSTRAINT account_session_goes_with_session
    FOREIGN KEY (session_id) REFERENCES django_session ON DELETE CASCADE
"""
DETACHED = "ALTER TABLE ctj_api_accountsession DROP CONSTRAINT account_session_goes_with_session"
NOTE_OWNERS = """
INSERT INTO ctj_api_accountsession (session_id, user_id)
SELECT session_key, id FROM unnest(%s::text[], %s::text[]) AS found (session_key, owner)
JOIN ctj_api_userprofile ON id::text = owner
"""


def note_owners(apps: Any, schema_editor: Any) -> None:
    """Note whose session each is that can still be read."""
    sessions = dict(apps.get_model("sessions", "Session").objects.values_list("session_key", "session_data"))
    owners = [SessionStore().decode(data).get("_auth_user_id") for data in sessions.values()]
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(NOTE_OWNERS, [list(sessions), owners])


class Migration(migrations.Migration):
    dependencies = [
        ("ctj_api", "0014_old_texts"),
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
        migrations.RunSQL(GOES_WITH_SESSION, DETACHED),
        migrations.RunPython(note_owners, migrations.RunPython.noop),
    ]
