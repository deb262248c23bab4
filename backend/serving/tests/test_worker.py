"""Several server processes on one socket: started, replaced, reloaded and stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import datetime
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import SimpleTestCase

from ctj_api.tests.common import wait_until

from .server import PATIENCE_SECONDS, Server, gunicorn_after, started

WITHOUT_HEARTBEAT = gunicorn_after("import serving.worker\nserving.worker.HEARTBEAT_SECONDS = 3600")
DYING = gunicorn_after("import os, serving.worker\nserving.worker.DaphneWorker.run = lambda _: os.kill(os.getpid(), 9)")


class ServerProcessesTests(SimpleTestCase):
    """Real processes and sockets."""

    server: Server

    def start(
        self, processes: int, *arguments: str, host: str = "127.0.0.1", launch: tuple[str, ...] = ("-m", "gunicorn")
    ) -> subprocess.Popen[bytes]:
        """Start so many processes and wait until all of them answer."""
        server = started(*arguments, host=host, launch=launch, WEB_CONCURRENCY=str(processes))
        self.server = self.enterContext(server)
        self.wait_for_processes(processes)
        return self.server.process

    def answer(self, path: str = "/process") -> int:
        """Return the number of the process that answers; raises ``OSError`` where none does."""
        return int(self.server.get(path))

    def wait_for_processes(self, count: int, without: int | None = None) -> set[int]:
        """Return the numbers of so many processes, as soon as each has answered."""
        seen: set[int] = set()

        def are_there() -> bool:
            with suppress(OSError):
                seen.add(self.answer())
            return len(seen - {without}) >= count

        wait_until(are_there)
        return seen - {without}

    def is_there(self, without: int) -> bool:
        """Return whether another process answers."""
        with suppress(OSError):
            return self.answer() != without
        return False

    def is_refused(self) -> bool:
        """Return whether nobody takes connections."""
        try:
            self.answer()
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
        return False

    def enter(self, pool: ThreadPoolExecutor) -> Future[int]:
        """Send a request that is under way until the gate is opened."""
        request = pool.submit(self.answer, "/gate")
        wait_until(self.server.gate.with_suffix(".entered").exists)
        return request

    def test_process_that_dies_is_replaced(self) -> None:
        """Two share one port once warmed up; a killed one has a successor, the other stays."""
        server = self.start(2, host="::1" if socket.has_dualstack_ipv6() else "127.0.0.1")
        self.assertTrue(self.server.gate.with_suffix(".warm").exists())
        self.assertEqual(self.answer("/accepts"), 1)  # connections at once, so that a burst is shared
        killed, survivor = self.wait_for_processes(2)
        self.assertNotIn(server.pid, (killed, survivor))
        os.kill(killed, signal.SIGKILL)
        self.assertEqual(len(self.wait_for_processes(2, without=killed) - {survivor}), 1)
        server.kill()
        wait_until(self.is_refused)

    def test_processes_that_die_at_once_are_replaced_later_and_later(self) -> None:
        """Each pause is longer than the one before, and the server ends when it is told to."""
        server = self.enterContext(started(launch=DYING, LOG_FORMAT="json"))
        wait_until(lambda: server.log.count("was sent SIGKILL") == 4)
        lines = [json.loads(line) for line in server.log.splitlines()]
        died = [datetime.fromisoformat(line["timestamp"]) for line in lines if "was sent SIGKILL" in line["event"]]
        pauses = [(after - before).total_seconds() for before, after in pairwise(died)]
        self.assertTrue(all(pause > least for pause, least in zip(pauses, (0.1, 0.3, 0.7), strict=True)), pauses)
        server.process.terminate()
        self.assertEqual(server.process.wait(PATIENCE_SECONDS), 0)

    def test_process_that_is_told_to_stop_finishes_its_requests(self) -> None:
        """The request under way is answered, and a new process takes over."""
        self.start(1)
        (first,) = self.wait_for_processes(1)
        with ThreadPoolExecutor(1) as pool:
            request = self.enter(pool)
            os.kill(first, signal.SIGTERM)
            self.server.gate.touch()
            self.assertEqual(request.result(PATIENCE_SECONDS), first)
        self.wait_for_processes(1, without=first)

    def test_process_that_is_told_to_stop_answers_the_connections_it_took(self) -> None:
        """Clients that ask without a break get an answer each time."""
        server = self.start(2)
        stopped = threading.Event()

        def ask_until_stopped() -> None:
            while not stopped.is_set():
                self.answer()
                time.sleep(0.01)

        with ThreadPoolExecutor(4) as pool, ExitStack() as stack:
            stack.callback(stopped.set)  # whatever happens: the pool waits for them
            clients = [pool.submit(ask_until_stopped) for _ in range(4)]
            for _ in range(2):
                process = self.answer()
                os.kill(process, signal.SIGTERM)
                self.wait_for_processes(2, without=process)
            stopped.set()
            self.assertEqual([client.exception(PATIENCE_SECONDS) for client in clients], [None] * 4)
        self.assertIsNone(server.poll())

    def test_server_that_is_told_to_stop_finishes_its_requests(self) -> None:
        """SIGTERM and Ctrl-C refuse new connections and let the request under way finish."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name), ThreadPoolExecutor(1) as pool:
                server = self.start(2, "--graceful-timeout", "60")
                request = self.enter(pool)
                os.killpg(server.pid, number)
                wait_until(self.is_refused)
                self.assertIsNone(server.poll())
                self.server.gate.touch()
                self.assertIn(request.result(PATIENCE_SECONDS), range(1, 2**22))
                self.assertEqual(server.wait(PATIENCE_SECONDS), 0)

    def test_server_that_is_told_to_stop_gives_up_a_request_without_end(self) -> None:
        """The request is cut off when the time is up."""
        server = self.start(1, "--graceful-timeout", "2")
        with ThreadPoolExecutor(1) as pool:
            request = self.enter(pool)
            server.terminate()
            self.assertEqual(server.wait(PATIENCE_SECONDS), 0)
            self.assertIsInstance(request.exception(PATIENCE_SECONDS), OSError | HTTPException)
        self.assertTrue(self.is_refused())

    @unittest.skipUnless(sys.platform == "linux", "only Linux tells a process of its parent's death")
    def test_processes_notice_at_once_that_the_server_was_killed(self) -> None:
        """They end without waiting for the next heartbeat."""
        self.start(1, launch=WITHOUT_HEARTBEAT).kill()
        wait_until(self.is_refused)

    def test_process_in_development_is_replaced_when_a_file_changes(self) -> None:
        """Code that can't be loaded is logged, and tried again when the file has changed."""
        path = Path(settings.BASE_DIR) / "serving/tests/reloaded_app.py"
        code = "from serving.tests.server_app import application\n"
        path.write_text(code)
        self.addCleanup(path.unlink)
        environment: dict[str, Any] = {"DJANGO_DEBUG": "true", "PYTHONDONTWRITEBYTECODE": "1"}
        self.server = self.enterContext(started(application="serving.tests.reloaded_app:application", **environment))
        (first,) = self.wait_for_processes(1)
        wait_until(lambda: bool(path.write_text(f"{code}misspelt\n")) and "NameError" in self.server.log)
        wait_until(lambda: bool(path.write_text(code)) and self.is_there(without=first))
