"""What a process asks of the operating system."""

import ctypes
import signal
import sys


def end_with_parent() -> None:
    """Have this process sent SIGTERM when its parent dies, be it by SIGKILL; only Linux can."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
