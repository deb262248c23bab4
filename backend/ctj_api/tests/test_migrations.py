"""Migrations: back and forward with rows in the tables, and nothing that the version before couldn't live with."""

from collections.abc import Sequence
from io import StringIO
from uuid import uuid4

from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.core.management import call_command
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from ctj_api.accounts.sessions import SessionStore
from ctj_api.models import Opportunity, Skill, UserProfile

from .common import PASSWORD, browser
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
    VALUES (gen_random_uuid(), %(email)s, %(name)s, %(name)s, '', false, false, true, false, now(), now(), now())
"""
INSERT_SKILL = r"""
    INSERT INTO ctj_api_skill (id, name, description, created_at, updated_at) VALUES
    (gen_random_uuid(), %(name)s, E'One\r\nTwo\rThree', now() + %(age)s * interval '1 second', now())
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


class OldNameTests(TransactionTestCase):
    """Names and texts that were stored before they had a normal form."""

    def test_operator_migrating_is_told_of_names_that_become_the_same(self) -> None:
        """All get their form; the younger of two skills gets a number; who has an odd address can still sign in."""
        names = ["Zq Caf\u00e9", "Zq Cafe\u0301", "zq  caf\u00e9\u200b", "Zq Café (2)", "\u200b", "Soft\u00a0\nskills "]
        expected = ["Zq Café", "Zq Café (3)", "zq café (4)", "Zq Café (2)", "Unnamed", "Soft skills"]
        people = [
            ("Ana\r\n\u202ehttps://evil.example\u2028", "Ana https://evil.example"),
            (" Bo ", " Bo "),
            ("...", ""),
        ]
        with new_database("names") as database, using(database):
            call_command("migrate", APP, "0008_attempt_count", verbosity=0)
            with connection.cursor() as cursor:
                for age, name in enumerate(names):
                    cursor.execute(INSERT_SKILL, {"age": age, "name": name})
                cursor.execute(INSERT_ROLES)
                for number, (name, _) in enumerate(people):
                    cursor.execute(INSERT_USER, {"email": f"{number}@localhost", "name": name})
                with self.assertLogs("ctj_api.migrations.0013_normal_names", "WARNING") as logs:
                    call_command("migrate", APP, verbosity=0)
                self.assertEqual(len(logs.output), 3)
                self.assertIn('Another skill is "Zq Café" already', logs.output[0])
                cursor.execute("SELECT name, description FROM ctj_api_skill ORDER BY created_at")
                self.assertEqual(cursor.fetchall(), [(name, "One\nTwo\nThree") for name in expected])
                cursor.execute("SELECT title FROM ctj_api_role ORDER BY title COLLATE pg_c_utf8")
                self.assertEqual(cursor.fetchall(), [("Data Engineer",), ("Data Engineer",), ("data engineer (2)",)])
                cursor.execute("SELECT first_name, last_name FROM ctj_api_userprofile ORDER BY email")
                self.assertEqual(cursor.fetchall(), [(cleaned, cleaned) for _, cleaned in people])
            owner = UserProfile.objects.get(email="0@localhost")
            owner.set_password(PASSWORD)
            owner.save()
            response = browser().post("/api/auth/login/", {"email": owner.email, "password": PASSWORD})
            self.assertEqual(response.status_code, 200)


class AccountSessionTests(TransactionTestCase):
    """Sessions that were there before anybody asked whose they are."""

    def test_regular_user_stays_signed_in_and_the_session_is_known_as_theirs(self) -> None:
        """It ends with the account; sessions of nobody, and what can't be read, are left as they are."""
        with new_database("sessions") as database, using(database):
            call_command("migrate", APP, "0010_plain_person_names", verbosity=0)
            call_command("migrate", "sessions", verbosity=0)
            with connection.cursor() as cursor:
                cursor.execute(INSERT_USER, {"email": "ana@example.org", "name": "Ana"})
                cursor.execute("SELECT id::text FROM ctj_api_userprofile")
                (user,) = cursor.fetchone()
                for key, owner in (("of-ana", user), ("of-nobody", str(uuid4())), ("other", None)):
                    data = SessionStore().encode({"_auth_user_id": owner} if owner else {})
                    cursor.execute("INSERT INTO django_session VALUES (%s, %s, now() + interval '9 days')", [key, data])
                cursor.execute("INSERT INTO django_session VALUES ('broken', 'x', now())")
                call_command("migrate", APP, verbosity=0)
                cursor.execute("SELECT session_id, user_id::text FROM ctj_api_accountsession")
                self.assertEqual(cursor.fetchall(), [("of-ana", user)])
                cursor.execute("DELETE FROM django_session WHERE session_key = 'of-ana'")
                cursor.execute("SELECT (SELECT count(*) FROM django_session), count(*) FROM ctj_api_accountsession")
                self.assertEqual(cursor.fetchone(), (3, 0))


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
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal UNION ALL "
                "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint "
                "UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
            )
            return [definition for (definition,) in cursor.fetchall()]
