"""The files that prometheus_client maps into memory, made so that a full disk costs metrics and not the process."""

import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

logger = logging.getLogger(__name__)

FIRST_BYTES = 1 << 16
# What an entry of a file takes besides its key.
ENTRY_BYTES = 28


class ReservedFile(MmapedDict):
    """Reserves room before it is mapped: the process that writes to memory behind which there is none gets a SIGBUS."""

    def __init__(self, filename: str) -> None:
        try:
            self._reserve(filename, FIRST_BYTES)
        except OSError:
            Path(filename).unlink(missing_ok=True)
            raise
        super().__init__(filename)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + ENTRY_BYTES > self._capacity:
            self._reserve(self._fname, 2 * self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    @staticmethod
    def _reserve(filename: str, size: int) -> None:
        with Path(filename).open("ab") as file:
            if hasattr(os, "posix_fallocate"):  # macOS has none
                os.posix_fallocate(file.fileno(), 0, size)


def reserve_room() -> None:
    """Have metrics reserve their room from now on; one without room counts where nobody sees it."""
    shared_value = values.ValueClass

    def value(*args: Any, **kwargs: Any) -> Any:
        try:
            return shared_value(*args, **kwargs)
        except OSError as error:
            _log_once(error.strerror)
            return values.MutexValue(*args, **kwargs)

    values.MmapedDict = ReservedFile
    values.ValueClass = value


@cache
def _log_once(reason: str | None) -> None:
    logger.warning("Some metrics of this process are not shown, as their files have no room: %s", reason)
