"""The embedded database: started, shared, stopped and cleaned up by processes that may die at any moment."""

import os
import secrets
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import unittest
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from threading import Event
from typing import IO
from unittest.mock import Mock, patch

from backend import environment
from backend.environment import BASE_DIR, socket_directory
from ctj_api.tests.common import wait_until
from devtools import embedded_postgres
from devtools.embedded_postgres import Cluster, ClusterError, Readiness

PATIENCE_SECONDS = embedded_postgres.START_SECONDS
STRANGER = 4711


def make_data_dir(test: unittest.TestCase, mode: int = 0o755, suffix: str = "") -> Path:
    """Return a new folder that is removed after the test, with all the clusters in it."""
    folder = environment.data_directory() / f"test-{secrets.token_hex(3)}{suffix}"
    folder.mkdir(mode, parents=True)
    test.addCleanup(embedded_postgres._remove, folder)
    test.addCleanup(shutil.rmtree, socket_directory(folder), ignore_errors=True)
    return folder


def launch(data_dir: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the module's command line on ``data_dir``."""
    return subprocess.Popen(
        [sys.executable, "-m", "devtools.embedded_postgres", *arguments],
        cwd=BASE_DIR,
        env=os.environ | {"DATA_DIR": str(data_dir), "SQL_HOST": ""} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for ``process`` and return its exit code, its output and its messages."""
    output, messages = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, output.strip(), messages.strip()


def call(data_dir: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run the module's command line on ``data_dir`` to its end."""
    return finish(launch(data_dir, *arguments, **environment))


def launch_server(data_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command that goes on for as long as a server would, and return once it runs."""
    process = launch(data_dir, *arguments, "--", "sh", "-c", f"echo runs; exec sleep {10 * PATIENCE_SECONDS}")
    assert process.stdout is not None
    assert process.stdout.readline() == "runs\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    """Send SIGKILL to ``process``, and wait until its command has ended as well."""
    process.kill()
    process.communicate(timeout=20 * PATIENCE_SECONDS)


def end(process: subprocess.Popen[str]) -> None:
    """Have ``process`` end in order, if it has not."""
    if process.poll() is None:
        process.terminate()
        finish(process)


def psql(query: str, socket: str) -> str:
    """Return a shell command that prints the answer to ``query``; ``socket`` may be a shell variable."""
    program = shlex.quote(str(embedded_postgres._binary("psql")))
    user, database = environment.EMBEDDED_USER, environment.EMBEDDED_DATABASE
    return f"{program} -h {socket} -U {user} -XAtc {shlex.quote(query)} {database}"


def line_of(stream: IO[str] | None, text: str) -> str:
    """Return the next line that has ``text`` in it."""
    assert stream is not None
    return next(line for line in stream if text in line)


class SocketDirectoryTests(unittest.TestCase):
    """Where the socket lies: a path that is too long for one can't be used."""

    def test_short_path_keeps_socket_beside_data(self) -> None:
        """The socket lies with the cluster, where only its owner may enter."""
        self.assertEqual(socket_directory(Path("/srv/data")), Path("/srv/data/postgres"))

    def test_long_path_moves_socket_to_short_folder(self) -> None:
        """The folder is short, the same each time, and another one for another cluster."""
        long, longer = Path("/srv/" + "x" * 90), Path("/srv/" + "x" * 91)
        self.assertLess(len(str(socket_directory(long))), 60)
        self.assertEqual(socket_directory(long), socket_directory(long))
        self.assertNotEqual(socket_directory(long), socket_directory(longer))

    def test_socket_directory_touches_nothing(self) -> None:
        """Settings ask for it in production, where there is no such folder to be made."""
        self.assertFalse(socket_directory(Path("/srv/" + secrets.token_hex(50))).exists())

    def test_open_socket_folder_is_refused(self) -> None:
        """A folder that others may write to is not trusted with the socket."""
        cluster = Cluster(make_data_dir(self, suffix="x" * 90))
        cluster.socket.mkdir()
        cluster.socket.chmod(0o777)
        with self.assertRaisesRegex(ClusterError, "only its owner may enter"):
            cluster._prepare_socket_directory(cluster.account())

    @unittest.skipUnless(os.geteuid() == embedded_postgres.ROOT, "only root can give a folder away")
    def test_socket_folder_of_stranger_is_refused(self) -> None:
        """A folder that another user made first is not trusted with the socket."""
        cluster = Cluster(make_data_dir(self, suffix="x" * 90))
        cluster.socket.mkdir(0o700)
        os.chown(cluster.socket, STRANGER, -1)
        with self.assertRaisesRegex(ClusterError, "only its owner may enter"):
            cluster._prepare_socket_directory(cluster.account())

    def test_long_path_database_answers(self) -> None:
        """A database in a deep folder works, through a private folder that goes when it does."""
        data_dir = make_data_dir(self, suffix="x" * 90)
        report = f"ls -ld $SQL_HOST | cut -c 1-10; echo $SQL_HOST; {psql('SELECT 1', '$SQL_HOST')}"
        code, output, _ = call(data_dir, "run", "--temporary", "--", "sh", "-c", report)
        mode, socket, answer = output.split()
        self.assertEqual((code, mode, answer), (0, "drwx------", "1"))
        self.assertFalse(Path(socket).exists())


class AccountTests(unittest.TestCase):
    """Whom the cluster belongs to."""

    def test_cluster_of_stranger_is_refused(self) -> None:
        """Nobody but its owner, root included, runs a cluster; the message says what to do."""
        cluster = Cluster(make_data_dir(self))
        with (
            patch.object(embedded_postgres, "_owner", return_value=STRANGER),
            self.assertRaisesRegex(ClusterError, f"belongs to user {STRANGER}: .*set DATA_DIR"),
        ):
            cluster.account()

    @unittest.skipUnless(os.geteuid() == embedded_postgres.ROOT, "an ordinary user runs it as oneself")
    def test_root_without_any_account_is_told_what_to_do(self) -> None:
        """Where neither way of not being root works, one line says which ways are left."""
        cluster = Cluster(make_data_dir(self))
        with (
            patch.object(embedded_postgres.Account, "can", return_value=False),
            self.assertRaisesRegex(ClusterError, "ordinary user.*SQL_HOST"),
        ):
            cluster.account()

    @unittest.skipUnless(os.geteuid() == embedded_postgres.ROOT, "an ordinary user runs it as oneself")
    def test_root_in_closed_folder_starts_database(self) -> None:
        """In a folder that only root may enter, the files stay root's."""
        data_dir = make_data_dir(self, mode=0o700)
        cluster = Cluster(data_dir)
        if not cluster._is_reached_by(embedded_postgres.AS_ROOT_RENAMED):
            self.skipTest("this machine allows no user namespaces")
        code, _, messages = call(data_dir, "run", "--", "true")
        self.assertEqual((code, cluster.data.stat().st_uid), (0, embedded_postgres.ROOT), messages)

    def test_unwritable_data_dir_is_one_line(self) -> None:
        """What can't be a folder is named, without a traceback."""
        file = make_data_dir(self) / "file"
        file.touch()
        code, _, messages = call(file, "run", "--", "true")
        self.assertEqual((code, len(messages.splitlines())), (1, 1))
        self.assertIn("DATA_DIR must be a folder that you may write to", messages)

    def test_missing_wheel_is_one_line(self) -> None:
        """Where only production's packages are installed, the message says what to do."""
        with (
            patch("importlib.util.find_spec", return_value=None),
            self.assertRaisesRegex(ClusterError, "set SQL_HOST"),
        ):
            embedded_postgres._binary("initdb")


class SharedDatabaseTests(unittest.TestCase):
    """The database that a server keeps its data in."""

    def setUp(self) -> None:
        """Give each test a data folder without a database."""
        self.data_dir = make_data_dir(self)
        self.cluster = Cluster(self.data_dir)

    def ask(self, query: str) -> str:
        """Return the answer of the running database."""
        command = ["sh", "-c", psql(query, shlex.quote(str(self.cluster.socket)))]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def is_ready(self) -> bool:
        """Whether the database answers."""
        return self.cluster.data.exists() and self.cluster.readiness() == Readiness.READY

    def test_server_database_is_durable_and_private(self) -> None:
        """What is committed survives a power cut, and no one else on the machine gets in."""
        self.addCleanup(call, self.data_dir, "stop")
        self.assertEqual(call(self.data_dir, "start")[0], 0)
        settings = [self.ask(f"SHOW {name}") for name in ("fsync", "full_page_writes", "listen_addresses")]
        self.assertEqual(settings, ["on", "on", ""])
        self.assertEqual(stat.S_IMODE(self.cluster.socket.stat().st_mode), 0o700)

    def test_log_tells_of_a_failed_query_without_its_text_or_values(self) -> None:
        """They may be anybody's address, or a password's hash."""
        self.addCleanup(call, self.data_dir, "stop")
        call(self.data_dir, "start")
        self.ask("CREATE TABLE people (email text PRIMARY KEY); INSERT INTO people VALUES ('ana@example.org')")
        with self.assertRaises(subprocess.CalledProcessError):
            self.ask("INSERT INTO people VALUES ('ana@example.org')")
        log = self.cluster.log.read_text()
        self.assertIn("duplicate key", log)
        self.assertNotIn("ana@example.org", log)

    def test_started_database_outlives_its_users(self) -> None:
        """``start`` keeps it running for ``run``, until ``stop``."""
        self.assertEqual(call(self.data_dir, "status")[0], 3)
        call(self.data_dir, "start")
        process = self.cluster.process()
        call(self.data_dir, "run", "--", "true")
        self.assertEqual((call(self.data_dir, "status")[0], self.cluster.process()), (0, process))
        self.assertEqual(call(self.data_dir, "stop"), (0, "", "Database: stopped."))
        self.assertIsNone(self.cluster.process())

    def test_last_user_stops_database(self) -> None:
        """Two servers share it; neither the end of one nor ``stop`` cuts the other off."""
        first, second = (launch_server(self.data_dir, "run") for _ in range(2))
        first.terminate()
        self.assertEqual(finish(first)[0], 128 + signal.SIGTERM)
        self.assertIn("in use", call(self.data_dir, "stop")[2])
        self.assertTrue(self.is_ready())
        second.terminate()
        finish(second)
        self.assertIsNone(self.cluster.process())

    def test_killed_server_process_is_replaced(self) -> None:
        """After a crash the process id that is left over is not believed, and the data is there."""
        self.addCleanup(call, self.data_dir, "stop")
        call(self.data_dir, "start")
        self.ask("CREATE TABLE kept (id int)")
        process = self.cluster.process()
        assert process is not None
        os.kill(process, signal.SIGKILL)
        self.assertEqual(call(self.data_dir, "start")[0], 0)
        self.assertEqual(self.ask("SELECT count(*) FROM kept"), "0")

    def test_stale_process_id_of_living_program_is_not_believed(self) -> None:
        """After a reboot the number in the left-over file may be any program's."""
        call(self.data_dir, "run", "--", "true")
        stale = self.cluster.data / "postmaster.pid"
        stale.write_text(f"{os.getpid()}\n{self.cluster.data}\n1\n")
        self.assertIsNone(self.cluster.process())
        self.assertEqual(call(self.data_dir, "run", "--", "true")[0], 0)

    def test_killed_run_ends_its_command_and_leaves_a_usable_database(self) -> None:
        """SIGKILL leaves the server running; the next user takes it over and stops it."""
        killed = launch(
            self.data_dir, "run", "--", sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"
        )
        wait_until(self.is_ready)
        assert killed.stdout is not None
        self.assertEqual(killed.stdout.readline(), "1\n")
        killed.kill()
        killed.communicate(timeout=PATIENCE_SECONDS if sys.platform == "linux" else 120)
        code, _, messages = call(self.data_dir, "run", "--", "true")
        self.assertEqual((code, messages), (0, "Database: already running."))
        self.assertIsNone(self.cluster.process())

    def test_half_made_cluster_is_made_again(self) -> None:
        """What an interrupted initdb left is not taken for a cluster."""
        half = self.cluster.home / "data.new"
        half.mkdir(parents=True)
        (half / "PG_VERSION").touch()
        self.assertEqual(call(self.data_dir, "run", "--", "true")[0], 0)
        self.assertFalse(half.exists())

    def test_external_database_is_used_as_it_is(self) -> None:
        """Where SQL_HOST names a database, none is made."""
        result = call(self.data_dir, "run", "--", "printenv", "SQL_HOST", SQL_HOST="db.example.org")
        self.assertEqual(result, (0, "db.example.org", ""))
        self.assertFalse(self.cluster.home.exists())


class SupervisedDatabaseTests(unittest.TestCase):
    """The database of a command that runs: whatever kills it, it comes back."""

    def setUp(self) -> None:
        """Give each test a data folder without a database."""
        self.data_dir = make_data_dir(self)
        self.cluster = Cluster(self.data_dir)

    def launch(self) -> subprocess.Popen[str]:
        """Start a command that goes on; it is ended after the test."""
        process = launch_server(self.data_dir, "run")
        self.addCleanup(end, process)
        return process

    def kill_database(self) -> int:
        """Send SIGKILL to the server, and return its process id when it is gone."""
        process = self.cluster.process()
        assert process is not None
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: not self.cluster._is_served_by(process))
        return process

    def has_come_back(self, killed: int) -> bool:
        """Whether another server than the one that was killed answers."""
        return self.cluster.process() not in (None, killed) and self.cluster.readiness() == Readiness.READY

    def ask(self, query: str) -> subprocess.Popen[str]:
        """Send a query to the database."""
        command = ["sh", "-c", f"exec {psql(query, shlex.quote(str(self.cluster.socket)))}"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_killed_database_comes_back_with_its_data(self) -> None:
        """Again and again, within seconds; the last user still stops it."""
        server = self.launch()
        self.assertEqual(finish(self.ask("CREATE TABLE kept (id int)"))[0], 0)
        for _ in range(2):
            killed = self.kill_database()
            wait_until(lambda killed=killed: self.has_come_back(killed))  # type: ignore[misc]
            self.assertEqual(finish(self.ask("SELECT count(*) FROM kept"))[:2], (0, "0"))
        server.terminate()
        finish(server)
        self.assertIsNone(self.cluster.process())

    @unittest.skipUnless(sys.platform == "linux", "only Linux tells which processes work in a folder")
    def test_all_processes_killed_come_back(self) -> None:
        """As when memory runs out."""
        self.launch()
        server = self.cluster.process()
        assert server is not None
        for process in [server, *self.processes()]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_until(lambda: self.has_come_back(server))

    @unittest.skipUnless(sys.platform == "linux", "only Linux tells which processes work in a folder")
    def test_busy_process_of_killed_database_is_ended(self) -> None:
        """It never looks up from its work, and holds the memory without which no other server starts."""
        self.launch()
        query = self.ask("DO $$ BEGIN RAISE WARNING 'busy'; LOOP END LOOP; END $$")
        line_of(query.stderr, "busy")
        killed = self.kill_database()
        wait_until(lambda: self.has_come_back(killed))
        self.assertNotEqual(finish(query)[0], 0)

    def processes(self) -> list[int]:
        """Return the process ids of all that belongs to the server."""
        folders = Path("/proc").glob("[0-9]*")
        return [int(folder.name) for folder in folders if self.cluster._is_served_by(int(folder.name))]

    def test_database_that_another_has_started_is_left_alone(self) -> None:
        """Of several users that see it die, the first one starts it."""
        self.launch()
        with patch.object(Cluster, "_launch", side_effect=AssertionError("it runs")):
            self.cluster.revive()

    def test_broken_note_of_the_process_does_not_end_the_watch(self) -> None:
        """As a full disk or another program may leave it."""
        self.launch()
        killed = self.kill_database()
        (self.cluster.data / "postmaster.pid").write_text("no number\n\n\n")
        wait_until(lambda: self.has_come_back(killed))

    def test_watch_outlives_whatever_it_meets(self) -> None:
        """It is told, and tried again."""
        met, is_over = Mock(side_effect=[ZeroDivisionError("odd"), 1]), Event()

        def look() -> int | None:
            result: int = met()
            is_over.set()
            return result

        with (
            patch.object(Cluster, "process", side_effect=look),
            redirect_stderr(StringIO()) as messages,
        ):
            embedded_postgres._watch(self.cluster, is_over)
        self.assertEqual(met.call_count, 2)
        self.assertIn("trying on. odd", messages.getvalue())

    def test_started_database_outlives_its_users_after_its_death(self) -> None:
        """What was started to be kept is kept when it has come back, until ``stop``."""
        self.addCleanup(call, self.data_dir, "stop")
        call(self.data_dir, "start")
        server = self.launch()
        killed = self.kill_database()
        assert server.stderr is not None
        line_of(server.stderr, "started again")
        server.terminate()
        finish(server)
        self.assertTrue(self.has_come_back(killed))
        self.assertEqual(call(self.data_dir, "stop")[2], "Database: stopped.")

    def test_started_database_is_kept_when_its_recovery_takes_long(self) -> None:
        """Then whoever starts it is told of a failure, and finds it running the next time."""
        self.addCleanup(call, self.data_dir, "stop")
        call(self.data_dir, "start")
        launch = Cluster._launch

        def launch_slowly(cluster: Cluster, account: embedded_postgres.Account) -> bool:
            launch(cluster, account)
            return False

        with embedded_postgres.served(self.cluster):
            self.kill_database()
            with patch.object(Cluster, "_launch", launch_slowly), self.assertRaises(ClusterError):
                self.cluster.revive()
        self.assertIsNotNone(self.cluster.process())

    def test_database_that_died_alone_is_kept_no_more(self) -> None:
        """As after a restart of the machine: whoever starts the next one didn't ask for it."""
        call(self.data_dir, "start")
        self.kill_database()
        self.assertEqual(call(self.data_dir, "run", "--", "true")[0], 0)
        self.assertIsNone(self.cluster.process())

    def test_database_that_can_not_start_is_told_once_and_tried_on(self) -> None:
        """It comes back as soon as what was in its way is gone."""
        server = self.launch()
        control = self.cluster.data / "global" / "pg_control"
        away = control.with_name("pg_control.away")
        control.rename(away)
        killed = self.kill_database()
        line_of(server.stderr, "does not start")
        wait_until(lambda: self.cluster.log.read_text().count("could not open file") > 2)
        away.rename(control)
        wait_until(lambda: self.has_come_back(killed))
        server.terminate()
        messages = finish(server)[2]
        self.assertNotIn("does not start", messages)
        self.assertIn("started again", messages)

    def test_command_ends_while_database_is_away(self) -> None:
        """Nobody waits for a database that does not start."""
        server = self.launch()
        (self.cluster.data / "global" / "pg_control").unlink()
        self.kill_database()
        line_of(server.stderr, "does not start")
        server.terminate()
        self.assertEqual(finish(server)[0], 128 + signal.SIGTERM)

    def test_full_disk_is_told(self) -> None:
        """A log on that disk would not tell."""
        server = self.launch()
        server.terminate()
        finish(server)
        with (
            patch.object(Cluster, "_launch", return_value=False),
            patch("shutil.disk_usage", return_value=Mock(free=3 << 20)),
            self.assertRaisesRegex(ClusterError, "Its disk is full: 3 MB are free"),
        ):
            self.cluster.revive()

    @unittest.skipUnless(sys.platform == "linux", "only Linux tells which processes work in a folder")
    def test_busy_process_of_killed_database_ends_with_its_cluster(self) -> None:
        """Also where no other server is started."""
        server = self.launch()
        query = self.ask("DO $$ BEGIN RAISE WARNING 'busy'; LOOP END LOOP; END $$")
        line_of(query.stderr, "busy")
        kill(server)  # nobody watches
        self.kill_database()
        embedded_postgres._remove(self.data_dir)
        self.assertNotEqual(finish(query)[0], 0)

    @unittest.skipUnless(sys.platform == "linux", "only Linux tells a process of its parent's death")
    def test_run_ends_with_its_parent(self) -> None:
        """By SIGKILL too: the command ends, and so does the database."""
        run = f"{shlex.quote(sys.executable)} -m devtools.embedded_postgres run --end-with-parent"
        parent = subprocess.Popen(
            ["sh", "-c", f"{run} -- sh -c 'echo runs; exec sleep {10 * PATIENCE_SECONDS}' & wait"],
            cwd=BASE_DIR,
            env=os.environ | {"DATA_DIR": str(self.data_dir), "SQL_HOST": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line_of(parent.stdout, "runs")
        parent.kill()
        self.assertEqual(finish(parent)[1], "")  # all that held the output have ended
        self.assertIsNone(self.cluster.process())


class TemporaryDatabaseTests(unittest.TestCase):
    """The databases that tests run against."""

    def setUp(self) -> None:
        """Give each test a data folder without a database."""
        self.data_dir = make_data_dir(self)
        self.tests = self.data_dir / "tests"

    def remaining(self) -> list[str]:
        """Return what is left of temporary databases."""
        return [path.name for path in self.tests.iterdir() if path.is_dir()]

    def test_command_finds_a_fast_database_that_goes_away(self) -> None:
        """The command is led to it by its environment; it is not made to last."""
        report = f"echo $DATA_DIR; {psql('SHOW fsync', '$SQL_HOST')}"
        code, output, _ = call(self.data_dir, "run", "--temporary", "--", "sh", "-c", report)
        folder, fsync = output.split()
        self.assertEqual((code, Path(folder).parent, fsync), (0, self.tests, "off"))
        self.assertEqual(self.remaining(), [])

    def test_parallel_runs_are_isolated(self) -> None:
        """Each has a database of its own, and ends without disturbing the other."""
        query = f"{psql('CREATE TABLE same_name ()', '$SQL_HOST')} && echo $DATA_DIR"
        runs = [launch(self.data_dir, "run", "--temporary", "--", "sh", "-c", query) for _ in range(2)]
        results = [finish(process) for process in runs]
        self.assertEqual([code for code, _, _ in results], [0, 0], results)
        self.assertNotEqual(results[0][1], results[1][1])
        self.assertEqual(self.remaining(), [])

    def test_exit_code_is_passed_through(self) -> None:
        """It is the command's, as a shell would tell it."""
        for command, expected in (("exit 7", 7), ("kill -KILL $$", 128 + signal.SIGKILL)):
            with self.subTest(command):
                self.assertEqual(call(self.data_dir, "run", "--temporary", "--", "sh", "-c", command)[0], expected)

    def test_missing_command_returns_127(self) -> None:
        """A command that does not exist is named in one line, and the database is stopped."""
        code, _, messages = call(self.data_dir, "run", "--temporary", "--", "no-such-command")
        self.assertEqual((code, messages.splitlines()[-1]), (127, "no-such-command: No such file or directory"))
        self.assertEqual(self.remaining(), [])

    def test_sigterm_stops_command_and_removes_database(self) -> None:
        """The command gets the signal; what it had is removed before the run ends."""
        process = launch_server(self.data_dir, "run", "--temporary")
        process.terminate()
        self.assertEqual(finish(process)[0], 128 + signal.SIGTERM)
        self.assertEqual(self.remaining(), [])

    def test_sigterm_while_starting_is_obeyed(self) -> None:
        """A signal before the command starts is not lost: the command never runs."""
        process = launch(self.data_dir, "run", "--temporary", "--", "echo", "ran")
        wait_until(lambda: self.tests.exists() and self.remaining() != [])
        process.terminate()
        code, output, _ = finish(process)
        self.assertEqual((code, output), (128 + signal.SIGTERM, ""))
        self.assertEqual(self.remaining(), [])

    def test_leftovers_of_killed_run_are_removed(self) -> None:
        """The next run stops the server that a killed one left, and removes its folder."""
        killed = launch_server(self.data_dir, "run", "--temporary")
        left = Cluster(self.tests / self.remaining()[0])
        server = left.process()
        assert server is not None
        kill(killed)
        self.assertTrue(left._is_served_by(server))
        self.assertEqual(call(self.data_dir, "run", "--temporary", "--", "true")[0], 0)
        self.assertFalse(left._is_served_by(server))
        self.assertEqual(self.remaining(), [])
