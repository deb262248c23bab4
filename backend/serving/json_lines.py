"""Makes a JSON object of each line of its input that isn't one: ``entrypoint.sh`` writes through it."""

import json
import signal
import sys
from datetime import UTC, datetime


def main() -> None:
    """Copy the lines until there are no more, whichever signals the others get."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    for line in sys.stdin:
        sys.stdout.write(line if line.startswith("{") else as_json(line.strip()))
        sys.stdout.flush()


def as_json(text: str) -> str:
    """Return the line of a log that says the text."""
    line = {"event": text, "level": "info", "logger": "entrypoint", "timestamp": datetime.now(UTC).isoformat()}
    return f"{json.dumps(line)}\n"


if __name__ == "__main__":
    main()
