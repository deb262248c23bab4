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
from devtools.benchmarks.servers import children
from devtools.embedded_postgres import temporary_folder
from devtools.reliability.many import allow_files
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, SkippedError, lost, worst
from devtools.reliability.servers import Server, kill, launched, prepare, serving, until
from devtools.reliability.writes import Load, gate_closed, put_gate

DISK = "size=128m,mode=755"
REFUSALS = 30


def kill_database(scale: Scale) -> Outcome:
    """Kill the postmaster in one round, all of its processes in the next."""
    at_once, writes, kills = scale.pick((50, 200, 2), (1000, 5000, 6))
    allow_files(at_once)
    healthy, written = list[float](), list[float]()

    async def fault(load: Load) -> None:
        for number in range(kills):
            await load.reach(writes * (number + 1) // (kills + 1))
            async with gate_closed(server):
                for process in _processes_of_database(server)[: None if number % 2 else 1]:
                    kill(process)
            health = asyncio.create_task(until(server.answers, "The server was not healthy"))
            written.append(await load.recovery())
            healthy.append(await health)

    with serving() as server:
        put_gate(server)
        load = Load(server, at_once)
        problems = load.run(writes, fault)
    tries = (
        f"{kills} kills amid {load.acknowledged:,} writes, {at_once:,} at once; {load.statuses['503']:,} answers 503"
    )
    recovery = f"healthy after {worst(healthy)}; a write that queues up then is done after {worst(written)}"
    return Outcome(tries, lost(problems), recovery, tuple(problems))


def kill_server(scale: Scale) -> Outcome:
    """Kill one worker, then all of them, then Gunicorn itself, after which everything is started again."""
    writes, rounds = scale.pick((200, 2), (1000, 4))
    replaced, ended, restarted, left = list[float](), list[float](), list[float](), list[str]()

    async def fault(load: Load) -> None:
        for number in range(rounds):
            await load.reach(writes * (number + 1) // (rounds + 2))
            replaced.append(await _kill_workers(server, load, with_all=number % 2 == 1))
        await load.reach(writes * (rounds + 1) // (rounds + 2))
        async with gate_closed(server):
            kill(server.master())
        ended.append(await until(lambda: _has_ended(server), "Not all ended with Gunicorn"))
        left.extend(["the database goes on without a server"] if server.cluster.process() else [])
        recovery = asyncio.create_task(load.recovery())
        again = launched(server.cluster.data_dir, server.content, port=server.port)
        await asyncio.to_thread(stack.enter_context, again)
        restarted.append(await recovery)

    with serving() as server, ExitStack() as stack:
        put_gate(server)
        load = Load(server, allowed=["503", CUT_OFF])
        problems = load.run(writes, fault) + left
    tries = f"workers killed {rounds} times, Gunicorn once amid {load.acknowledged:,} writes, {load.at_once} at once"
    recovery = f"{worst(replaced)} by itself; all ended with Gunicorn in {worst(ended)}, up again in {worst(restarted)}"
    return Outcome(tries, lost(problems), recovery, tuple(problems))


def fill_disk(scale: Scale) -> Outcome:
    """Fill the disk until writes fail, then until PostgreSQL itself can't go on, and free it again."""
    writes, times = scale.pick((100, 1), (600, 3))
    back: list[float] = []

    async def fault(load: Load) -> None:
        for number in range(times):
            await load.reach(writes * (number + 1) // (times + 1))
            await _fill_disk(server, load)
            back.append(await load.recovery())

    with _small_disk() as disk, launched(disk, prepare(disk)) as server:
        load = Load(server)
        problems = load.run(writes, fault)
    refused = load.statuses["503"]
    tries = f"{times} times, {load.acknowledged:,} writes; {refused} answers 503, PostgreSQL down {times} x"
    return Outcome(tries, lost(problems), worst(back), tuple(problems))


def _processes_of_database(server: Server) -> list[int]:
    postmaster = server.cluster.process()
    if postmaster is None:
        raise ReliabilityError("There is no database to be killed.")
    return [postmaster, *children(postmaster)]


async def _kill_workers(server: Server, load: Load, with_all: bool) -> float:
    """Return after how many seconds a write is acknowledged, and as many workers are there as before."""
    workers = sorted(server.workers())
    killed = workers if with_all else workers[:1]
    async with gate_closed(server):
        for worker in killed:
            kill(worker)
    seconds = await load.recovery()
    return seconds + await until(
        lambda: len(server.workers() - set(killed)) == len(workers), "Workers that were killed were not replaced"
    )


def _has_ended(server: Server) -> bool:
    """Whether nothing of the server is left, and another one may take its place."""
    return server.supervisor.poll() is not None and not server.answers()


async def _fill_disk(server: Server, load: Load) -> None:
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
        with suppress(psycopg.OperationalError), server.database() as database:
            database.execute("SELECT pg_switch_wal(), pg_logical_emit_message(true, 'fill', 'another file')")
        await asyncio.sleep(0.05)


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
