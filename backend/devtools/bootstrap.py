"""Makes ``.tools`` (Poetry) and ``.venv`` (the packages of ``poetry.lock``), with nothing but Python 3.9 or newer.

Each is stamped once it is complete, so that one that was left half made is made again.

    python3 -I devtools/bootstrap.py
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

BACKEND = Path(__file__).resolve().parent.parent
TOOLS = BACKEND / ".tools"
VENV = BACKEND / ".venv"
PYTHON = BACKEND / ".python"
STAMP = "complete-for"
REQUIREMENTS = BACKEND.parent / ".ci" / "poetry-requirements.txt"  # uv instead, for a Python that is not admitted
OLDEST_PYTHON = (3, 9)

# They would lead Python, pip or Poetry to another place than this project's.
MISLEADING = ("PYTHON", "POETRY_", "VIRTUAL_ENV", "CONDA_", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")
NETWORK_ADVICE = "The packages could not be installed: check the network, and the settings of pip, and run this again."


def main() -> None:
    """Make ``.tools`` and ``.venv`` unless they are complete; a signal ends that at once, with all that was started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    poetry, packages = (file.read_text(encoding="utf-8") for file in (REQUIREMENTS, BACKEND / "poetry.lock"))
    if is_complete(TOOLS, poetry) and is_complete(VENV, packages):
        return
    if not os.access(BACKEND, os.W_OK):
        fail(f"{BACKEND} is not writable by you: run this as its owner, or work in a copy of your own.")
    print("Setting up .tools and .venv, once any other setup has ended ...", flush=True)
    with (BACKEND / ".setup.lock").open("ab") as lock:
        os.set_inheritable(lock.fileno(), True)  # a command that outlives its killed setup keeps the next one waiting
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_complete(TOOLS, poetry):
            make_tools(admitted_pythons(packages))
            write_stamp(TOOLS, poetry)
        if not is_complete(VENV, packages):
            make_venv(packages)
            write_stamp(VENV, packages)


def make_tools(admitted: str) -> None:
    """Make ``.tools`` anew: a virtual environment with an admitted Python and Poetry."""
    python = find_python(admitted) or fetch_python(admitted)
    print("Installing Poetry into .tools ...", flush=True)
    make_environment(TOOLS, python)
    install(TOOLS, REQUIREMENTS)


def make_venv(packages: str) -> None:
    """Make ``.venv`` anew, with an admitted Python and the packages that poetry.lock pins."""
    admitted = admitted_pythons(packages)
    requirements = TOOLS / "requirements.txt"
    print("Installing the packages of poetry.lock into .venv ...", flush=True)
    make_environment(VENV, find_python(admitted) or fetch_python(admitted))
    run(
        [str(TOOLS / "bin" / "poetry"), "export", "--with", "dev", "--output", str(requirements)],
        "poetry.lock could not be read: where it does not match pyproject.toml, run 'poetry lock'.",
    )
    install(VENV, requirements)


def make_environment(environment: Path, python: str) -> None:
    """Make an empty virtual environment; where there is a link to another checkout's, only the link goes."""
    if environment.is_symlink():
        environment.unlink()
    elif environment.exists():
        (environment / STAMP).unlink(missing_ok=True)
        shutil.rmtree(environment)
    run([python, "-I", "-m", "venv", str(environment)], f"{environment} could not be made; the lines above say why.")


def install(environment: Path, requirements: Path, advice: str = NETWORK_ADVICE, is_quiet: bool = False) -> None:
    """Install into ``environment`` what a file pins by hash."""
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
    run([*pip, "-r", str(requirements)], advice, is_quiet)


def admitted_pythons(packages: str) -> str:
    """Return the versions of Python that poetry.lock admits as a whole, such as ``>=3.12,<3.15``."""
    metadata = packages.partition("\n[metadata]\n")[2]
    return next(line.split('"')[1] for line in metadata.splitlines() if line.startswith("python-versions = "))


def find_python(admitted: str) -> str | None:
    """Return an admitted Python that can make an environment: this one, else the newest on the PATH or of pyenv."""
    oldest, too_new = map(int, re.findall(r"3\.(\d+)", admitted))
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    folders = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    folders += [*pyenv.glob("versions/*/bin"), *PYTHON.glob("python/*/bin")]
    pythons = [str(folder / f"python3.{minor}") for minor in reversed(range(oldest, too_new)) for folder in folders]
    if oldest <= sys.version_info.minor < too_new:
        pythons.insert(0, sys.executable)
    return next(filter(can_make_environments, pythons), None)


def can_make_environments(python: str) -> bool:
    """Whether ``python`` is there, more than pyenv's placeholder, and has the modules that Debian leaves out."""
    if not os.access(python, os.X_OK):
        return False
    probe = [python, "-I", "-c", "import ensurepip, venv"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def fetch_python(admitted: str) -> str:
    """Have uv fetch an admitted Python into ``.python`` and return it."""
    options = ["--no-config", "--no-bin", "--cache-dir", str(PYTHON / "cache"), "--install-dir", str(PYTHON / "python")]
    advice = f"There is no Python {admitted} here, and none could be fetched: install one, and put it on the PATH."
    print(f"Fetching a Python {admitted} into .python ...", flush=True)
    make_environment(PYTHON, sys.executable)
    install(PYTHON, REQUIREMENTS, advice, is_quiet=True)
    run([str(PYTHON / "bin" / "uv"), "python", "install", *options, admitted], advice, is_quiet=True)
    return find_python(admitted) or fail(advice)


def is_complete(environment: Path, *contents: str) -> bool:
    """Whether ``environment`` was finished with these contents, in this place, and its Python is still there."""
    try:
        stamp = (environment / STAMP).read_text()
    except FileNotFoundError:
        return False
    return stamp == _digest(environment, *contents) and os.access(environment / "bin" / "python", os.X_OK)


def write_stamp(environment: Path, *contents: str) -> None:
    """Declare ``environment`` finished, once its files are safe from a power cut."""
    os.sync()
    (environment / STAMP).write_text(_digest(environment, *contents))


def run(command: list[str], advice: str, is_quiet: bool = False) -> None:
    """Run ``command``, with all its children, until this process ends; where it fails, print why and ``advice``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(MISLEADING)}
    environment |= {"POETRY_CACHE_DIR": str(TOOLS / "cache"), "POETRY_CONFIG_DIR": str(TOOLS / "config")}
    with subprocess.Popen(
        command,
        cwd=BACKEND,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        errors="replace",
        start_new_session=True,
        close_fds=False,
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        if not is_quiet:
            print(output, end="", file=sys.stderr)
        fail(advice)


def fail(advice: str) -> NoReturn:
    """End with a sentence that says what to do."""
    sys.exit(f"Setup failed. {advice}")


def _digest(environment: Path, *contents: str) -> str:
    place = str(environment), os.path.realpath(environment / "bin" / "python")
    return hashlib.sha256("\0".join([*contents, *place]).encode()).hexdigest()


if __name__ == "__main__":
    if sys.version_info < OLDEST_PYTHON:
        fail("python3 is older than 3.9: install Python 3.12 or newer.")
    main()
