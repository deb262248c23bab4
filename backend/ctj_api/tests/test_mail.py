"""Mail is sent a while after the answer, in order, and not lost when the process ends."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from unittest.mock import Mock, patch

from django.conf import settings
from django.test import SimpleTestCase

from ctj_api.accounts.mail import send_later

from .common import wait_until

DELAY = "ctj_api.accounts.mail.DELAY_SECONDS"
# Django's own development server answers in daemon threads.
ENDING = """
from threading import Thread
from ctj_api.accounts import mail
mail.DELAY_SECONDS = (1, 1)
def hand_in():
    for number in range(3):
        mail.send_later(lambda number=number: print(number))
thread = Thread(target=hand_in, daemon=True)
thread.start()
thread.join()
print("end")
"""


class MailTests(SimpleTestCase):
    """The thread that sends."""

    def setUp(self) -> None:
        """Note what is sent, and when."""
        self.sent: list[int] = []

    def sending(self, number: int) -> Callable[[], None]:
        """Return what stands for sending a mail."""
        return lambda: self.sent.append(number)

    def test_owner_gets_mails_in_order_a_while_after(self) -> None:
        """One thread sends 50, each at its own time and not before."""
        began, first = time.monotonic(), list[float]()
        with patch(DELAY, (0.2, 0.2)):
            send_later(lambda: first.append(time.monotonic()))
            for number in range(50):
                send_later(self.sending(number))
            self.assertEqual([thread.name for thread in threading.enumerate()].count("mail_0"), 1)
        wait_until(lambda: len(self.sent) == 50)
        self.assertTrue(0.2 <= first[0] - began < 5)
        self.assertEqual(self.sent, list(range(50)))

    def test_attacker_cannot_foresee_the_delay(self) -> None:
        """It is random, from one second to five, so that nobody knows which request a mail belongs to."""
        with patch("ctj_api.accounts.mail._sender.submit") as submit:
            for number in range(100):
                send_later(self.sending(number))
        delays = [call.args[-1] - time.monotonic() for call in submit.call_args_list]
        self.assertTrue(0 < min(delays) < 2 and 4 < max(delays) <= 5, (min(delays), max(delays)))

    def test_owners_asking_at_once_get_all_mails(self) -> None:
        """Also after one that fails."""

        def hand_in() -> None:
            for number in range(200):
                send_later(self.sending(number))

        with patch(DELAY, (0, 0)), self.assertLogs("ctj_api.accounts.mail", "ERROR"):
            send_later(Mock(side_effect=ValueError("A defect")))
            threads = [threading.Thread(target=hand_in) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wait_until(lambda: len(self.sent) == 800)

    def test_operator_ending_the_process_loses_no_mail(self) -> None:
        """It waits until they are due."""
        command = [sys.executable, "-c", ENDING]
        ended = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60, check=True)
        self.assertEqual(ended.stdout.split(), ["end", "0", "1", "2"])
