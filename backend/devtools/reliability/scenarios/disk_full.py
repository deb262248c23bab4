"""The disk of the embedded database is full for a while."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from backend.environment import data_directory
from devtools.embedded_postgres import temporary_folder
from devtools.reliability.scenario import Outcome, Scale, Scenario, SkippedError, lost, worst
from devtools.reliability.servers import Server, launched, prepare, until
from devtools.reliability.writes import AT_ONCE, Load

MEGABYTES = 128
REFUSALS = 30


def run(scale: Scale) -> Outcome:
    """Fill the disk until writes fail, then until PostgreSQL itself can't go on, and free it again."""
    writes, times = scale.pick((100, 1), (600, 3))
    back: list[float] = []

    async def fault(load: Load) -> None:
        for number in range(times):
            await load.reach(writes * (number + 1) // (times + 1))
            await _fill(server, load)
            back.append(await load.recovery())

    with _small_disk() as disk, launched(disk, prepare(disk, AT_ONCE)) as server:
        load = Load(server)
        asyncio.run(load.run(writes, fault))
        problems = load.problems()
    refused = load.statuses["503"]
    tries = f"{times} times, {load.acknowledged:,} writes; {refused} answers 503, PostgreSQL down {times} x"
    return Outcome(tries, lost(problems), worst(back), tuple(problems))


async def _fill(server: Server, load: Load) -> None:
    """Leave no room until writes are refused and PostgreSQL has gone down, and then give it back."""
    filler = server.cluster.data_dir / "filler"
    told, refused = _failed_starts(server), load.statuses["503"]
    tasks = [asyncio.create_task(_keep_full(filler))]
    try:
        await until(lambda: load.statuses["503"] >= refused + REFUSALS, "The full disk had no writes refused")
        tasks.append(asyncio.create_task(_keep_ending_log_files(server)))
        await until(lambda: _failed_starts(server) > told, "PostgreSQL did not go down")
    finally:
        for task in tasks:
            task.cancel()
        filler.unlink()


def _failed_starts(server: Server) -> int:
    """Return how often the supervisor has told that the database does not start."""
    return server.log.read_text(errors="replace").count("it died and does not start")


async def _keep_full(filler: Path) -> None:
    """Take what room there is, and what is given back."""
    with filler.open("ab", buffering=0) as file:
        while True:
            with suppress(OSError):
                while file.write(bytes(1 << 12)):
                    pass
            await asyncio.sleep(0.05)


async def _keep_ending_log_files(server: Server) -> None:
    """Have PostgreSQL begin other files of its write-ahead log, until there is no room for one."""
    while True:
        await asyncio.to_thread(_end_log_file, server)
        await asyncio.sleep(0.05)


def _end_log_file(server: Server) -> None:
    with suppress(psycopg.OperationalError), server.database() as database:
        database.execute("SELECT pg_switch_wal(), pg_logical_emit_message(true, 'fill', 'another file')")


@contextmanager
def _small_disk() -> Iterator[Path]:
    """Have a small disk in memory, which goes away with this process at the latest; skips where there can be none."""
    with temporary_folder(data_directory()) as (folder, _):
        disk = folder / "disk"
        disk.mkdir()
        try:
            os.unshare(os.CLONE_NEWNS)
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            options = f"size={MEGABYTES}m,mode=755"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
        except (AttributeError, OSError, subprocess.CalledProcessError) as error:
            raise SkippedError(f"needs root on Linux, to mount a small disk ({error})") from error
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", disk], check=False)


SCENARIO = Scenario(
    "disk-full",
    "the disk of the embedded database is full, until PostgreSQL goes down",
    "503 for writes, never 500; once there is room, it comes back by itself with every acknowledged write",
    run,
)
