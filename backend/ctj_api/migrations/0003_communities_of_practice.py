"""The five communities of practice of Hack for LA, which every installation has."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

COMMUNITIES = {
    "data_science": ("Data Science", ""),
    "devops": ("DevOps", "Dev and IT Operations"),
    "engineering": ("Engineering", "Frontend and Backend"),
    "project_management": ("Project/Product Management", "Planning and Organization"),
    "ui_ux": ("UI/UX", "UX Design and Writing"),
}


def add_communities(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Add the communities that are missing."""
    community = apps.get_model("ctj_api", "CommunityOfPractice")
    for practice_area, (name, description) in COMMUNITIES.items():
        community.objects.using(schema_editor.connection.alias).get_or_create(
            practice_area=practice_area, defaults={"name": name, "description": description}
        )


class Migration(migrations.Migration):
    """Going back keeps the rows: people may have chosen them."""

    dependencies = [("ctj_api", "0002_skill_matrix_integrity")]

    operations = [migrations.RunPython(add_communities, migrations.RunPython.noop)]
