"""What is done after an answer: a random while later, so that neither it nor the next one tells by its time what it is.

``docs/decisions/0021-passwords-and-reset.md`` says why.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from secrets import SystemRandom
from threading import Lock, Thread, main_thread

logger = logging.getLogger(__name__)

DELAY_SECONDS = (1.0, 5.0)

type Job = Callable[[], object]

_jobs: deque[tuple[float, Job]] = deque()
_lock = Lock()
_random = SystemRandom()


def do_later(job: Job) -> None:
    """Have the job done in a thread, after those that came before it; a process that ends does it before."""
    due = time.monotonic() + _random.uniform(*DELAY_SECONDS)
    with _lock:
        if not _jobs:
            Thread(target=_work, name="post", daemon=False).start()
        _jobs.append((due, job))


def _work() -> None:
    """Do the jobs until none is left. Before a process ends, Python waits for this thread, for it is no daemon."""
    is_over = False
    while not is_over:
        with _lock:
            due, job = _jobs[0]
        _wait_until(due)
        try:
            job()
        except Exception:
            logger.exception("A job could not be done")
        with _lock:
            _jobs.popleft()
            is_over = not _jobs


def _wait_until(due: float) -> None:
    """Wait until then, or until the process begins to end: its main thread is over then."""
    main_thread().join(max(0, due - time.monotonic()))
