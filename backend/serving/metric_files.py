"""The files of prometheus_client, which maps them into memory: a full disk shall cost metrics, not the process."""

import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

import prometheus_client.values
from prometheus_client.mmap_dict import MmapedDict

logger = logging.getLogger(__name__)
values: Any = prometheus_client.values

FIRST_BYTES = 1 << 16
ENTRY_BYTES = 28  # besides its key


class ReservedFile(MmapedDict):
    """Reserves room before it maps it: to write to mapped memory that the disk has no room for is a SIGBUS."""

    def __init__(self, filename: str) -> None:
        try:
            _reserve(filename, FIRST_BYTES)
        except OSError:
            Path(filename).unlink(missing_ok=True)
            raise
        super().__init__(filename)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + ENTRY_BYTES > self._capacity:
            _reserve(self._fname, 2 * self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def _reserve(filename: str, size: int) -> None:
    with Path(filename).open("ab") as file:
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

    if hasattr(os, "posix_fallocate"):  # macOS has none
        values.MmapedDict, values.ValueClass = ReservedFile, value


@cache
def _log_once(reason: str | None) -> None:
    logger.warning("Some metrics of this process are not shown, as they have no room: %s", reason)
