"""Mail, sent in a thread a random while after the answer (``docs/decisions/0021-*.md``)."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.policy import default as default_policy
from secrets import SystemRandom
from typing import Any

from django.core.mail import EmailMessage

logger = logging.getLogger(__name__)

DELAY_SECONDS = (1.0, 5.0)

_sender = ThreadPoolExecutor(1, thread_name_prefix="mail")


class UnwrappedMessage(EmailMessage):
    """A mail whose lines are not wrapped."""

    def message(self, *, policy: Any = default_policy) -> Any:
        """Return the message as it is sent."""
        # RFC 5322, 2.1.1. Python's 78 would break a link, which nobody could then copy from the log.
        return super().message(policy=policy.clone(max_line_length=998))


def send_later(send: Callable[[], object]) -> None:
    """Have a thread call ``send`` after a random delay, so that timing reveals nothing; an ending process waits."""
    _sender.submit(_send, send, time.monotonic() + SystemRandom().uniform(*DELAY_SECONDS))


def _send(send: Callable[[], object], due: float) -> None:
    time.sleep(max(0, due - time.monotonic()))
    try:
        send()
    except Exception:
        logger.exception("A mail could not be sent")
