"""Who a volunteer is for Cognito, and for PeopleDepot: columns that are empty until Stage 2 is switched on."""

from django.db import migrations, models
from django.db.models import CheckConstraint, Q, UniqueConstraint


class Migration(migrations.Migration):
    dependencies = [("ctj_api", "0015_account_sessions")]

    operations = [
        migrations.AddField(
            "userprofile",
            "cognito_pool",
            models.CharField(blank=True, db_default="", editable=False, max_length=64),
        ),
        migrations.AddField(
            "userprofile",
            "cognito_sub",
            models.CharField(blank=True, db_default="", editable=False, max_length=255),
        ),
        migrations.AddField(
            "userprofile",
            "people_depot_id",
            models.UUIDField(blank=True, editable=False, null=True, unique=True),
        ),
        migrations.AddConstraint(
            "userprofile",
            UniqueConstraint(
                fields=("cognito_pool", "cognito_sub"),
                condition=~Q(cognito_sub=""),
                name="user_cognito_sub_unique_in_pool",
            ),
        ),
        migrations.AddConstraint(
            "userprofile",
            CheckConstraint(
                condition=Q(cognito_pool="", cognito_sub="") | (~Q(cognito_pool="") & ~Q(cognito_sub="")),
                name="user_cognito_pool_with_sub",
            ),
        ),
    ]
