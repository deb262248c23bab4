"""``manage.py backup`` and ``restore``: what comes back is equal, and nothing is lost that wasn't told to be."""

import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from io import StringIO
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar
from unittest.mock import patch

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone
from rest_framework.test import APIClient

from ctj_api import backups
from ctj_api.backups import LEFT_OUT, BackupError, back_up, check_backup, checksum_file, read_backup, restore
from ctj_api.models import AttemptCount, Opportunity, Skill, SkillMatrix, UserProfile

from .common import (
    PASSWORD,
    PATIENCE_SECONDS,
    make_admin_user,
    make_matrix,
    make_opportunity,
    make_project,
    make_regular_user,
    make_skill,
    other_connection,
    wait_until,
)
from .databases import new_database, table_digests, using

ODD = "\\.\nCOPY public.ctj_api_skill (id) FROM stdin;\n\\N\t'\"$$;--\r\n\x01\u2028 Ünï ﷽ 😀 %s {} \\"
ONES_OWN = """
CREATE TYPE mood AS ENUM ('well'); CREATE TYPE pair AS (a int, b mood); CREATE DOMAIN few AS int CHECK (VALUE < 9);
CREATE TYPE span AS RANGE (subtype = int); CREATE COLLATION own FROM "C";
CREATE TEXT SEARCH DICTIONARY own (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION own (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION own ALTER MAPPING FOR word WITH own;
CREATE TABLE newer (id serial, n int GENERATED ALWAYS AS IDENTITY, p pair, f few, s span, name text COLLATE own);
CREATE STATISTICS stat ON id, n FROM newer;
CREATE TABLE parted (x int) PARTITION BY RANGE (x); CREATE TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (9);
CREATE FUNCTION like_it(mood, pair) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE PROCEDURE change(x few) LANGUAGE sql AS 'SELECT 1'; CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
CREATE OPERATOR #># (LEFTARG = mood, RIGHTARG = pair, FUNCTION = like_it);
CREATE OPERATOR FAMILY family USING btree; CREATE CONVERSION one FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
INSERT INTO newer (p, f, s, name) VALUES ((1, 'well'), 5, '[1,5)', 'x'); INSERT INTO parted VALUES (4);
"""
# The command, with a signal that comes by another thread, once a line is read.
BACKUP_WITH_SIGNAL = """
import signal, sys, threading

from serving.processes import exit_on_signals

def get_signal():
    sys.stdin.readline()
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

exit_on_signals()
threading.Thread(target=get_signal).start()

import django
from django.core.management import call_command

django.setup()
call_command("backup", sys.argv[1])
"""
OBJECT = re.compile(r"^\d+; \d+ \d+ (.+) \S+$", re.MULTILINE)


def fill() -> None:
    """Put a demo into the database, and rows that are hard to write down."""
    with override_settings(DEBUG=True):
        call_command("seed_demo", opportunities=60, volunteers=40, password=PASSWORD, stdout=StringIO())
    skill = make_skill(name=f"Odd {ODD}"[:255])
    make_opportunity({skill: 5}, body=ODD, project=make_project(name='O\'Neil "&" \\N'))
    week = {"timezone": "UTC", "slots": [{"day": "mon", "start": "00:00", "end": "24:00", "name": ODD}] * 100}
    make_project(meeting_times=week)
    levels = dict.fromkeys(Skill.objects.order_by("pk")[:100], 3)
    admin = make_admin_user(email="ädmin@example.org", first_name="", last_name='O\'Neil "&" \\N', levels=levels)
    make_opportunity(status="draft").delete()
    Group.objects.create(name="gone").delete()
    LogEntry.objects.create(user=admin, object_repr=ODD[:200], action_flag=2, change_message=ODD)
    Session.objects.create(session_key="secret", session_data="x", expire_date=timezone.now())
    AttemptCount.objects.create(key="x", attempts=7, ends_at=timezone.now())


def answers() -> dict[str, Any]:
    """Return what the API tells a volunteer."""
    client = APIClient()
    client.force_authenticate(UserProfile.objects.get(email="volunteer1@example.org"))
    paths = ("opportunities/", "opportunities/?search=data", "skills/", "projects/", "users/me/", "users/me/matches/")
    return {path: client.get(f"/api/{path}").json() for path in paths}


def objects_in(file: Path) -> list[str]:
    """Return the kind and name of everything that a backup makes."""
    command = [str(backups._tools() / "pg_restore"), "--list", str(file)]
    return sorted(OBJECT.findall(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def schema_of(file: Path) -> list[str]:
    """Return the SQL that makes the tables and what belongs to them."""
    command = [str(backups._tools() / "pg_restore"), "--schema-only", "--file=-", str(file)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if not line.startswith(("--", "\\"))]


def make_views() -> None:
    """Have two views and a materialized one look at each table."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(
                f'CREATE VIEW "{table} view" AS SELECT * FROM "{table}";'
                f'CREATE MATERIALIZED VIEW "{table} copy" AS SELECT * FROM "{table} view";'
                f'CREATE VIEW "a view of {table}" AS SELECT * FROM "{table} copy"'
            )


@contextmanager
def replaced_unpacking(command: str) -> Iterator[None]:
    """Have the script that is restored, not the check before it, come from ``command`` of a shell."""
    unpack = backups._unpack
    calls = 0

    def unpacking(file: Path) -> list[str]:
        nonlocal calls
        calls += 1
        return unpack(file) if calls == 1 else ["bash", "-c", command, *unpack(file)]

    with patch.object(backups, "_unpack", unpacking):
        yield


class BackupTestCase(TransactionTestCase):
    """A database with rows in it, and a backup of it."""

    serialized_rollback = True
    source: ClassVar[str]
    folder: ClassVar[Path]
    file: ClassVar[Path]
    digests: ClassVar[dict[str, str]]

    @classmethod
    def setUpClass(cls) -> None:
        """Fill the database and back it up."""
        super().setUpClass()
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.source = cls.enterClassContext(new_database("source"))
        cls.file = cls.folder / "backup"
        with using(cls.source):
            call_command("migrate", verbosity=0)
            fill()
            cls.digests = table_digests(LEFT_OUT)
            back_up(cls.file)

    def target(self) -> None:
        """Go on with an empty database."""
        self.enterContext(using(self.enterContext(new_database("target"))))

    def restored(self) -> None:
        """Go on with a database to which the backup was restored."""
        self.target()
        restore(self.file)

    def copy(self, content: bytes | None = None) -> Path:
        """Return another file with the content of the backup, or with another one."""
        file = Path(self.enterContext(tempfile.TemporaryDirectory())) / "copy"
        file.write_bytes(self.file.read_bytes() if content is None else content)
        return file

    @contextmanager
    def changed_source(self) -> Iterator[Path]:
        """Give the name of a file for a backup of what the test makes of the restored database."""
        with new_database("changed") as name, using(name), tempfile.TemporaryDirectory() as folder:
            restore(self.file)
            yield Path(folder) / "changed"

    def assert_refused(self, file: Path, reason: str, replace: bool = False) -> None:
        """Fail unless the restore tells why, and the database is as it was."""
        before = table_digests()
        with self.assertRaisesRegex(BackupError, reason):
            restore(file, replace)
        self.assertEqual(table_digests(), before)


class RoundTripTests(BackupTestCase):
    """What comes back."""

    def test_restored_tables_and_sequences_are_equal(self) -> None:
        """Each column of each row, odd ones included."""
        self.restored()
        self.assertEqual(table_digests(LEFT_OUT), self.digests)
        self.assertIn(ODD, Opportunity.objects.values_list("body", flat=True))
        self.assertGreater(len(self.digests), 20)

    def test_restored_api_gives_the_same_answers_under_other_validators(self) -> None:
        """In the same process: its indexes and versions notice that the tables are others."""
        with using(self.source):
            before, validator = answers(), self.client.get("/api/opportunities/")["ETag"]
            Opportunity.objects.filter(status="open").update(status="open")
        self.restored()
        self.assertEqual(answers(), before)
        self.assertTrue(before["users/me/matches/"])
        self.assertNotEqual(self.client.get("/api/opportunities/")["ETag"], validator)
        self.assertEqual(self.client.get("/api/opportunities/", headers={"If-None-Match": validator}).status_code, 200)

    def test_restored_schema_is_equal(self) -> None:
        """The same objects; their SQL is compared a generation later, when PostgreSQL has put it into its own words."""
        self.restored()
        second, third = self.folder / "second", self.folder / "third"
        back_up(second)
        restore(second, replace=True)
        back_up(third)
        self.assertEqual(objects_in(second), objects_in(self.file))
        self.assertEqual(schema_of(third), schema_of(second))
        self.assertGreater(len([line for line in schema_of(third) if "TRIGGER" in line]), 20)

    def test_restored_database_keeps_its_rules(self) -> None:
        """Triggers, deferred ones included, constraints, foreign keys and search documents."""
        self.restored()
        listing = Opportunity.objects.get(body=ODD)
        rated = Skill.objects.get(pk=next(iter(listing.skills_required_matrix.levels)))
        with self.assertRaisesMessage(IntegrityError, "still rates this skill"):
            rated.delete()
        with self.assertRaisesMessage(IntegrityError, "must have one owner"):
            make_matrix({rated: 1})
        with self.assertRaisesMessage(IntegrityError, "opportunity_status_enum"):
            Opportunity.objects.update(status="lost")
        rated.name = "Zymurgy"
        rated.save()
        found = self.client.get("/api/opportunities/?search=zymurgy").json()
        self.assertEqual([row["id"] for row in found], [str(listing.pk)])

    def test_restored_database_takes_new_rows(self) -> None:
        """Sequences go on where they were, and the deleted group's number is not given again."""
        with using(self.source):
            newest = LogEntry.objects.latest("pk").pk
        self.restored()
        self.assertEqual(Group.objects.create(name="new").pk, 2)
        admin = UserProfile.objects.get(email="ädmin@example.org")
        self.assertEqual(LogEntry.objects.create(user=admin, action_flag=1).pk, newest + 1)

    def test_sessions_attempts_and_notes_of_transactions_are_left_out(self) -> None:
        """Their tables are there, and empty; no session key is in the file."""
        self.restored()
        for table in ("django_session", "ctj_api_attemptcount", "ctj_change"):
            with self.subTest(table), connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {table}")
                self.assertEqual(cursor.fetchone(), (0,))
        with using(self.source):
            self.assertEqual(Session.objects.count(), 1)

    def test_backup_shows_one_moment_while_rows_are_written(self) -> None:
        """Each transaction writes to the first and to the last table, and is there in both or in neither."""
        wrote, stop = Event(), Event()

        def write() -> None:
            try:
                while not stop.is_set():
                    with transaction.atomic():
                        make_regular_user({}, first_name="pair")
                        Group.objects.create(name=f"pair {Group.objects.count()}")
                    wrote.set()
            finally:
                connection.close()

        with self.changed_source() as file:
            writer = Thread(target=write)
            writer.start()
            try:
                self.assertTrue(wrote.wait(PATIENCE_SECONDS))
                contents = back_up(file)
                wait_until(lambda: Group.objects.count() > contents.rows["public.auth_group"])
            finally:
                stop.set()
                writer.join()
            restore(file, replace=True)
            there = Group.objects.count()
            self.assertEqual(UserProfile.objects.filter(first_name="pair").count(), there)
            self.assertEqual(contents.rows["public.auth_group"], there)
            self.assertGreater(there, 0)

    def test_restored_tables_are_known_to_the_planner_at_once(self) -> None:
        """Their rows are counted and need no look whether they show, whatever a ``.psqlrc`` says."""
        with tempfile.NamedTemporaryFile("w") as psqlrc, patch.dict(os.environ, PSQLRC=psqlrc.name):
            psqlrc.write("\\! kill -KILL $PPID\n")
            psqlrc.flush()
            self.restored()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relallvisible > 0, reltuples FROM pg_class WHERE oid = 'ctj_api_userprofile'::regclass"
            )
            self.assertEqual(cursor.fetchone(), (True, UserProfile.objects.count()))
            cursor.execute("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'ctj_api_userprofile'")
            self.assertEqual(cursor.fetchone(), (True,))

    def test_whatever_the_schema_may_hold_comes_back(self) -> None:
        """Of all that one can make in it, replaced by itself."""
        again = self.folder / "ones own, again"
        with self.changed_source() as file:
            with connection.cursor() as cursor:
                cursor.execute(ONES_OWN)
            make_views()
            back_up(file)
            digests = table_digests(LEFT_OUT)
            restore(file, replace=True)
            back_up(again)
            self.assertEqual(objects_in(again), objects_in(file))
            self.assertEqual(table_digests(LEFT_OUT), digests)
            self.assertIn("newer", digests)

    def test_other_schemas_are_no_part_of_a_backup_and_left_alone(self) -> None:
        """What others keep beside the application."""
        with self.changed_source() as file, connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA theirs; CREATE TABLE theirs.numbers AS SELECT 1 AS x")
            back_up(file)
            self.assertNotIn("theirs", "".join(objects_in(file)))
            cursor.execute("UPDATE theirs.numbers SET x = 2")
            restore(file, replace=True)
            cursor.execute("SELECT x FROM theirs.numbers")
            self.assertEqual(cursor.fetchone(), (2,))

    def test_older_backup_is_restored_and_then_migrated(self) -> None:
        """As the next start of the server does."""
        with using(self.source):
            expected = answers()
        with self.changed_source() as file:
            call_command("migrate", "ctj_api", "0005", verbosity=0)
            back_up(file)
            restore(file, replace=True)
            self.assertNotIn("ctj_change", connection.introspection.table_names())
            call_command("migrate", verbosity=0)
            self.assertEqual(answers(), expected)


class RefusalTests(BackupTestCase):
    """What is not restored leaves everything as it was."""

    def test_database_with_tables_is_left_alone_unless_told_otherwise(self) -> None:
        """Even if nobody has written to it yet."""
        self.target()
        call_command("migrate", verbosity=0)
        self.assert_refused(self.file, "tables already.*--replace")

    def test_replacing_leaves_nothing_of_what_was_there(self) -> None:
        """Whatever the backup doesn't know is gone, and what hangs on it; extensions are nobody's data."""
        self.restored()
        UserProfile.objects.filter(is_superuser=True).update(first_name="changed")
        with connection.cursor() as cursor:
            cursor.execute(f"{ONES_OWN} CREATE EXTENSION btree_gin")
        make_views()
        restore(self.file, replace=True)
        again = self.folder / "again"
        back_up(again)
        self.assertEqual(objects_in(again), objects_in(self.file))
        with connection.cursor() as cursor:
            cursor.execute("CREATE INDEX ON ctj_api_skill USING gin (created_at); DROP EXTENSION btree_gin CASCADE")
        self.assertEqual(table_digests(LEFT_OUT), self.digests)

    def test_truncated_file_is_refused(self) -> None:
        """Wherever it ends, and without a checksum beside it."""
        self.restored()
        content = self.file.read_bytes()
        for length in (0, 3, 100, len(content) // 2, len(content) - 1):
            with self.subTest(length):
                self.assert_refused(self.copy(content[:length]), "is damaged", replace=True)

    def test_file_with_another_byte_is_refused(self) -> None:
        """The checksum tells of any; without one, PostgreSQL finds what is within the rows."""
        self.restored()
        content = bytearray(self.file.read_bytes())
        content[len(content) // 2] ^= 1
        file = self.copy(bytes(content))
        self.assert_refused(file, "is damaged", replace=True)
        checksum_file(file).write_text(checksum_file(self.file).read_text())
        with patch.object(backups, "read_backup", side_effect=AssertionError("the checksum comes first")):
            self.assert_refused(file, "is damaged: copy.sha256 tells of another content", replace=True)

    def test_file_of_something_else_is_refused(self) -> None:
        """A text, a folder, no file at all, and the backup of another database."""
        self.restored()
        self.assert_refused(self.copy(b"CREATE TABLE x ();"), "is damaged, or no backup", replace=True)
        self.assert_refused(self.folder, "There is no file", replace=True)
        self.assert_refused(self.folder / "missing", "There is no file", replace=True)
        with new_database("other") as name:
            other = self.folder / "other"
            with using(name), connection.cursor() as cursor:
                cursor.execute("CREATE TABLE django_migrations (app, name) AS VALUES ('blog', '0001_initial')")
                back_up(other)
            self.assert_refused(other, "something else", replace=True)

    def test_backup_of_a_newer_version_is_refused(self) -> None:
        """It names the migrations that are unknown here; those of an application that isn't installed don't count."""
        with self.changed_source() as file, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO django_migrations (app, name, applied) VALUES ('former', '0001_initial', now())"
            )
            back_up(file)
            check_backup(file)
            cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('ctj_api', '9999_x', now())")
            back_up(file, overwrite=True)
            self.assert_refused(file, r"newer version of the server \(ctj_api 9999_x\)", replace=True)

    def test_failure_in_the_middle_leaves_the_former_rows(self) -> None:
        """The script breaks off with and without a failure, is wrong, or its maker is killed."""
        self.restored()
        UserProfile.objects.update(first_name="former")
        for command in (
            '"$0" "$@" | head -n 900',
            '"$0" "$@" | head -n 900; exit 1',
            '"$0" "$@"; exit 1',
            '"$0" "$@"; echo "SELECT wrong;"',
            '"$0" "$@" | head -n 900; kill -9 $$',
            '"$0" "$@" | sed "/^COPY public.django_admin_log /{n;d}"',
        ):
            with self.subTest(command), replaced_unpacking(command):
                self.assert_refused(self.file, "Nothing was restored", replace=True)
        self.assertEqual(set(UserProfile.objects.values_list("first_name", flat=True)), {"former"})

    def test_restore_waits_for_others_only_so_long(self) -> None:
        """Whoever reads for long keeps the restore out, not the other way round."""
        self.restored()
        quick = backups.NEVER_WAITS_FOR_EVER.replace(f"lock_timeout={backups.LOCK_SECONDS}s", "lock_timeout=50ms")
        self.assertNotEqual(quick, backups.NEVER_WAITS_FOR_EVER)
        with transaction.atomic():
            self.assertTrue(UserProfile.objects.exists())
            with (
                patch.object(backups, "NEVER_WAITS_FOR_EVER", quick),
                self.assertRaisesRegex(BackupError, "lock timeout"),
            ):
                restore(self.file, replace=True)
        self.assertEqual(table_digests(LEFT_OUT), self.digests)

    def test_restore_whose_connections_are_ended_tells_that_nothing_was_restored(self) -> None:
        """As when the server stops: the lock is lost too."""
        self.restored()
        end_the_others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        command = f'echo "{end_the_others} AND datname = current_database(); SELECT wrong;"'
        self.addCleanup(connection.close)
        with replaced_unpacking(command), self.assertRaisesMessage(CommandError, "Nothing was restored"):
            call_command("restore", str(self.file), "--replace")
        connection.close()
        self.assertEqual(table_digests(LEFT_OUT), self.digests)

    def test_second_restore_at_once_is_refused(self) -> None:
        """Whichever comes first goes on, and the next one after it is welcome."""
        self.restored()
        held, done = Event(), Event()

        def hold() -> None:
            try:
                with backups._alone():
                    held.set()
                    done.wait()
            finally:
                connection.close()

        other = Thread(target=hold)
        other.start()
        try:
            self.assertTrue(held.wait(PATIENCE_SECONDS))
            self.assert_refused(self.file, "Another restore", replace=True)
        finally:
            done.set()
            other.join()
        restore(self.file, replace=True)


class FileTests(BackupTestCase):
    """What lies on the disk."""

    def setUp(self) -> None:
        """Go on with the filled database and a folder of the test's own."""
        self.enterContext(using(self.source))
        self.place = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_backup_is_its_owners_only_and_has_a_checksum_that_sha256sum_knows(self) -> None:
        """And nothing else is left in the folder."""
        file = self.place / "new one"
        back_up(file)
        self.assertEqual({entry.name for entry in self.place.iterdir()}, {"new one", "new one.sha256"})
        for entry in self.place.iterdir():
            self.assertEqual(stat.S_IMODE(entry.stat().st_mode), 0o600)
        check = ["sha256sum", "--check", checksum_file(file).name]
        subprocess.run(check, cwd=self.place, check=True, capture_output=True)

    def test_existing_file_is_kept_unless_told_otherwise(self) -> None:
        """Also one that comes while the backup is made."""
        file = self.place / "mine"
        file.write_text("precious")
        with self.assertRaisesRegex(BackupError, "exists: choose another name"):
            back_up(file)
        self.assertEqual([entry.read_text() for entry in self.place.iterdir()], ["precious"])
        back_up(file, overwrite=True)
        check_backup(file)

    def test_file_that_comes_meanwhile_is_kept(self) -> None:
        """Two backups under one name: the first to finish stays."""
        file = self.place / "mine"

        def read_late(part: Path) -> backups.Contents:
            file.write_text("precious")
            return read_backup(part)

        with (
            patch.object(backups, "read_backup", read_late),
            self.assertRaisesRegex(BackupError, "made by another meanwhile"),
        ):
            back_up(file)
        self.assertEqual([entry.read_text() for entry in self.place.iterdir()], ["precious"])

    def test_only_files_are_replaced(self) -> None:
        """Not a folder, a device or a link, wherever that leads; nothing is written before that is told."""
        there, link, dangling = self.place / "there", self.place / "link", self.place / "dangling"
        there.mkdir()
        link.symlink_to(self.file)
        dangling.symlink_to(self.place / "nowhere")
        for file in (there, link, dangling, Path("/dev/null")):
            with (
                self.subTest(file),
                patch.object(backups, "_dump", side_effect=AssertionError("the name comes first")),
                self.assertRaisesRegex(BackupError, "is no file of its own"),
            ):
                back_up(file, overwrite=True)
        with self.assertRaisesRegex(BackupError, "exists: choose another name"):
            back_up(dangling)

    def test_name_is_given_to_nothing_but_a_whole_file(self) -> None:
        """Whenever it is killed."""
        file = self.place / "mine"
        check_backup(self.file)
        with (
            patch.object(Path, "replace", side_effect=OSError("killed here")),
            self.assertRaisesMessage(OSError, "killed here"),
        ):
            back_up(file)
        self.assertTrue(check_backup(file).rows)

    def with_endless_dump(self) -> dict[str, str]:
        """Return an environment in which ``pg_dump`` says that it dumps, and goes on for ever."""
        program = self.place / "pg_dump"
        program.write_text('#!/bin/sh\n[ "$*" != --version ] || exec echo "pg_dump (x) 99"\necho dumps; exec sleep 900')
        program.chmod(0o755)
        return os.environ | {
            "SQL_DATABASE": self.source,
            "DJANGO_DEBUG": "true",
            "PATH": f"{self.place}:{os.environ['PATH']}",
        }

    @unittest.skipUnless(sys.platform == "linux", "only Linux tells a process of its parent's death")
    def test_ended_backup_ends_pg_dump_and_leaves_no_file(self) -> None:
        """SIGKILL leaves the file alone; what ``pg_dump`` holds would keep the output open."""
        environment = self.with_endless_dump()
        for number, left in ((signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGKILL, 1)):
            with self.subTest(number), tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "manage.py", "backup", str(Path(folder) / "file")]
                with self.dumping(command, environment) as process:
                    process.send_signal(number)
                    self.assertEqual(process.communicate(timeout=PATIENCE_SECONDS), (b"", b""))
                self.assertEqual(len(list(Path(folder).iterdir())), left)

    @contextmanager
    def dumping(self, command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Have a command run whose ``pg_dump`` has begun; at the end it is killed, if it still runs."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=environment, stdin=pipe, stdout=pipe, stderr=pipe
        ) as process:
            assert process.stdout is not None
            try:
                self.assertEqual(process.stdout.readline(), b"dumps\n")
                yield process
            finally:
                process.kill()

    def test_signal_that_interrupts_no_wait_ends_the_backup_too(self) -> None:
        """One that comes just before the wait; here another thread takes it."""
        command = [sys.executable, "-c", BACKUP_WITH_SIGNAL, str(self.place / "mine")]
        environment = self.with_endless_dump() | {"DJANGO_SETTINGS_MODULE": "backend.settings"}
        with self.dumping(command, environment) as process:
            self.assertEqual(process.communicate(b"now\n", timeout=PATIENCE_SECONDS), (b"", b""))
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.assertEqual([entry.name for entry in self.place.iterdir()], ["pg_dump"])

    def test_backup_waits_for_a_table_only_so_long(self) -> None:
        """Shorter than it is held here."""
        connection.ensure_connection()
        with other_connection() as other:
            other.execute("SET idle_in_transaction_session_timeout = '10s'")
            other.execute("LOCK TABLE ctj_api_skill")
            with patch.object(backups, "LOCK_SECONDS", 1), self.assertRaisesRegex(BackupError, "ctj_api_skill"):
                back_up(self.place / "mine")
            other.rollback()
        self.assertEqual(list(self.place.iterdir()), [])

    def test_failed_backup_leaves_the_former_one_and_nothing_else(self) -> None:
        """Of ``pg_dump``, and of reading what it wrote."""
        file = self.place / "mine"
        file.write_text("precious")
        failures = (
            patch.dict(connection.settings_dict, NAME="no_such_database"),
            patch.object(backups, "read_backup", side_effect=BackupError("unreadable")),
        )
        backups._tools()
        for failure in failures:
            with failure, self.assertRaisesRegex(BackupError, "no_such_database|unreadable"):
                back_up(file, overwrite=True)
            self.assertEqual([entry.read_text() for entry in self.place.iterdir()], ["precious"])

    def test_backup_has_no_checksum_rather_than_a_former_one(self) -> None:
        """Where its writing fails after the file has got its name."""
        file = self.place / "mine"
        back_up(file)
        Group.objects.create(name="later")
        self.addCleanup(Group.objects.all().delete)
        with patch.object(Path, "write_text", side_effect=OSError("full")), self.assertRaisesMessage(OSError, "full"):
            back_up(file, overwrite=True)
        self.assertEqual(check_backup(file).rows["public.auth_group"], 1)

    def test_password_is_in_no_command_line(self) -> None:
        """Other users see those."""
        connection.ensure_connection()
        with patch.dict(connection.settings_dict, PASSWORD="hunter2"):
            command, environment = backups._client("pg_dump", "--format=custom")
        self.assertNotIn("hunter2", " ".join(command))
        self.assertEqual(environment["PGPASSWORD"], "hunter2")

    def test_file_may_have_the_name_of_an_option(self) -> None:
        """It is never taken for one."""
        with chdir(self.place):
            back_up(Path("--list"))
            self.assertTrue(check_backup(Path("--list")).rows)

    def test_count_of_rows_is_told(self) -> None:
        """Also by the check, which leaves the database as it is."""
        output = StringIO()
        file = self.place / "mine"
        call_command("backup", str(file), stdout=output)
        call_command("restore", str(file), "--check", stdout=output)
        people, listings = UserProfile.objects.count(), Opportunity.objects.count()
        told = f"{people} accounts, {listings} listings, "
        self.assertEqual(output.getvalue().count(told), 2)
        self.assertEqual(read_backup(file).rows["public.ctj_api_skillmatrix"], SkillMatrix.objects.count())

    def test_commands_work_from_a_shell_and_through_a_pipe(self) -> None:
        """Without an input, and with an error in one line."""
        piped = self.place / "piped"
        environment = os.environ | {"SQL_DATABASE": self.source, "DJANGO_DEBUG": "true"}
        manage = [sys.executable, "manage.py"]
        with piped.open("wb") as output:
            subprocess.run([*manage, "backup", "-"], cwd=settings.BASE_DIR, env=environment, stdout=output, check=True)
        check_backup(piped)
        command = [*manage, "restore", str(piped)]
        done = subprocess.run(
            command,
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\ACommandError: The database \w+ has \d+ tables already, .*\n\Z")

    def test_failures_are_told_by_the_commands(self) -> None:
        """A folder that is not there, a file that is not there."""
        for command in ("backup", "restore"):
            with self.subTest(command), self.assertRaisesMessage(CommandError, str(self.place / "no")):
                call_command(command, str(self.place / "no" / "file"))

    def test_missing_database_is_told_by_the_commands(self) -> None:
        """Without a traceback."""
        connection.close()
        self.addCleanup(connection.close)
        with patch.dict(connection.settings_dict, HOST="/nowhere"):
            for command in ("backup", "restore"):
                file = self.file if command == "restore" else self.place / "mine"
                with self.subTest(command), self.assertRaisesMessage(CommandError, "/nowhere/.s.PGSQL"):
                    call_command(command, str(file))
        self.assertEqual(list(self.place.iterdir()), [])


class ToolsTests(TestCase):
    """Which programs are taken."""

    def tools(self, *versions: int) -> str:
        """Return the name of the folder that is taken where the server is of version 18."""
        folders = [Path(str(number)) for number in versions]
        with (
            patch.object(backups, "_folders", return_value=folders),
            patch.object(backups, "_version", side_effect=lambda program: int(program.parent.name)),
        ):
            return backups._tools().name

    def test_first_programs_that_are_new_enough_are_taken(self) -> None:
        """``pg_dump`` refuses newer servers."""
        self.assertEqual(self.tools(18, 19), "18")
        self.assertEqual(self.tools(17, 19), "19")

    def test_missing_programs_are_told(self) -> None:
        """With what to do."""
        with self.assertRaisesRegex(BackupError, "of PostgreSQL 18 or newer are needed: install"):
            self.tools(15)
