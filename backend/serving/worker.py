"""A server process: Daphne, on a socket that it shares with its siblings, started and watched by Gunicorn.

``docs/decisions/0016-several-processes.md`` says why.
"""

import asyncio
import os
import resource
import signal
import time
from threading import Thread
from typing import Any

from django.conf import settings
from gunicorn.workers.base import Worker

from serving.processes import end_with_parent

HEARTBEAT_SECONDS = 1
DRAIN_STEP_SECONDS = 0.05
# What is left of Gunicorn's limit for the process to end by itself.
EXIT_SECONDS = 1
# What a process opens besides its connections and the files of large bodies, one for each at most.
OTHER_FILES = 256


class DaphneWorker(Worker):
    """Serves with Daphne until it is told to stop, or its parent is gone; requests under way finish."""

    def run(self) -> None:
        """Serve. Twisted and Daphne are imported here, after the fork: they open files as they are loaded."""
        from daphne import server  # noqa: PLC0415
        from twisted.internet import reactor, task, tcp  # noqa: PLC0415

        from serving.wire import WireFactory, WireTransport  # noqa: PLC0415

        server.HTTPFactory = WireFactory
        tcp.Port.transport = WireTransport
        # Twisted would take up to a hundred connections at once: one process all of a burst, its siblings none.
        tcp.Port.numberAccepts = property(lambda _: 1, lambda _, __: None)  # type: ignore[assignment]
        self._reactor: Any = reactor
        self._tcp = tcp
        self._draining = task.LoopingCall(self._stop_when_done)
        self._heartbeat = task.LoopingCall(self._beat)
        self._server = server.Server(
            self.wsgi,
            endpoints=[f"fd:fileno={socket.fileno()}" for socket in self.sockets],
            signal_handlers=False,
            server_name="",
        )
        end_with_parent()
        allow_open_files(2 * settings.CONNECTIONS_MAX + OTHER_FILES)
        self._warm_up()
        self._reactor.callWhenRunning(self._begin)
        self._server.run()

    def _warm_up(self) -> None:
        """Let the application make what it wants before the first connection is taken."""
        thread = Thread(target=getattr(self.wsgi, "warm_up", None), daemon=True)
        thread.start()
        while thread.is_alive() and self.alive:
            self.notify()
            thread.join(HEARTBEAT_SECONDS)

    def _begin(self) -> None:
        self._heartbeat.start(HEARTBEAT_SECONDS)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            asyncio.get_event_loop().add_signal_handler(number, self._drain)
        if not self.alive:
            self._drain()

    def _beat(self) -> None:
        self.notify()
        if os.getppid() != self.ppid:
            self._drain()

    def _drain(self) -> None:
        """Take no more connections, answer the requests that have come, and stop."""
        if self._draining.running:
            return
        self._stop_at = time.monotonic() + self.cfg.graceful_timeout - EXIT_SECONDS
        self._server.http_factory.is_draining = True
        for port in self._sockets(self._tcp.Port):
            port.stopListening()
        # Not now: a connection that was taken a moment ago has its request still to be read.
        self._draining.start(DRAIN_STEP_SECONDS, now=False)

    def _stop_when_done(self) -> None:
        is_late = time.monotonic() > self._stop_at
        if self._is_busy() and not is_late:
            return
        connections = self._sockets(self._tcp.Connection)
        for connection in connections:
            connection.loseConnection()  # once all that was written has been sent
        if is_late or not connections:
            self._draining.stop()
            self._reactor.stop()

    def _is_busy(self) -> bool:
        requests = (connection.get("application_instance") for connection in self._server.connections.values())
        is_receiving = any(channel.is_receiving for channel in self._server.http_factory.channels)
        return is_receiving or any(request and not request.done() for request in requests)

    def _sockets(self, kind: type) -> list[Any]:
        """Return the sockets of a kind that Twisted reads from or writes to."""
        watched = {*self._reactor.getReaders(), *self._reactor.getWriters()}
        return [socket for socket in watched if isinstance(socket, kind)]


def allow_open_files(count: int) -> None:
    """Let this process have so many files and connections open, as far as the system's hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
