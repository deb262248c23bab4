"""Migrations: back and forward with rows in the tables, and nothing that the version before couldn't live with."""

from collections.abc import Sequence
from io import StringIO

from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.core.management import call_command
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from ctj_api.models import UserProfile

from .common import PASSWORD, browser
from .databases import LEFT_OUT, new_database, table_digests, using

APP = "ctj_api"
# What tells when and by which transaction, not what anybody wrote.
MADE_ANEW = (*LEFT_OUT, "django_migrations")
# Made while there was no installation whose writes could wait.
BEFORE_THE_FIRST_RELEASE = {"0004_search_document", "0007_listing_indexes"}
# The version before fails where somebody signs up with control characters in a name, as only an attacker does.
REFUSES_ATTACKS_ONLY = {"0009_person_names"}
INSERT_USER = """
    INSERT INTO ctj_api_userprofile (id, email, first_name, last_name, password, is_superuser, is_staff, is_active,
        is_project_manager, date_joined, created_at, updated_at)
    VALUES (gen_random_uuid(), %(email)s, %(name)s, %(name)s, '', false, false, true, false, now(), now(), now())
"""
HARMLESS = (
    migrations.CreateModel,
    migrations.AddField,
    migrations.AddIndex,
    AddIndexConcurrently,
    ValidateConstraint,
    migrations.AlterModelOptions,
    migrations.AlterModelManagers,
    migrations.RunPython,
    migrations.RunSQL,
)


def own_migrations() -> list[migrations.Migration]:
    """Return this application's migrations in their order."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return [loader.disk_migrations[key] for key in sorted(loader.disk_migrations) if key[0] == APP]


def objections(operations: Sequence[Operation]) -> list[str]:
    """Return what of a migration breaks the version before, which runs until the new one has started.

    That version writes rows without the new columns, and reads those that it knows. What takes a column or a table away
    comes one release after the last code that uses it, and is then an exception here, with a reason.
    """
    new_tables = {operation.name_lower for operation in operations if isinstance(operation, migrations.CreateModel)}
    return [text for operation in operations for text in _objections(operation, new_tables)]


def _objections(operation: Operation, new_tables: set[str]) -> list[str]:
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        return objections(operation.database_operations)
    if getattr(operation, "model_name_lower", None) in new_tables:
        return []
    if not isinstance(operation, HARMLESS):
        return [f"{operation.describe()}: the version before knows the database as it was"]
    if isinstance(operation, migrations.AddField):
        return _objections_to_column(operation)
    if isinstance(operation, migrations.AddIndex) and not isinstance(operation, AddIndexConcurrently):
        return [f"{operation.describe()}: writes wait for it; take AddIndexConcurrently"]
    return []


def _objections_to_column(operation: migrations.AddField) -> list[str]:
    field = operation.field
    if field.null or field.has_db_default() or field.many_to_many:
        return []
    return [f"{operation.describe()}: rows of the version before lack it; make it nullable, or give it a db_default"]


class CompatibilityTests(SimpleTestCase):
    """What the operations of each migration are."""

    def test_operator_can_take_every_migration_back(self) -> None:
        """Each of its operations."""
        found = own_migrations()
        self.assertGreater(len(found), 7)
        for migration in found:
            for operation in migration.operations:
                with self.subTest(migration=migration.name, operation=operation.describe()):
                    self.assertTrue(operation.reversible)

    def test_maintainer_is_told_how_a_migration_spares_the_version_before(self) -> None:
        """New ones are held to it; those before the first release, and those with a reason, still break it."""
        known = BEFORE_THE_FIRST_RELEASE | REFUSES_ATTACKS_ONLY
        for migration in own_migrations():
            found = objections(migration.operations)
            with self.subTest(migration.name):
                if migration.name in known:
                    self.assertTrue(found, "It breaks nothing any more: take it out of the exceptions.")
                else:
                    self.assertEqual(found, [])
        column = migrations.AddField("skill", "new", models.TextField(default=""))
        self.assertIn("give it a db_default", objections([column])[0])

    def test_maintainer_is_told_of_whatever_breaks_the_version_before(self) -> None:
        """Whatever takes away, renames, or asks for more than that version gives."""
        index = models.Index(fields=["name"], name="x")
        constraint = models.CheckConstraint(condition=models.Q(name="x"), name="x")
        breaking: list[Operation] = [
            migrations.RemoveField("skill", "name"),
            migrations.RenameField("skill", "name", "title"),
            migrations.AlterField("skill", "name", models.TextField()),
            migrations.DeleteModel("Skill"),
            migrations.RenameModel("Skill", "Ability"),
            migrations.AlterModelTable("Skill", "skill"),
            migrations.AlterUniqueTogether("skill", {("name",)}),
            migrations.AddConstraint("skill", constraint),
            AddConstraintNotValid("skill", constraint),
            migrations.AddField("skill", "new", models.TextField(default="")),
            migrations.AddIndex("skill", index),
            migrations.SeparateDatabaseAndState([migrations.RemoveField("skill", "name")]),
        ]
        for operation in breaking:
            with self.subTest(operation.describe()):
                self.assertEqual(len(objections([operation])), 1)

    def test_maintainer_may_do_what_the_version_before_does_not_notice(self) -> None:
        """New tables with all that belongs to them, columns that fill themselves, indexes made beside the writes."""
        index = models.Index(fields=["name"], name="x")
        harmless: list[Operation] = [
            migrations.CreateModel("New", [("name", models.TextField())]),
            migrations.AddIndex("new", index),
            migrations.AddField("skill", "new", models.TextField(null=True)),
            migrations.AddField("skill", "new", models.TextField(db_default="")),
            migrations.AddField("skill", "new", models.ManyToManyField("skill")),
            AddIndexConcurrently("skill", index),
            ValidateConstraint("skill", "x"),
            migrations.RunSQL("SELECT 1", ""),
        ]
        self.assertEqual(objections(harmless), [])


class OldAccountTests(TransactionTestCase):
    """Names and addresses that somebody signed up with before there was a rule for them."""

    serialized_rollback = True

    def test_owner_of_an_old_name_gets_it_cleaned_and_keeps_an_odd_address(self) -> None:
        """What is no part of a name becomes a blank; other rows are left alone, and can be signed in to."""
        with new_database("names") as database, using(database):
            call_command("migrate", APP, "0008_attempt_count", verbosity=0)
            with connection.cursor() as cursor:
                for email, name in (
                    ("bad@example.org", "Ana\r\n\u202ehttps://evil.example\u2028"),
                    ("good@localhost", " Bo "),
                ):
                    cursor.execute(INSERT_USER, {"email": email, "name": name})
                call_command("migrate", verbosity=0)
                cursor.execute("SELECT email, first_name, last_name FROM ctj_api_userprofile ORDER BY email")
                self.assertEqual(
                    cursor.fetchall(),
                    [("bad@example.org", *["Ana https://evil.example"] * 2), ("good@localhost", " Bo ", " Bo ")],
                )
            user = UserProfile.objects.get(email="good@localhost")
            user.set_password(PASSWORD)
            user.save()
            response = browser().post("/api/auth/login/", {"email": user.email, "password": PASSWORD})
            self.assertEqual(response.status_code, 200)


class RoundTripTests(TransactionTestCase):
    """Back to the first migration and forward again, one by one."""

    serialized_rollback = True

    def test_operator_loses_no_row_by_going_back_and_forward(self) -> None:
        """All that anybody wrote is equal afterwards, the search documents included, and the rules hold again."""
        names = [migration.name for migration in own_migrations()]
        with new_database("migrations") as database, using(database):
            call_command("migrate", verbosity=0)
            with override_settings(DEBUG=True):
                call_command("seed_demo", opportunities=20, volunteers=20, password="x", stdout=StringIO())
            before, rules = table_digests(MADE_ANEW), self.rules()
            for name in [*reversed(names[:-1]), *names[1:]]:
                call_command("migrate", APP, name, verbosity=0)
            self.assertEqual(table_digests(MADE_ANEW), before)
            self.assertEqual(self.rules(), rules)
            self.assertGreater(len(rules), 100)

    def rules(self) -> list[str]:
        """Return the definitions of all triggers, constraints and indexes of the database."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal UNION ALL "
                "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint "
                "UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
            )
            return [definition for (definition,) in cursor.fetchall()]
