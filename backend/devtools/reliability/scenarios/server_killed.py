"""The server's processes are killed in the middle of concurrent writes."""

import asyncio
from contextlib import ExitStack

from devtools.reliability.gate import INSTALL, gate_closed
from devtools.reliability.scenario import Outcome, Scale, Scenario, lost, worst
from devtools.reliability.servers import Server, kill, launched, serving, until
from devtools.reliability.writes import CUT_OFF, Load


def run(scale: Scale) -> Outcome:
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
        again = launched(server.cluster.data_dir, server.content, port=server.port)
        recovered = asyncio.create_task(load.recovery())
        await asyncio.to_thread(stack.enter_context, again)
        restarted.append(await recovered)

    with serving() as server, ExitStack() as stack:
        server.database().execute(INSTALL)
        load = Load(server, allowed=["503", CUT_OFF])
        asyncio.run(load.run(writes, fault))
        problems = (*load.problems(), *left)
    tries = f"workers killed {rounds} times, Gunicorn once amid {load.acknowledged:,} writes, {load.at_once} at once"
    recovery = (
        f"{worst(replaced)} by itself; after Gunicorn all ended in {worst(ended)}, up again in {worst(restarted)}"
    )
    return Outcome(tries, lost(problems), recovery, problems)


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


SCENARIO = Scenario(
    "server-killed",
    "the server killed (`kill -9`: a worker; all workers; Gunicorn) amid concurrent writes",
    "every acknowledged write is there, none by half; workers are replaced; with Gunicorn everything ends",
    run,
)
