"""Search documents for the opportunities that are there, in short transactions: the site is served meanwhile."""

from itertools import batched

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

BATCH_SIZE = 500


def fill_search_documents(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Have the trigger fill what is empty."""
    opportunities = apps.get_model("ctj_api", "Opportunity").objects.using(schema_editor.connection.alias)
    empty = opportunities.filter(search_document=None).order_by("pk").values_list("pk", flat=True)
    for pks in batched(list(empty), BATCH_SIZE):
        opportunities.filter(pk__in=pks).update(search_document=None)


class Migration(migrations.Migration):
    """Can be run again after an interruption, and taken back for nothing."""

    atomic = False

    dependencies = [("ctj_api", "0004_search_document")]

    operations = [migrations.RunPython(fill_search_documents, migrations.RunPython.noop)]
