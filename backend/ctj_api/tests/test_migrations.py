"""Migrations: back and forward with rows in the tables, and nothing that the version before couldn't live with."""

from collections.abc import Sequence
from io import StringIO
from uuid import uuid4

from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from ctj_api.accounts.sessions import SessionStore
from ctj_api.models import AccountSession, Opportunity, Role, Skill, UserProfile

from .common import PASSWORD, browser, execute
from .databases import LEFT_OUT, new_database, table_digests, using

APP = "ctj_api"
# What tells when and by which transaction, not what anybody wrote.
MADE_ANEW = (*LEFT_OUT, "django_migrations")
# Made while there was no installation whose writes could wait.
BEFORE_THE_FIRST_RELEASE = {"0004_search_document", "0007_listing_indexes"}
# The version before fails where somebody writes a name with what can't be seen, as only an attacker or a defect does.
REFUSES_ATTACKS_ONLY = {"0009_person_names", "0013_normal_names"}
# Their constraints are of new columns, which that version leaves at their defaults.
CONSTRAINS_NEW_COLUMNS = {"0016_cognito", "0017_people_depot", "0018_opportunity_meetings", "0019_desk"}
INSERT_USER = """
    INSERT INTO ctj_api_userprofile (id, email, first_name, last_name, password, is_superuser, is_staff, is_active,
        is_project_manager, date_joined, created_at, updated_at)
    VALUES (gen_random_uuid(), %s, %s, %s, '', false, false, true, false, now(), now(), now())
"""
INSERT_SKILL = r"""
    INSERT INTO ctj_api_skill (id, name, description, created_at, updated_at) VALUES
    (gen_random_uuid(), %s, E'One\r\nTwo\rThree', now() + %s * interval '1 second', now())
"""
INSERT_ROLES = """
    INSERT INTO ctj_api_role (id, title, community_of_practice_id, created_at, updated_at)
    SELECT gen_random_uuid(), title, id, now() + interval '1 second' * number, now()
    FROM ctj_api_communityofpractice,
        unnest(ARRAY['Data Engineer', 'data engineer']) WITH ORDINALITY AS t(title, number)
    WHERE practice_area = 'devops' OR practice_area = 'engineering' AND number = 1
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
        known = BEFORE_THE_FIRST_RELEASE | REFUSES_ATTACKS_ONLY | CONSTRAINS_NEW_COLUMNS
        for migration in own_migrations():
            found = objections(migration.operations)
            with self.subTest(migration.name):
                if migration.name in known:
                    self.assertTrue(found, "It breaks nothing any more: take it out of the exceptions.")
                else:
                    self.assertEqual(found, [])

    def test_maintainer_is_told_of_whatever_breaks_the_version_before(self) -> None:
        """What takes away, renames or asks for more; new tables, columns and indexes break nothing."""
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


class OldRowTests(TransactionTestCase):
    """Names, texts and sessions that were stored before they had a normal form, or an owner."""

    def test_operator_migrating_is_told_of_names_that_become_the_same(self) -> None:
        """The younger of two skills gets a number; who has an odd address stays signed in, and can sign in anew."""
        names = ["Zq Caf\u00e9", "Zq Cafe\u0301", "zq  caf\u00e9\u200b", "Zq Café (2)", "\u200b", "Soft\u00a0\nskills "]
        expected = ["Zq Café", "Zq Café (3)", "zq café (4)", "Zq Café (2)", "Unnamed", "Soft skills"]
        people = {"Ana\r\n\u202ehttps://evil.example\u2028": "Ana https://evil.example", " Bo ": " Bo ", "...": ""}
        with new_database("names") as database, using(database):
            call_command("migrate", APP, "0008_attempt_count", verbosity=0)
            for age, name in enumerate(names):
                execute(INSERT_SKILL, name, age)
            execute(INSERT_ROLES)
            for number, name in enumerate(people):
                execute(INSERT_USER, f"{number}@localhost", name, name)
            call_command("migrate", "sessions", verbosity=0)
            (user,) = execute("SELECT id::text FROM ctj_api_userprofile ORDER BY email")
            for key, owner in {"first": user, "nobody": str(uuid4()), "none": "", "broken": None}.items():
                data = "x" if owner is None else SessionStore().encode({"_auth_user_id": owner} if owner else {})
                execute("INSERT INTO django_session VALUES (%s, %s, now() + interval '9 days')", key, data)
            with self.assertLogs("ctj_api.migrations.0013_normal_names", "WARNING") as logs:
                call_command("migrate", APP, verbosity=0)
            self.assertEqual(len(logs.output), 3)
            self.assertIn('Another skill is "Zq Café" already', logs.output[0])
            skills = Skill.objects.order_by("created_at").values_list("name", "description")
            self.assertEqual(list(skills), [(name, "One\nTwo\nThree") for name in expected])
            titles = sorted(Role.objects.values_list("title", flat=True))
            self.assertEqual(titles, ["Data Engineer", "Data Engineer", "data engineer (2)"])
            stored = UserProfile.objects.order_by("email").values_list("first_name", "last_name")
            self.assertEqual(list(stored), [(cleaned, cleaned) for cleaned in people.values()])
            account = UserProfile.objects.get(email="0@localhost")
            sessions = AccountSession.objects.values_list("session_id", "user_id")
            self.assertEqual((list(sessions), Session.objects.count()), ([("first", account.pk)], 4))
            account.set_password(PASSWORD)
            account.save()
            credentials = {"email": account.email, "password": PASSWORD}
            self.assertEqual(browser().post("/api/auth/login/", credentials).status_code, 200)


class RoundTripTests(TransactionTestCase):
    """Back to the first migration and forward again, one by one."""

    def test_operator_loses_no_row_by_going_back_and_forward(self) -> None:
        """All that anybody wrote is equal afterwards, the search documents included, and the rules hold again."""
        names = [migration.name for migration in own_migrations()]
        with new_database("migrations") as database, using(database):
            call_command("migrate", verbosity=0)
            with override_settings(DEBUG=True):
                call_command("seed_demo", opportunities=20, volunteers=20, password="x", stdout=StringIO())
            # What no version before 0019 can keep.
            Opportunity.objects.update(opened_at=None, filled_at=None)
            Skill.objects.update(aliases=[])
            before, rules = table_digests(MADE_ANEW), self.rules()
            for name in [*reversed(names[:-1]), *names[1:]]:
                call_command("migrate", APP, name, verbosity=0)
            self.assertEqual(table_digests(MADE_ANEW), before)
            self.assertEqual(self.rules(), rules)
            self.assertGreater(len(rules), 100)

    def rules(self) -> list[str]:
        """Return the definitions of all triggers, constraints and indexes of the database."""
        rules: list[str] = execute(
            "SELECT array_agg(rule ORDER BY rule) FROM ("
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal UNION ALL "
            "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint "
            "UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public') AS rules (rule)"
        )[0]
        return rules
