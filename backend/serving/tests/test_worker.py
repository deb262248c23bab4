"""Several server processes on one socket: started, replaced and stopped, as ``startServer.sh`` has it done."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from django.conf import settings
from django.test import SimpleTestCase

from ctj_api.tests.common import wait_until
from devtools.reliability.ports import reserved_port

PATIENCE_SECONDS = 20
ENTRYPOINT = Path(settings.BASE_DIR) / "entrypoint.sh"
WITHOUT_HEARTBEAT = """
import runpy
import serving.worker
serving.worker.HEARTBEAT_SECONDS = 3600
runpy.run_module("gunicorn", run_name="__main__")
"""


class ServerProcessesTests(SimpleTestCase):
    """Real processes and sockets."""

    def setUp(self) -> None:
        """Choose a port that is free, and a gate that is closed."""
        self.port = self.enterContext(reserved_port())
        self.gate = Path(self.enterContext(tempfile.TemporaryDirectory())) / "gate"

    def start(
        self, processes: int, *arguments: str, host: str = "127.0.0.1", launch: tuple[str, ...] = ("-m", "gunicorn")
    ) -> subprocess.Popen[bytes]:
        """Start so many processes and wait until all of them answer."""
        options = ["--config", "python:serving.gunicorn_conf", *arguments, "serving.tests.gated_app:application"]
        environment = {"HOST": host, "PORT": str(self.port), "WEB_CONCURRENCY": str(processes), "GATE": str(self.gate)}
        server = subprocess.Popen(
            [sys.executable, *launch, *options],
            cwd=settings.BASE_DIR,
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.addCleanup(end, server)
        self.host = f"[{host}]" if ":" in host else host
        self.wait_for_processes(processes)
        return server

    def answer(self, path: str = "/") -> int:
        """Return the number of the process that answers; raises ``OSError`` where none does."""
        with urlopen(f"http://{self.host}:{self.port}{path}", timeout=PATIENCE_SECONDS) as response:
            return int(response.read())

    def wait_for_processes(self, count: int, without: int | None = None) -> set[int]:
        """Return the numbers of so many processes, as soon as each has answered."""
        seen: set[int] = set()

        def are_there() -> bool:
            with suppress(OSError):
                seen.add(self.answer())
            return len(seen - {without}) >= count

        wait_until(are_there)
        return seen - {without}

    def is_refused(self) -> bool:
        """Return whether nobody takes connections."""
        try:
            self.answer()
        except URLError as error:
            return isinstance(error.reason, ConnectionRefusedError)
        except ConnectionError:
            return False
        return False

    def enter(self, pool: ThreadPoolExecutor) -> Future[int]:
        """Send a request that is under way until the gate is opened."""
        request = pool.submit(self.answer, "/gate")
        wait_until(self.gate.with_suffix(".entered").exists)
        return request

    def test_processes_share_one_port(self) -> None:
        """Two of them answer."""
        server = self.start(2)
        self.assertNotIn(server.pid, self.wait_for_processes(2))

    def test_process_takes_one_connection_at_a_time(self) -> None:
        """It leaves its siblings their part of a burst, which they have to answer from then on."""
        self.start(1)
        self.assertEqual(self.answer("/accepts"), 1)

    @unittest.skipUnless(socket.has_dualstack_ipv6(), "there is no IPv6 here")
    def test_processes_listen_on_ipv6(self) -> None:
        """As with any other address."""
        self.start(1, host="::1")

    def test_process_is_warmed_up_before_it_answers(self) -> None:
        """Whatever the application wants to have made."""
        self.start(1)
        self.assertTrue(self.gate.with_suffix(".warm").exists())

    def test_process_that_dies_is_replaced(self) -> None:
        """The other one answers meanwhile."""
        self.start(2)
        killed, survivor = self.wait_for_processes(2)
        os.kill(killed, signal.SIGKILL)
        self.assertEqual(len(self.wait_for_processes(2, without=killed) - {survivor}), 1)

    def test_process_that_is_told_to_stop_finishes_its_requests(self) -> None:
        """And is replaced: so they are started anew, one after the other."""
        self.start(1)
        (first,) = self.wait_for_processes(1)
        with ThreadPoolExecutor(1) as pool:
            request = self.enter(pool)
            os.kill(first, signal.SIGTERM)
            self.gate.touch()
            self.assertEqual(request.result(PATIENCE_SECONDS), first)
        self.wait_for_processes(1, without=first)

    def test_process_that_is_told_to_stop_answers_the_connections_it_took(self) -> None:
        """Their requests may come a moment later. Whoever asks at any time gets an answer."""
        server = self.start(2)
        stopped = threading.Event()
        with ThreadPoolExecutor(4) as pool, ExitStack() as stack:
            stack.callback(stopped.set)  # whatever happens: the pool waits for them
            clients = [pool.submit(self.ask_until, stopped) for _ in range(4)]
            for _ in range(5):
                process = self.answer()
                os.kill(process, signal.SIGTERM)
                self.wait_for_processes(2, without=process)
            stopped.set()
            self.assertEqual([client.exception(PATIENCE_SECONDS) for client in clients], [None] * 4)
        self.assertIsNone(server.poll())

    def ask_until(self, stopped: threading.Event) -> None:
        """Ask again and again, on a new connection each time."""
        while not stopped.is_set():
            self.answer()
            time.sleep(0.01)

    def test_server_that_is_told_to_stop_finishes_its_requests(self) -> None:
        """By SIGTERM and by Ctrl-C, which a terminal sends to all processes; nothing new is taken."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name), ThreadPoolExecutor(1) as pool:
                server = self.start(2, "--graceful-timeout", "60")
                request = self.enter(pool)
                os.killpg(server.pid, number)
                wait_until(self.is_refused)
                self.assertIsNone(server.poll())
                self.gate.touch()
                self.assertIn(request.result(PATIENCE_SECONDS), range(1, 2**22))
                self.assertEqual(server.wait(PATIENCE_SECONDS), 0)
            self.gate.unlink()
            self.gate.with_suffix(".entered").unlink()

    def test_server_that_is_told_to_stop_gives_up_a_request_without_end(self) -> None:
        """When the time is up."""
        server = self.start(1, "--graceful-timeout", "2")
        with ThreadPoolExecutor(1) as pool:
            request = self.enter(pool)
            server.terminate()
            self.assertEqual(server.wait(PATIENCE_SECONDS), 0)
            self.assertIsInstance(request.exception(PATIENCE_SECONDS), OSError)
        self.assertTrue(self.is_refused())

    def test_processes_end_with_a_server_that_is_killed(self) -> None:
        """So that the port is free for the next one."""
        server = self.start(2)
        server.kill()
        wait_until(self.is_refused)

    @unittest.skipUnless(sys.platform == "linux", "only Linux tells a process of its parent's death")
    def test_processes_notice_at_once_that_the_server_was_killed(self) -> None:
        """Not only at their next heartbeat, or the next start finds the port in use."""
        server = self.start(1, launch=("-c", WITHOUT_HEARTBEAT))
        server.kill()
        wait_until(self.is_refused)

    def test_entrypoint_refuses_a_wrong_number_of_processes(self) -> None:
        """With a line that says what is right."""
        for number in ("0", "-1", "two", "1.5", "100", "1 2"):
            with self.subTest(number):
                done = subprocess.run(
                    [ENTRYPOINT],
                    env=os.environ | {"WEB_CONCURRENCY": number},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                self.assertEqual(done.returncode, 1)
                self.assertEqual(
                    done.stderr,
                    f"entrypoint.sh: WEB_CONCURRENCY must be a number from 1 to 99, not '{number}'.\n",
                )


def end(server: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a server and its processes."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
