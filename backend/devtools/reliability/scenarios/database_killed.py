"""PostgreSQL is killed in the middle of concurrent writes."""

import asyncio

from devtools.benchmarks.servers import children
from devtools.reliability.gate import INSTALL, gate_closed
from devtools.reliability.many import allow_files
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, Scenario, lost, worst
from devtools.reliability.servers import Server, kill, serving, until
from devtools.reliability.writes import Load


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
            times = await asyncio.gather(until(server.answers, "The server was not healthy"), load.recovery())
            healthy.append(times[0])
            written.append(times[1])

    with serving(volunteers=at_once) as server:
        server.database().execute(INSTALL)
        load = Load(server, at_once)
        asyncio.run(load.run(writes, fault))
        problems = load.problems()
    refused = load.statuses["503"]
    tries = f"{kills} kills amid {load.acknowledged:,} writes, {at_once:,} at once; {refused:,} answers 503"
    recovery = f"healthy after {worst(healthy)}; a write that queues up then is done after {worst(written)}"
    return Outcome(tries, lost(problems), recovery, tuple(problems))


def _victims(server: Server, with_all: bool) -> list[int]:
    postmaster = server.cluster.process()
    if postmaster is None:
        raise ReliabilityError("There is no database to be killed.")
    return [postmaster, *(children(postmaster) if with_all else [])]


SCENARIO = Scenario(
    "database-killed",
    "PostgreSQL killed (`kill -9`: the postmaster; all its processes) amid concurrent writes",
    "every acknowledged write is there, none by half; 503 meanwhile; it comes back by itself",
    run,
)
