"""What is done after an answer is done a while later, in order, and not lost when the process ends."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, patch

from django.conf import settings
from django.test import SimpleTestCase

from ctj_api.accounts import mail as post
from ctj_api.accounts.mail import do_later

from .common import wait_until

DELAY = "ctj_api.accounts.mail.DELAY_SECONDS"
# Django's own development server answers in daemon threads.
ENDING = """
from threading import Thread
from ctj_api import post
post.DELAY_SECONDS = (600, 600)
def hand_in():
    for number in range(3):
        post.do_later(lambda number=number: print(number))
thread = Thread(target=hand_in, daemon=True)
thread.start()
thread.join()
print("end")
"""


class PostTests(SimpleTestCase):
    """Jobs in the thread that does them."""

    def setUp(self) -> None:
        """Note what is done."""
        self.done: list[Any] = []

    def note(self, what: Any) -> Callable[[], None]:
        """Return a job that is noted when it is done."""
        return lambda: self.done.append(what)

    def test_job_is_done_a_while_after(self) -> None:
        """Not before its time, and by another thread than that of the request."""
        began = time.monotonic()
        with patch(DELAY, (0.2, 0.3)):
            do_later(lambda: self.done.append((time.monotonic() - began, threading.current_thread().name)))
        self.assertEqual(self.done, [])
        wait_until(lambda: bool(self.done))
        ((seconds, thread),) = self.done
        self.assertGreaterEqual(seconds, 0.2)
        self.assertEqual(thread, "post")

    def test_while_is_random(self) -> None:
        """From one second to five: nobody knows which request a job belongs to."""
        jobs: list[tuple[float, Any]] = []
        with patch("ctj_api.accounts.mail.Thread"), patch("ctj_api.accounts.mail._jobs", jobs):
            for number in range(100):
                do_later(self.note(number))
        delays = [due - time.monotonic() for due, _ in jobs]
        self.assertTrue(0 < min(delays) < 2 and 4 < max(delays) <= 5, (min(delays), max(delays)))

    def test_jobs_are_done_in_order_by_one_thread(self) -> None:
        """However many come, each has its own due time and none waits for the others'."""
        began = time.monotonic()
        with patch(DELAY, (0.2, 0.2)):
            for number in range(50):
                do_later(self.note(number))
            self.assertEqual([thread.name for thread in threading.enumerate()].count("post"), 1)
        wait_until(lambda: len(self.done) == 50)
        self.assertEqual(self.done, list(range(50)))
        self.assertLess(time.monotonic() - began, 5)

    def test_jobs_from_many_threads_are_all_done(self) -> None:
        """Whether the thread is there, about to end, or to be made."""

        def hand_in() -> None:
            for number in range(200):
                do_later(self.note(number))

        with patch(DELAY, (0, 0)):
            threads = [threading.Thread(target=hand_in) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wait_until(lambda: len(self.done) == 800)
        wait_until(lambda: not post._jobs)

    def test_job_that_fails_keeps_none_from_being_done(self) -> None:
        """It is logged."""
        with patch(DELAY, (0, 0)), self.assertLogs("ctj_api.accounts.mail", "ERROR"):
            do_later(Mock(side_effect=ValueError("A defect")))
            do_later(self.note("next"))
            wait_until(lambda: bool(self.done))

    def test_process_that_ends_does_its_jobs_at_once(self) -> None:
        """It neither waits until they are due nor loses them."""
        began = time.monotonic()
        command = [sys.executable, "-c", ENDING]
        ended = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60, check=True)
        self.assertEqual(ended.stdout.split(), ["end", "0", "1", "2"])
        self.assertLess(time.monotonic() - began, 30)
