"""The server's processes are killed in the middle of concurrent writes."""

import asyncio
from contextlib import ExitStack

from devtools.reliability.gate import gate_closed, put_gate
from devtools.reliability.scenario import Outcome, Scale, Scenario, lost, worst
from devtools.reliability.servers import Server, is_free, kill, server_command, serving, started, until
from devtools.reliability.writes import CUT_OFF, MANY_SIGNUPS, Load

START_SERVER = ("./startServer.sh",)
SETTINGS = {"SIGNUP_RATE": MANY_SIGNUPS}


def run(scale: Scale) -> Outcome:
    """Kill one worker, then all of them, then Gunicorn itself, after which everything is started again."""
    writes, rounds = scale.pick((200, 2), (1000, 4))
    replaced: list[float] = []
    ended: list[float] = []
    restarted: list[float] = []
    left: list[str] = []

    async def fault(load: Load) -> None:
        for number in range(rounds):
            await load.reach(writes * (number + 1) // (rounds + 2))
            replaced.append(await _kill_workers(server, load, with_all=number % 2 == 1))
        await load.reach(writes * (rounds + 1) // (rounds + 2))
        async with gate_closed(server):
            kill(server.master())
        ended.append(await until(lambda: _has_ended(server), "Gunicorn was killed, and not all has ended"))
        left.extend(["the database goes on without a server"] if server.cluster.process() else [])
        command = server_command(server.cluster) if scale.is_small else START_SERVER
        stack.enter_context(started(command, server.cluster.data_dir, server.port, **SETTINGS, DJANGO_DEBUG="true"))
        restarted.append(await load.recovery())

    with serving(**SETTINGS) as server, ExitStack() as stack:
        put_gate(server)
        load = Load(server, allowed=[CUT_OFF])
        asyncio.run(load.run(writes, fault))
        problems = (*load.problems(), *left)
    tries = f"workers killed {rounds} times, Gunicorn once amid {load.acknowledged:,} writes, {load.at_once} at once"
    recovery = (
        f"{worst(replaced)} by itself; after Gunicorn all ended in {worst(ended)}, up again in {worst(restarted)}"
    )
    return Outcome(tries, lost(problems), recovery, problems)


def _has_ended(server: Server) -> bool:
    """Whether nothing of the server is left, and another one may take its place."""
    return server.supervisor.poll() is not None and is_free(server.port)


async def _kill_workers(server: Server, load: Load, with_all: bool) -> float:
    """Return after how many seconds a write is acknowledged, and as many workers are there as before."""
    workers = sorted(server.workers())
    killed = workers if with_all else workers[:1]
    async with gate_closed(server):
        for worker in killed:
            kill(worker)
    seconds = await load.recovery()
    return seconds + await until(
        lambda: len(server.workers() - set(killed)) == len(workers), "Workers that were killed are not replaced"
    )


SCENARIO = Scenario(
    "server-killed",
    "the server killed (`kill -9`: a worker; all workers; Gunicorn) amid concurrent writes",
    "every acknowledged write is there, none by half; workers are replaced; with Gunicorn everything ends",
    run,
)
