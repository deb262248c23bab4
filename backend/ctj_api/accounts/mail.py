"""Mail, sent in a thread a random while after the answer (``docs/decisions/0021-*.md``)."""

import logging
import time
from collections import deque
from collections.abc import Callable
from email.policy import default as default_policy
from secrets import SystemRandom
from threading import Lock, Thread, main_thread
from typing import Any

from django.core.mail import EmailMessage

logger = logging.getLogger(__name__)

DELAY_SECONDS = (1.0, 5.0)
# RFC 5322, 2.1.1. Python's 78 would break a link, which nobody could then copy from the log.
MAX_LINE = 998

_random = SystemRandom()
_queue: deque[tuple[float, Callable[[], object]]] = deque()
_lock = Lock()


class UnwrappedMessage(EmailMessage):
    """A mail whose lines are not wrapped."""

    def message(self, *, policy: Any = default_policy) -> Any:
        """Return the message as it is sent."""
        return super().message(policy=policy.clone(max_line_length=MAX_LINE))


def send_later(send: Callable[[], object]) -> None:
    """Have a thread call ``send`` after a random delay, so that timing reveals nothing; at once if the process ends."""
    due = time.monotonic() + _random.uniform(*DELAY_SECONDS)
    with _lock:
        if not _queue:
            Thread(target=_send_queued, name="mail", daemon=False).start()
        _queue.append((due, send))


def _send_queued() -> None:
    """Send until the queue is empty; a process ends only after this thread, because it is no daemon."""
    is_empty = False
    while not is_empty:
        with _lock:
            due, send = _queue[0]
        main_thread().join(max(0, due - time.monotonic()))  # over at once when the process ends
        try:
            send()
        except Exception:
            logger.exception("A mail could not be sent")
        with _lock:
            _queue.popleft()
            is_empty = not _queue
