"""A server process: Daphne on a shared socket, started and watched by Gunicorn (docs/decisions/0016-*.md)."""

import asyncio
import os
import signal
import sys
import time
from threading import Thread
from typing import Any

from gunicorn.workers.base import Worker

from serving.processes import end_with_parent

HEARTBEAT_SECONDS = 1
DRAIN_STEP_SECONDS = 0.05
# What is left of Gunicorn's limit for the process to end by itself.
EXIT_SECONDS = 1


class DaphneWorker(Worker):
    """Serves with Daphne until it is told to stop or its parent is gone; requests under way finish."""

    def load_wsgi(self) -> None:
        """Load the application; in development, one that can't be loaded is awaited until a file changes."""
        try:
            super().load_wsgi()
        except Exception:
            if self.reloader is None:  # not in development
                raise
            self.reloader.start()
            self.log.exception("The application can't be loaded; it is tried again once a file has changed.")
            while self.alive and os.getppid() == self.ppid:
                self.notify()
                time.sleep(HEARTBEAT_SECONDS)
            sys.exit(0)

    def run(self) -> None:
        """Serve. Daphne and Twisted are imported here, after the fork, because they open files as they are loaded."""
        from serving import daphne_server  # noqa: PLC0415

        self._reactor: Any = daphne_server.reactor
        self._tcp = daphne_server.tcp
        self._draining = daphne_server.task.LoopingCall(self._drain_step)
        self._heartbeat = daphne_server.task.LoopingCall(self._beat)
        self._server = daphne_server.Server(
            self.wsgi,
            endpoints=[f"fd:fileno={socket.fileno()}" for socket in self.sockets],
            signal_handlers=False,
            server_name="",
        )
        end_with_parent()
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

    def _beat(self) -> None:
        self.notify()
        if not self.alive or os.getppid() != self.ppid:
            self._drain()

    def _drain(self) -> None:
        """Take no more connections, answer the requests that have come, and stop."""
        if self._draining.running:
            return
        self._stop_at = time.monotonic() + self.cfg.graceful_timeout - EXIT_SECONDS
        for port in self._sockets(self._tcp.Port):
            port.stopListening()
        # Not now: a connection that was taken a moment ago has its request still to be read.
        self._draining.start(DRAIN_STEP_SECONDS, now=False)

    def _drain_step(self) -> None:
        """Close each connection without a request, and stop when there is none left or the time is up."""
        is_late = time.monotonic() > self._stop_at
        connections = self._sockets(self._tcp.Connection)
        busy = set() if is_late else self._server.busy_transports()
        for connection in connections - busy:
            connection.loseConnection()  # once all that was written has been sent
        if is_late or not connections:
            self._draining.stop()
            self._reactor.stop()

    def _sockets(self, kind: type) -> set[Any]:
        """Return the sockets of a kind that Twisted reads from or writes to."""
        watched = {*self._reactor.getReaders(), *self._reactor.getWriters()}
        return {socket for socket in watched if isinstance(socket, kind)}
