"""Makes what the project runs on: ``.tools`` (Poetry) and ``.venv`` (the packages that ``poetry.lock`` pins).

It needs nothing but Python 3.9 or newer and does nothing when both are up to date. Each is stamped once it is
complete, so one that was left half made is made again.

    python3 -I devtools/bootstrap.py
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

BACKEND = Path(__file__).resolve().parent.parent
TOOLS = BACKEND / ".tools"
VENV = BACKEND / ".venv"
LOCK = BACKEND / ".setup.lock"
STAMP = "complete-for"

POETRY = ("poetry>=2.1,<3", "poetry-plugin-export>=1.9,<2")
OLDEST_PYTHON = (3, 9)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KILL_AFTER_SECONDS = 10
OUTPUT_LINES_SHOWN = 25


class SetupError(Exception):
    """What keeps the environment from being made, in a sentence that says what to do."""


class CommandError(Exception):
    """A command that failed; its text is the end of what the command printed."""


class Stopped(BaseException):
    """This process was asked to end by a signal."""


def main() -> int:
    """Bring the environment up to date and return the exit code."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise_stopped)
    try:
        bring_up_to_date()
    except SetupError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}. Free or open that place for writing, and run this again.")
    except Stopped as request:
        return 128 + int(request.args[0])
    return 0


def bring_up_to_date() -> None:
    """Make ``.tools`` and ``.venv`` unless they are complete for the files that define them."""
    if is_complete(TOOLS, tools_stamp()) and is_complete(VENV, venv_stamp()):
        return
    if not os.access(BACKEND, os.W_OK):
        raise SetupError(f"{BACKEND} is not writable by you: run this as its owner, or work in a copy of your own.")
    with setup_lock() as lock:
        if not is_complete(TOOLS, tools_stamp()):
            make_tools(lock)
        if not is_complete(VENV, venv_stamp()):
            make_venv(lock)


def make_tools(lock: int) -> None:
    """Make ``.tools`` anew: a virtual environment with Poetry."""
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        raise SetupError("This Python has no venv module: install it (Debian and Ubuntu: apt install python3-venv).")
    _remove(TOOLS)
    with step("Installing Poetry into .tools"):
        attempt(
            [sys.executable, "-I", "-m", "venv", str(TOOLS)],
            lock,
            "The virtual environment for Poetry could not be made; the lines above say why.",
        )
        attempt(
            [str(TOOLS / "bin" / "python"), "-m", "pip", "install", "--quiet", *POETRY],
            lock,
            "Poetry could not be installed: check the network, and the settings of pip, and run this again.",
        )
    write_stamp(TOOLS, tools_stamp())


def make_venv(lock: int) -> None:
    """Make ``.venv`` anew, with a Python that pyproject.toml admits and the packages of poetry.lock."""
    _remove(VENV)
    poetry = str(TOOLS / "bin" / "poetry")
    requirements = str(TOOLS / "requirements.txt")
    with step("Making .venv"):
        attempt(
            [poetry, "env", "activate"],
            lock,
            f".venv could not be made; the lines above say why. It takes a Python {required_python()}: "
            "if there is none, install one (from your package manager, python.org or 'pyenv install 3.13'), "
            "put it on the PATH, and run this again.",
        )
        attempt(
            [poetry, "export", "--with", "dev", "--output", requirements],
            lock,
            "poetry.lock could not be read: where it does not match pyproject.toml, run 'poetry lock'.",
        )
    with step("Installing the packages of poetry.lock into .venv"):
        attempt(
            [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", requirements],
            lock,
            "The packages could not be installed: check the network, and the settings of pip, and run this again.",
        )
    write_stamp(VENV, venv_stamp())


def tools_stamp() -> str:
    """Return what ``.tools`` depends on: Poetry's versions, its Python and its own place."""
    return _digest(*POETRY, *_place(TOOLS))


def venv_stamp() -> str:
    """Return what ``.venv`` depends on: the packages, its Python and its own place."""
    lock = (BACKEND / "poetry.lock").read_text(encoding="utf-8")
    return _digest(lock, *dependency_lines(), *_place(VENV))


def is_complete(environment: Path, stamp: str) -> bool:
    """Whether ``environment`` was finished with this stamp, and its Python is still there."""
    try:
        return (environment / STAMP).read_text() == stamp and os.access(environment / "bin" / "python", os.X_OK)
    except FileNotFoundError:
        return False


def write_stamp(environment: Path, stamp: str) -> None:
    """Declare ``environment`` finished, once its files are safe from a power cut."""
    os.sync()
    unfinished = environment / f"{STAMP}.new"
    unfinished.write_text(stamp)
    unfinished.replace(environment / STAMP)


def dependency_lines() -> list[str]:
    """Return the lines of pyproject.toml that say what is needed (tomllib is younger than Python 3.9)."""
    lines: list[str] = []
    is_wanted = False
    for line in (BACKEND / "pyproject.toml").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            is_wanted = line.startswith(("[project", "[tool.poetry"))
        if is_wanted:
            lines.append(line)
    return lines


def required_python() -> str:
    """Return the versions of Python that pyproject.toml admits."""
    return next(line.split("=", 1)[1].strip(' "') for line in dependency_lines() if line.startswith("requires-python"))


@contextmanager
def setup_lock() -> Iterator[int]:
    """Let one setup run at a time. The commands inherit the lock, for they may outlive a killed setup."""
    with LOCK.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another setup to end.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    print(f"{title} ...", flush=True)
    began = time.monotonic()
    yield
    print(f"{title}: {time.monotonic() - began:.0f} s", flush=True)


def attempt(command: Sequence[str], lock: int, advice: str) -> None:
    """Run ``command``; when it fails, show the end of its output and give ``advice``."""
    try:
        run(command, lock)
    except CommandError as error:
        print(error, file=sys.stderr)
        raise SetupError(advice) from error


def run(command: Sequence[str], lock: int) -> None:
    """Run ``command`` in a process group of its own, which is stopped whole when this process is to end."""
    with subprocess.Popen(
        command,
        cwd=BACKEND,
        env=command_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=[lock],
    ) as process:
        try:
            output, _ = process.communicate()
        except Stopped:
            stop_group(process)
            raise
    if process.returncode != 0:
        raise CommandError("\n".join(output.splitlines()[-OUTPUT_LINES_SHOWN:]))


def stop_group(process: subprocess.Popen[str]) -> None:
    """Stop ``process`` and all that it started, and wait for their end."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + KILL_AFTER_SECONDS
        while time.monotonic() < deadline:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                return
            process.poll()
            time.sleep(0.05)


def command_environment() -> dict[str, str]:
    """Return the environment without what would lead Python, pip or Poetry to another place than this project's."""
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "POETRY_", "VIRTUAL_ENV", "CONDA_", "PIP_TARGET", "PIP_PREFIX"))
    }
    return mine | {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_USER": "0",
        "POETRY_CACHE_DIR": str(TOOLS / "cache"),
        "POETRY_CONFIG_DIR": str(TOOLS / "config"),
        "POETRY_NO_INTERACTION": "1",
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "POETRY_VIRTUALENVS_OPTIONS_NO_PIP": "false",
        "VIRTUALENV_OVERRIDE_APP_DATA": str(TOOLS / "virtualenv"),
    }


def _place(environment: Path) -> tuple[str, str]:
    return str(environment), os.path.realpath(environment / "bin" / "python")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _remove(environment: Path) -> None:
    (environment / STAMP).unlink(missing_ok=True)
    if environment.exists():
        shutil.rmtree(environment)


def _raise_stopped(number: int, _frame: FrameType | None) -> None:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


def _fail(message: str) -> int:
    print(f"Setup failed. {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    if sys.version_info < OLDEST_PYTHON:
        sys.exit("Setup failed. python3 is older than 3.9: install Python 3.12 or newer.")
    sys.exit(main())
