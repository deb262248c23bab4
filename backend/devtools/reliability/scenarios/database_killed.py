"""PostgreSQL is killed in the middle of concurrent writes."""

import asyncio
from pathlib import Path

from devtools.reliability.gate import gate_closed, put_gate
from devtools.reliability.many import allow_files
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, Scenario, lost, worst
from devtools.reliability.servers import WAIT_SECONDS, Server, kill, serving
from devtools.reliability.writes import MANY_SIGNUPS, Load


def run(scale: Scale) -> Outcome:
    """Kill the postmaster in one round, all of its processes in the next."""
    at_once, writes, kills = scale.pick((50, 200, 2), (1000, 5000, 6))
    allow_files(at_once)
    healthy: list[float] = []
    written: list[float] = []

    async def fault(load: Load) -> None:
        for number in range(kills):
            await load.reach(writes * (number + 1) // (kills + 1))
            async with gate_closed(server):
                for process in _victims(server, with_all=number % 2 == 1):
                    kill(process)
            async with asyncio.TaskGroup() as tasks:
                health, write = tasks.create_task(_recovery_of_health(server)), tasks.create_task(load.recovery())
            healthy.append(health.result())
            written.append(write.result())

    with serving(SIGNUP_RATE=MANY_SIGNUPS) as server:
        put_gate(server)
        load = Load(server, at_once)
        asyncio.run(load.run(writes, fault))
        problems = load.problems()
    refused = load.statuses["503"]
    tries = f"{kills} kills amid {load.acknowledged:,} writes, {at_once:,} at once; {refused:,} answers 503"
    recovery = f"healthy after {worst(healthy)}; a write that queues up then is done after {worst(written)}"
    return Outcome(tries, lost(problems), recovery, tuple(problems))


async def _recovery_of_health(server: Server) -> float:
    """Return the seconds until the health check says that the database answers; raises ``TimeoutError``."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(WAIT_SECONDS):
        while not await asyncio.to_thread(server.is_healthy):  # noqa: ASYNC110 (another process tells nobody)
            await asyncio.sleep(0.05)
    return asyncio.get_running_loop().time() - began


def _victims(server: Server, with_all: bool) -> list[int]:
    postmaster = server.cluster.process()
    if postmaster is None:
        raise ReliabilityError("There is no database to be killed.")
    lists = [path.read_text() for path in Path(f"/proc/{postmaster}/task").glob("*/children")] if with_all else []
    return [postmaster, *(int(child) for text in lists for child in text.split())]


SCENARIO = Scenario(
    "database-killed",
    "PostgreSQL killed (`kill -9`: the postmaster; all its processes) amid concurrent writes",
    "every acknowledged write is there, none by half; 503 meanwhile; it comes back by itself",
    run,
)
