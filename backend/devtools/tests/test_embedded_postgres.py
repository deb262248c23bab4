"""The embedded database: started, shared, stopped and cleaned up by processes that may die at any moment."""

import os
import secrets
import shlex
import signal
import stat
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import psycopg

from backend.environment import BASE_DIR, EMBEDDED_DATABASE, EMBEDDED_USER, data_directory, socket_directory
from ctj_api.tests.common import PATIENCE_SECONDS, wait_until
from devtools import embedded_postgres
from devtools.embedded_postgres import ROOT, Cluster, ClusterError

STRANGER = 4711
LONG = "x" * 90
COMMAND = (sys.executable, "-m", "devtools.embedded_postgres")
GO_ON = ("--", "sh", "-c", "echo runs; exec sleep 600")
NOTHING = ("--", "true")


class DatabaseTestCase(unittest.TestCase):
    """Gives each test a data folder, which is removed with all its clusters."""

    suffix = ""

    def setUp(self) -> None:
        """Make the folder."""
        self.data_dir = data_directory() / f"test-{secrets.token_hex(3)}{self.suffix}"
        self.data_dir.mkdir(parents=True)
        self.addCleanup(embedded_postgres._remove, self.data_dir)
        self.cluster = Cluster(self.data_dir)

    def launch(self, *arguments: str, command: Any = COMMAND, **environment: str) -> subprocess.Popen[str]:
        """Start the command line, or another command with its settings; it is ended after the test."""
        settings = os.environ | {"DATA_DIR": str(self.data_dir), "SQL_HOST": ""} | environment
        output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen((*command, *arguments), cwd=BASE_DIR, env=settings, **output)
        self.addCleanup(process.communicate, timeout=PATIENCE_SECONDS)
        self.addCleanup(process.terminate)
        return process

    def launch_server(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that goes on for as long as a server would, and return once it runs."""
        return self.await_command(self.launch("run", *arguments, *GO_ON))

    def await_command(self, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        """Return ``process`` once its command runs."""
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "runs\n")
        return process

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Wait for ``process`` and return its exit code, its output and its last message."""
        output, messages = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, output.strip(), ["", *messages.splitlines()][-1]

    def call(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run the command line to its end."""
        return self.finish(self.launch(*arguments, **environment))

    def ask(self, query: str, cluster: Cluster | None = None) -> Any:
        """Return the first value that the running database answers, if any."""
        host = str((cluster or self.cluster).socket)
        with psycopg.connect(host=host, user=EMBEDDED_USER, dbname=EMBEDDED_DATABASE, autocommit=True) as connection:
            cursor = connection.execute(query)
            row = cursor.fetchone() if cursor.description else None
            return row and row[0]

    def kill_database(self) -> None:
        """Send SIGKILL to the server, and return when it is gone."""
        process = self.cluster.process()
        assert process is not None
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: self.cluster.process() is None)

    def temporary_clusters(self) -> list[Cluster]:
        """Return what there is of temporary databases."""
        return [Cluster(path) for path in (self.data_dir / "tests").iterdir() if path.is_dir()]


class FolderTests(DatabaseTestCase):
    """Where the socket lies in a folder whose path is too long for one."""

    suffix = LONG

    def test_folder_that_is_not_private_is_refused(self) -> None:
        """Neither one that others may write to, nor one that another user made is trusted with the socket."""
        account = embedded_postgres.Account(os.geteuid())
        self.cluster.socket.mkdir()
        self.addCleanup(self.cluster.socket.rmdir)
        for mode, owner in ((0o777, account), (0o700, account._replace(owner=STRANGER))):
            self.cluster.socket.chmod(mode)
            with self.subTest(mode), self.assertRaisesRegex(ClusterError, "only its owner may enter"):
                self.cluster._make_socket_directory(owner)

    def test_temporary_database_is_fast_isolated_and_removed(self) -> None:
        """Its socket is in a short private folder; all goes with the next run, where this one is killed."""
        self.assertEqual(socket_directory(Path("/srv/data")), Path("/srv/data/postgres"))
        server = self.launch_server("--temporary")
        (cluster,) = self.temporary_clusters()
        self.assertEqual(stat.S_IMODE(cluster.socket.stat().st_mode), 0o700)
        self.assertLess(len(str(cluster.socket)), len(LONG))
        self.assertEqual(self.ask("SHOW fsync", cluster), "off")
        with embedded_postgres.temporary_folder(self.data_dir):
            self.assertEqual(len(self.temporary_clusters()), 2)
        server.kill()
        self.finish(server)
        self.assertIsNotNone(cluster.process())
        with embedded_postgres.temporary_folder(self.data_dir):
            self.assertIsNone(cluster.process())
            self.assertFalse(cluster.socket.exists())
        self.assertEqual(self.temporary_clusters(), [])


class NewDatabaseTests(DatabaseTestCase):
    """Whom the cluster belongs to, how it is made, and what is said where it can't be used."""

    @unittest.skipUnless(os.geteuid() == ROOT, "only root can give a folder away")
    def test_database_that_can_not_be_run_is_refused(self) -> None:
        """Neither way of not being root works, or the cluster is a stranger's: the message says what to do."""
        advice = "You can't run .*: try another user, DATA_DIR, or SQL_HOST"
        with patch.object(Cluster, "_is_reached_by", return_value=False):
            self.assertRaisesRegex(ClusterError, advice, self.cluster.account)
        self.cluster.data.mkdir(parents=True)
        os.chown(self.cluster.data, STRANGER, -1)
        self.assertRegex(self.call("run", *NOTHING)[2], advice)

    @unittest.skipUnless(os.geteuid() == ROOT, "an ordinary user runs it as oneself")
    def test_root_in_closed_folder_starts_database(self) -> None:
        """In a folder that only root may enter, the files stay root's."""
        self.data_dir.chmod(0o700)
        if not self.cluster._is_reached_by(embedded_postgres.AS_ROOT_RENAMED):
            self.skipTest("this machine allows no user namespaces")
        with embedded_postgres.served(self.cluster):
            self.assertEqual(self.ask("SELECT 1"), 1)
            self.assertEqual(self.cluster.data.stat().st_uid, ROOT)

    def test_interrupted_start_leaves_a_usable_database(self) -> None:
        """A half-made cluster is made again; a process id that is left over may be any program's by now."""
        half_made = self.cluster.home / "data.half"
        half_made.mkdir(parents=True)
        process = self.launch("run", "--", "echo", "ran")
        wait_until(lambda: not half_made.exists())
        process.terminate()
        self.assertEqual(self.finish(process)[:2], (128 + signal.SIGTERM, ""))
        self.assertIsNone(self.cluster.process())
        (self.cluster.data / "postmaster.pid").write_text(f"{os.getpid()}\n{self.cluster.data}\n1\n")
        self.assertIsNone(self.cluster.process())
        process = self.launch_server()
        process.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(process)[0], 128 + signal.SIGINT)
        self.assertIsNone(self.cluster.process())

    def test_server_database_is_durable_and_private(self) -> None:
        """It survives a power cut, lets nobody else in, and its log doesn't quote what people wrote."""
        with embedded_postgres.served(self.cluster):
            settings = [self.ask(f"SHOW {name}") for name in ("fsync", "full_page_writes", "listen_addresses")]
            self.assertEqual(settings, ["on", "on", ""])
            self.assertEqual(stat.S_IMODE(self.cluster.socket.stat().st_mode), 0o700)
            insert = "INSERT INTO people VALUES ('ana@example.org')"
            self.ask("CREATE TABLE people (email text PRIMARY KEY)")
            self.ask(insert)
            self.assertRaises(psycopg.errors.UniqueViolation, self.ask, insert)
        log = self.cluster.log.read_text()
        self.assertIn("duplicate key", log)
        self.assertNotIn("ana@example.org", log)

    def test_external_database_is_used_as_it_is(self) -> None:
        """With SQL_HOST, none is made; a folder that can't be one is named without a traceback."""
        result = self.call("run", "--", "printenv", "SQL_HOST", SQL_HOST="db.example.org")
        self.assertEqual(result, (0, "db.example.org", ""))
        self.assertFalse(self.cluster.home.exists())
        file = self.data_dir / "file"
        file.touch()
        process = self.launch("run", *NOTHING, DATA_DIR=str(file))
        self.assertRegex(process.communicate()[1], rf"\A.*File exists.* \(DATA_DIR is {file}\)\n\Z")


class SharedDatabaseTests(DatabaseTestCase):
    """The database that a server keeps its data in."""

    template: ClassVar[Cluster]

    @classmethod
    def setUpClass(cls) -> None:
        """Make the files of a cluster, whose copies need not wait for the disk when they are killed."""
        super().setUpClass()
        cls.template, _ = cls.enterClassContext(embedded_postgres.temporary_cluster(data_directory()))
        cls.template.stop()
        with (cls.template.data / "postgresql.conf").open("a") as configuration:
            configuration.write("fsync = off")

    def setUp(self) -> None:
        """Copy them, as it takes long to make them."""
        super().setUp()
        subprocess.run(["cp", "-a", self.template.home, self.cluster.home], check=True)

    def test_started_database_outlives_its_users_and_its_death(self) -> None:
        """``start`` keeps it running for ``run``, also when it came back, until ``stop``."""
        self.assertEqual(self.call("status")[0], 3)
        self.assertEqual(self.call("start")[0], 0)
        process = self.cluster.process()
        self.assertEqual(self.call("run", *NOTHING)[0], 0)
        self.assertEqual((self.call("status")[0], self.cluster.process()), (0, process))
        server = self.launch_server()
        self.kill_database()
        wait_until(lambda: self.cluster.process() is not None)
        server.terminate()
        self.finish(server)
        self.assertEqual(self.call("stop")[0], 0)
        self.assertIsNone(self.cluster.process())

    def test_last_user_stops_database(self) -> None:
        """Two that start at once share it; neither the end of one nor ``stop`` cuts the other off."""
        first, second = self.launch("run", *GO_ON), self.launch_server()
        self.await_command(first)
        first.terminate()
        self.assertEqual(self.finish(first)[0], 128 + signal.SIGTERM)
        self.assertEqual(self.call("stop")[0], 3)
        self.assertEqual(self.ask("SELECT 1"), 1)
        second.terminate()
        self.finish(second)
        self.assertIsNone(self.cluster.process())

    @unittest.skipUnless(sys.platform == "linux", "only Linux tells a process of its parent's death")
    def test_killed_run_or_parent_ends_command_and_leaves_a_usable_database(self) -> None:
        """SIGKILL of the first leaves the server to the next user, who stops it; the parent's stops all."""
        killed = self.launch_server()
        killed.kill()
        self.finish(killed)  # the command, which held the output, has ended
        self.assertIsNotNone(self.cluster.process())
        run = shlex.join([*COMMAND, "run", "--end-with-parent", *GO_ON])
        parent = self.await_command(self.launch("-c", f"{run} & wait", command=("sh",)))
        parent.kill()
        self.assertEqual(self.finish(parent)[2], "")  # all that held the output have ended, and none had to start
        self.assertIsNone(self.cluster.process())

    def test_exit_code_is_passed_through(self) -> None:
        """It is the command's, as a shell would tell it; a command that does not exist is named."""
        self.assertEqual(self.call("run", "--", "sh", "-c", "kill -KILL $$")[0], 128 + signal.SIGKILL)
        self.assertRegex(self.call("run", "--", "no-such-command")[2], "No such file or directory: 'no-such-command'")

    def test_killed_database_comes_back_with_its_data(self) -> None:
        """What keeps it from starting is told once, and tried on until it is gone; the last user still stops it."""
        server = self.launch_server()
        self.ask("CREATE TABLE kept (id int)")
        control = self.cluster.data / "global" / "pg_control"
        away = control.with_name("pg_control.away")
        control.rename(away)
        self.kill_database()
        wait_until(lambda: self.cluster.log.read_text().count("could not open file") > 2)
        away.rename(control)
        wait_until(lambda: "ready to accept" in self.cluster.log.read_text().rpartition("could not open file")[2])
        self.assertEqual(self.ask("SELECT count(*) FROM kept"), 0)
        server.terminate()
        messages = server.communicate(timeout=PATIENCE_SECONDS)[1]
        self.assertEqual(messages.count("it died and does not start; trying on"), 1)
        self.assertIsNone(self.cluster.process())
