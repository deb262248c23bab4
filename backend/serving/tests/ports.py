"""Ports for servers that are told theirs by its number."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESS = "127.0.0.1"


@contextmanager
def reserved_port() -> Iterator[int]:
    """Have a port that nobody listens on, and that the system gives to nobody who asks for any."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((ADDRESS, 0))
        port: int = holder.getsockname()[1]
        if sys.platform != "linux":
            holder.close()  # elsewhere the server could not listen on it
        yield port
