"""PostgreSQL is killed in the middle of concurrent writes."""

import asyncio
from pathlib import Path

from reliability.gate import gate_closed, put_gate
from reliability.scenario import Outcome, ReliabilityError, Scale, Scenario, lost, worst
from reliability.servers import Server, kill, serving
from reliability.writes import AT_ONCE, MANY_SIGNUPS, Load


def run(scale: Scale) -> Outcome:
    """Kill the postmaster in one round, all of its processes in the next."""
    writes, kills = scale.pick((200, 2), (1000, 4))
    seconds: list[float] = []

    async def fault(load: Load) -> None:
        for number in range(kills):
            await load.reach(writes * (number + 1) // (kills + 1))
            async with gate_closed(server):
                for process in _victims(server, with_all=number % 2 == 1):
                    kill(process)
            seconds.append(await load.recovery())

    with serving(SIGNUP_RATE=MANY_SIGNUPS) as server:
        put_gate(server)
        load = Load(server)
        asyncio.run(load.run(writes, fault))
        problems = load.problems()
    tries = f"{kills} kills amid {load.acknowledged:,} writes, {AT_ONCE} at once; {load.statuses['503']} answers 503"
    return Outcome(tries, lost(problems), worst(seconds), tuple(problems))


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
