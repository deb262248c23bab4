"""The disk of the embedded database is full for a while."""

import asyncio
import os
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psycopg

from backend.environment import data_directory
from devtools.embedded_postgres import temporary_folder
from devtools.reliability.scenario import Outcome, Scale, Scenario, SkippedError, lost, worst
from devtools.reliability.servers import Server, launched, prepare, until
from devtools.reliability.writes import ANONYMOUS, MANY_SIGNUPS, Client, Load, talking

MEGABYTES = 128
REFUSALS = 30
READS = ("/api/skills/", "/api/opportunities/", "/api/healthcheck/")
ANSWERS = {"200", "503"}


def run(scale: Scale) -> Outcome:
    """Fill the disk until writes fail, then until PostgreSQL itself can't go on, and free it again."""
    writes, times = scale.pick((100, 1), (600, 3))
    back: list[float] = []
    reads: Counter[str] = Counter()

    async def fault(load: Load) -> None:
        async with talking(server) as client:
            for number in range(times):
                await load.reach(writes * (number + 1) // (times + 1))
                await _fill(server, load, client, reads)
                back.append(await load.recovery())

    with temporary_folder(data_directory()) as (folder, _):
        disk = folder / "disk"
        _mount(disk)
        try:
            with launched(disk, prepare(disk), SIGNUP_RATE=MANY_SIGNUPS) as server:
                load = Load(server)
                asyncio.run(load.run(writes, fault))
                problems = load.problems()
        finally:
            subprocess.run(["umount", "--lazy", disk], check=False)
    problems += [f"{count} x {status} answered to reads" for status, count in reads.items() if status not in ANSWERS]
    tries = (
        f"{times} times, {load.acknowledged:,} writes; {load.statuses['503']} answers 503, PostgreSQL down {times} x"
    )
    return Outcome(tries, lost(problems), worst(back), tuple(problems))


async def _fill(server: Server, load: Load, client: Client, reads: Counter[str]) -> None:
    """Leave no room until writes are refused and PostgreSQL has gone down, and then give it back."""
    filler = server.cluster.data_dir / "filler"
    tasks = [asyncio.create_task(_keep_full(filler))]
    told = _failed_starts(server)
    refused = load.statuses["503"]
    try:
        await until(lambda: load.statuses["503"] >= refused + REFUSALS, "The disk is full, and writes are not refused")
        await _read(client, reads)
        tasks.append(asyncio.create_task(_keep_ending_log_files(server)))
        await until(lambda: _failed_starts(server) > told, "PostgreSQL does not mind the full disk")
        await _read(client, reads)
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


async def _read(client: Client, reads: Counter[str]) -> None:
    for path in READS:
        reads[(await client.send("GET", path, ANONYMOUS)).status] += 1


async def _keep_ending_log_files(server: Server) -> None:
    """Have PostgreSQL begin other files of its write-ahead log, until there is no room for one."""
    while True:
        await asyncio.to_thread(_end_log_file, server)
        await asyncio.sleep(0.05)


def _end_log_file(server: Server) -> None:
    with suppress(psycopg.OperationalError), server.database() as database:
        database.execute("SELECT pg_switch_wal(), pg_logical_emit_message(true, 'fill', 'another file')")


def _mount(disk: Path) -> None:
    """Make a small disk in memory, which goes away with this process at the latest."""
    if os.geteuid() != 0 or not hasattr(os, "unshare"):
        raise SkippedError("needs root on Linux, to mount a small disk")
    disk.mkdir()
    try:
        os.unshare(os.CLONE_NEWNS)
    except OSError as error:
        raise SkippedError(f"needs the right to mount a small disk ({error.strerror})") from error
    for command in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=755", "tmpfs", str(disk)],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise SkippedError(f"a small disk can't be mounted: {done.stderr.strip()}")


SCENARIO = Scenario(
    "disk-full",
    "the disk of the embedded database is full, until PostgreSQL goes down",
    "503 for writes, never 500; once there is room, it comes back by itself with every acknowledged write",
    run,
)
