"""What a process asks of the operating system."""

import ctypes
import signal
import sys
from types import FrameType


def end_with_parent() -> None:
    """Have this process sent SIGTERM when its parent dies, be it by SIGKILL; only Linux can."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def exit_on_signals() -> None:
    """Have SIGTERM and SIGHUP end this process as Ctrl-C does: what is under way is cleaned up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _exit)


def _exit(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
