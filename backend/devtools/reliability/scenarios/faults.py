"""The database and the server are killed, and the disk is full, in the middle of concurrent writes."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg

from backend.environment import data_directory
from devtools.benchmarks.client import CUT_OFF
from devtools.embedded_postgres import temporary_folder
from devtools.reliability.many import allow_files
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, SkippedError, lost, scenario, worst
from devtools.reliability.servers import Server, launched, prepare, serving, until
from devtools.reliability.writes import Load, kill_amid_writes

DISK = "size=128m,mode=755"
REFUSALS = 30


@scenario("database-killed", "PostgreSQL killed (`kill -9`: the postmaster; all its processes) amid concurrent writes")
def kill_database(scale: Scale) -> Outcome:
    """Every acknowledged write is there, none by half; 503 meanwhile; it comes back by itself."""
    at_once, writes, kills = scale.pick((50, 200, 2), (1000, 5000, 6))
    allow_files(at_once)

    async def fault(number: int) -> float:
        processes = server.database_processes()
        return await kill_amid_writes(server, processes if number % 2 else processes[:1])

    with serving() as server:
        load = Load(server, at_once)
        problems = load.run(writes, fault, kills)
    tries = f"{kills} kills amid {load.acknowledged:,} writes, {at_once:,} at once; {load.refused:,} answers 503"
    return Outcome(tries, lost(problems), worst(load.recoveries), problems)


@scenario("server-killed", "the server killed (`kill -9`: a worker; all workers; Gunicorn) amid concurrent writes")
def kill_server(scale: Scale) -> Outcome:
    """Every acknowledged write is there, none by half; workers are replaced; with Gunicorn everything ends."""
    writes, rounds = scale.pick((200, 2), (1000, 4))

    async def fault(number: int) -> float:
        if number == rounds:
            return await _kill_gunicorn(server, stack)
        workers = server.workers()
        killed = workers if number % 2 else workers[:1]
        killed_at = await kill_amid_writes(server, killed)
        await until(lambda: len(set(server.workers()) - set(killed)) == len(workers), "Workers were not replaced")
        return killed_at

    with serving() as server, ExitStack() as stack:
        load = Load(server, allowed=["503", CUT_OFF])
        problems = load.run(writes, fault, rounds + 1)
    tries = f"workers killed {rounds} times, Gunicorn once and started again, amid {load.acknowledged:,} writes"
    return Outcome(tries, lost(problems), worst(load.recoveries), problems)


async def _kill_gunicorn(server: Server, stack: ExitStack) -> float:
    """Kill Gunicorn, see that everything ends with it, and start the server again."""
    killed_at = await kill_amid_writes(server, [server.master()])
    await until(lambda: server.supervisor.poll() is not None and not server.answers(), "Not all ended with Gunicorn")
    if server.cluster.process():
        raise ReliabilityError("The database goes on without a server.")
    again = launched(server.cluster.data_dir, server.content, port=server.port)
    await asyncio.to_thread(stack.enter_context, again)
    return killed_at


@scenario("disk-full", "the disk of the embedded database is full, until PostgreSQL goes down")
def fill_disk(scale: Scale) -> Outcome:
    """503 for writes, never 500; once there is room, it comes back by itself with every acknowledged write."""
    writes, times = scale.pick((100, 1), (600, 3))

    async def fault(_: int) -> float:
        filler, refused, failed_starts = server.cluster.data_dir / "filler", load.refused, _failed_starts(server)

        def is_down() -> bool:
            _take_room(filler)
            if load.refused >= refused + REFUSALS:
                _begin_log_file(server)
            return _failed_starts(server) > failed_starts

        try:
            await until(is_down, "Writes were not refused by a full disk, or PostgreSQL did not go down after that")
        finally:
            filler.unlink()
        return asyncio.get_running_loop().time()

    with _small_disk() as disk, launched(disk, prepare(disk)) as server:
        load = Load(server)
        problems = load.run(writes, fault, times)
    tries = f"{times} times, {load.acknowledged:,} writes; {load.refused:,} answers 503, PostgreSQL down {times} x"
    return Outcome(tries, lost(problems), worst(load.recoveries), problems)


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
            raise SkippedError(f"needs root on Linux, to mount a small disk ({error})") from error
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", disk], check=False)
