"""The primary dies with what it had not sent to its standby, which takes over; or it crashes, and recovers."""

import os
from signal import SIGKILL
from typing import Any
from unittest.mock import patch

from django.core.management import call_command
from django.db import close_old_connections, connection
from django.test import SimpleTestCase

from backend.environment import EMBEDDED_DATABASE, EMBEDDED_PORT, EMBEDDED_USER, data_directory
from ctj_api.models import Opportunity, Skill
from devtools.embedded_postgres import BINARIES, Cluster, temporary_folder
from devtools.reliability.servers import connect

from .common import browser, execute, make_opportunity, make_skill, wait_until

PATHS = ("/api/opportunities/", "/api/skills/")


def standby_of(primary: Cluster, standby: Cluster) -> None:
    """Start a standby that streams from the primary."""
    account = primary.account()
    standby.home.mkdir(parents=True, mode=0o700)
    os.chown(standby.home, account.owner, -1)
    source = ("-h", primary.socket, "-p", str(EMBEDDED_PORT), "-U", EMBEDDED_USER)
    account.run(BINARIES / "pg_basebackup", *source, "-D", standby.data, "-R", "--checkpoint=fast")
    standby.bring_up()


def sql(cluster: Cluster, *statements: str) -> Any:
    """Return the first row of the last statement."""
    with connect(cluster.socket) as session:
        rows = [session.execute(statement) for statement in statements]
        return rows[-1].fetchone()


def numbers() -> Any:
    """Return which transaction has written the listing and the skill, and where they lie."""
    return execute(
        "SELECT xmin::text, ctid FROM ctj_api_opportunity UNION ALL SELECT xmin::text, ctid FROM ctj_api_skill"
    )


class FailoverTests(SimpleTestCase):
    """A primary and a standby of the test's own, both named by SQL_HOST."""

    databases = "__all__"

    def setUp(self) -> None:
        """Have a listing and a skill on both, and lead the API to whichever of them takes writes."""
        folder, _ = self.enterContext(temporary_folder(data_directory()))
        self.primary, self.standby = (Cluster(folder / name, temporary=True) for name in ("one", "two"))
        self.primary.bring_up()
        used = {
            "HOST": f"{self.standby.socket},{self.primary.socket}",
            "PORT": f"{EMBEDDED_PORT},{EMBEDDED_PORT}",
            "USER": EMBEDDED_USER,
            "NAME": EMBEDDED_DATABASE,
            "OPTIONS": connection.settings_dict["OPTIONS"] | {"target_session_attrs": "read-write"},
        }
        connection.close()
        self.enterContext(patch.dict(connection.settings_dict, used))
        self.addCleanup(connection.close)
        sql(self.primary, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
        standby_of(self.primary, self.standby)
        call_command("migrate", verbosity=0)
        make_opportunity()
        make_skill()
        (written,) = sql(self.primary, "SELECT pg_current_wal_flush_lsn()::text")
        wait_until(lambda: sql(self.standby, f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == (True,))
        self.reader = browser()
        self.reader.raise_request_exception = False

    def read(self, path: str, etag: str = "") -> Any:
        """Return the answer to a read, as the server gives it: with a connection that was good a moment ago."""
        close_old_connections()
        return self.reader.get(path, HTTP_IF_NONE_MATCH=etag)

    def change(self, text: str) -> None:
        """Change the listing and the skill, in a transaction each."""
        Opportunity.objects.update(body=text)
        Skill.objects.update(description=text)

    def test_client_with_a_lost_copy_gets_what_is_stored(self) -> None:
        """Although the same transactions have written rows to the same places, once on each server."""
        sql(self.standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        wait_until(lambda: sql(self.standby, "SELECT count(*) FROM pg_stat_wal_receiver") == (0,))
        self.change("lost")
        lost, copies = numbers(), [self.read(path) for path in PATHS]
        self.primary.stop("immediate")
        self.assertEqual(sql(self.standby, "SELECT pg_promote()"), (True,))
        wait_until(lambda: self.read(PATHS[0]).status_code == 200)
        self.change("kept")
        # The standby has much to write before its first checkpoint as a primary.
        self.assertEqual(sql(self.standby, "SELECT timeline_id FROM pg_control_checkpoint()"), (1,))
        self.assertEqual(numbers(), lost)
        for path, copy in zip(PATHS, copies, strict=True):
            with self.subTest(path):
                self.assertContains(copy, "lost")
                self.assertContains(self.read(path, copy["ETag"]), "kept")

    def test_client_after_a_crash_gets_a_change_whose_number_was_lost(self) -> None:
        """The crash leaves nothing of the transaction that was undone, so another one is given its number."""
        with connect(self.primary.socket) as session:
            session.execute("BEGIN")
            session.execute("UPDATE ctj_api_opportunity SET body = 'undone'")
            session.execute("ROLLBACK")
            self.read(PATHS[0])
            os.kill(session.info.backend_pid, SIGKILL)
        wait_until(lambda: self.read(PATHS[1]).status_code == 200)
        self.change("kept")
        self.assertContains(self.read(PATHS[0]), "kept")
