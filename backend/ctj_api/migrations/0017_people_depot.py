"""Who keeps a row of a catalog, whether it is retired, and the synchronisations with PeopleDepot."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import CheckConstraint, Q

SOURCES = [("local", "CivicTechJobs"), ("peopledepot", "PeopleDepot")]
OUTCOMES = [
    ("done", "Done"),
    ("conflicts", "Done, but for conflicts"),
    ("refused", "Refused: too much would change"),
    ("failed", "Failed: nothing was changed"),
]
# Roles that wait for a community came from PeopleDepot, and nothing refers to them.
DELETE_WAITING = "DELETE FROM ctj_api_role WHERE community_of_practice_id IS NULL"


def _catalog_operations(model: str) -> list[migrations.operations.base.Operation]:
    source = models.CharField(choices=SOURCES, db_default="local", default="local", editable=False, max_length=16)
    return [
        migrations.AddField(model, "source", source),
        migrations.AddField(model, "retired_at", models.DateTimeField(blank=True, editable=False, null=True)),
        migrations.AddField(model, "seen_at", models.DateTimeField(blank=True, editable=False, null=True)),
        migrations.AddConstraint(
            model,
            CheckConstraint(condition=Q(source__in=["local", "peopledepot"]), name=f"{model}_source_enum"),
        ),
    ]


class Migration(migrations.Migration):
    dependencies = [("ctj_api", "0016_cognito")]

    operations = [
        *_catalog_operations("skill"),
        *_catalog_operations("role"),
        *_catalog_operations("project"),
        migrations.AddField(
            "communityofpractice",
            "people_depot_id",
            models.UUIDField(blank=True, editable=False, null=True, unique=True),
        ),
        migrations.AlterField(
            "role",
            "community_of_practice",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="roles",
                to="ctj_api.communityofpractice",
            ),
        ),
        migrations.RunSQL(migrations.RunSQL.noop, DELETE_WAITING),
        migrations.CreateModel(
            "SyncRun",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField(db_index=True)),
                ("ended_at", models.DateTimeField()),
                ("is_adoption", models.BooleanField(default=False, verbose_name="adoption")),
                ("outcome", models.CharField(choices=OUTCOMES, max_length=16)),
                ("plan", models.JSONField(default=dict)),
                ("reason", models.TextField(blank=True)),
            ],
            {"verbose_name": "synchronisation", "ordering": ("-started_at",)},
        ),
        migrations.AddConstraint(
            "syncrun",
            CheckConstraint(
                condition=Q(outcome__in=["done", "conflicts", "refused", "failed"]), name="sync_run_outcome_enum"
            ),
        ),
    ]
