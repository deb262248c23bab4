"""The database and the server are killed, and the disk is full, in the middle of concurrent writes."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from unittest import SkipTest

import psycopg

from backend.environment import data_directory
from devtools.benchmarks.client import CUT_OFF
from devtools.embedded_postgres import temporary_folder
from devtools.reliability.scenario import Outcome, Scale, lost, scenario, worst
from devtools.reliability.servers import Server, allow_files, launched, prepare, serving, until
from devtools.reliability.writes import Load, kill_amid_writes, writing

DISK = "size=128m,mode=755"
REFUSALS = 30


@scenario("database-killed", "PostgreSQL killed (`kill -9`: postmaster; all processes; one) amid concurrent writes")
def kill_database(scale: Scale) -> Outcome:
    """Every acknowledged write is there, none by half; 503 meanwhile; it comes back by itself."""
    at_once, writes, kills = scale.pick((50, 50, 3), (1000, 700, 6))
    allow_files(at_once)
    with serving() as server, writing(server, at_once) as load:
        for number in range(kills):
            load.go_on(writes)
            processes = server.database_processes()
            load.recover(kill_amid_writes(server, (processes[:1], processes, processes[1:2])[number % 3]))
        load.go_on(writes)
    tries = f"{kills} kills amid {load.acknowledged:,} writes, {at_once:,} at once; {load.refused:,} answers 503"
    return Outcome(tries, lost(load.found), worst(load.recoveries), load.found)


@scenario("server-killed", "the server killed (`kill -9`: a worker; all workers; Gunicorn) amid concurrent writes")
def kill_server(scale: Scale) -> Outcome:
    """Every acknowledged write is there, none by half; workers are replaced; with Gunicorn everything ends."""
    writes, rounds = scale.pick((50, 2), (170, 4))
    with serving() as server, ExitStack() as stack, writing(server, allowed=["503", CUT_OFF]) as load:
        for number in range(rounds):
            load.go_on(writes)
            load.recover(_kill_workers(server, with_all=number % 2 == 1))
        load.go_on(writes)
        killed_at = kill_amid_writes(server, [server.master()])
        until(lambda: _has_ended(server), "Not all ended with Gunicorn")
        stack.enter_context(launched(server.cluster.data_dir, server.content, port=server.port))
        load.recover(killed_at)
        load.go_on(writes)
    tries = f"workers killed {rounds} times, Gunicorn once and started again, amid {load.acknowledged:,} writes"
    return Outcome(tries, lost(load.found), worst(load.recoveries), load.found)


def _kill_workers(server: Server, with_all: bool) -> float:
    """Kill one worker or all of them, wait until they are replaced, and return when they were killed."""
    workers = set(server.workers())
    killed = workers if with_all else {min(workers)}
    killed_at = kill_amid_writes(server, killed)
    until(lambda: len(set(server.workers()) - killed) == len(workers), "Workers were not replaced")
    return killed_at


def _has_ended(server: Server) -> bool:
    return server.supervisor.poll() is not None and not server.cluster.process() and not server.answers()


@scenario("disk-full", "the disk of the embedded database is full, until PostgreSQL goes down")
def fill_disk(scale: Scale) -> Outcome:
    """503 for writes, never 500; once there is room, it comes back by itself with every acknowledged write."""
    writes, times = scale.pick((50, 1), (150, 3))
    with _small_disk() as disk, launched(disk, prepare(disk)) as server, writing(server) as load:
        for _ in range(times):
            load.go_on(writes)
            _fill_disk(server, load, disk / "filler")
            load.recover(time.monotonic())
        load.go_on(writes)
    tries = f"{times} times, {load.acknowledged:,} writes; {load.refused:,} answers 503, PostgreSQL down {times} x"
    return Outcome(tries, lost(load.found), worst(load.recoveries), load.found)


def _fill_disk(server: Server, load: Load, filler: Path) -> None:
    """Leave no room until writes are refused and PostgreSQL has gone down, and then give it back."""
    refused, failed_starts = load.refused, _failed_starts(server)

    def is_down() -> bool:
        _take_room(filler)
        if load.refused >= refused + REFUSALS:
            _begin_log_file(server)
        return _failed_starts(server) > failed_starts

    try:
        until(is_down, "Writes were not refused by a full disk, or PostgreSQL did not go down after that")
    finally:
        filler.unlink()


def _take_room(filler: Path) -> None:
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(bytes(1 << 12)):
            pass


def _begin_log_file(server: Server) -> None:
    """Have PostgreSQL begin another file of its write-ahead log, until there is no room for one."""
    with suppress(psycopg.OperationalError), server.database() as database:
        database.execute("SELECT pg_switch_wal(), pg_logical_emit_message(true, 'fill', 'another file')")


def _failed_starts(server: Server) -> int:
    """Return how often the supervisor has told that the database does not start."""
    return server.log.read_text(errors="replace").count("it died and does not start")


@contextmanager
def _small_disk() -> Iterator[Path]:
    """Have a small disk in memory, which goes away with this process at the latest; skips where there can be none."""
    with temporary_folder(data_directory()) as (folder, _):
        disk = folder / "disk"
        disk.mkdir()
        try:
            os.unshare(os.CLONE_NEWNS)
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", disk], check=True)
        except (AttributeError, OSError, subprocess.CalledProcessError) as error:
            raise SkipTest(f"needs root on Linux, to mount a small disk ({error})") from error
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", disk], check=False)
