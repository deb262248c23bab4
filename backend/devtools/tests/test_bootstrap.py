"""The setup of ``.tools`` and ``.venv``, as far as it goes without a network."""

import contextlib
import fcntl
import io
import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from ctj_api.tests.common import wait_until
from devtools import bootstrap

ADMITTED = ">=3.97,<3.100"  # none of this machine's
# A setup whose command has a child, and tells the number of their process group.
SETUP = """
import sys
from devtools import bootstrap

bootstrap.BACKEND = bootstrap.TOOLS = bootstrap.Path(sys.argv[1])
bootstrap.make_tools = lambda _: bootstrap.run(["/bin/sh", "-c", "echo $$ >group; /bin/sleep 60 & wait"], "")
bootstrap.main()
"""
LOCK = f'[[package]]\npython-versions = ">=3.9"\n\n[metadata]\npython-versions = "{ADMITTED}"\n'


class SetupTests(unittest.TestCase):
    """When an environment counts as complete, and what is told when it can't be made."""

    def setUp(self) -> None:
        """Give each test a project of its own, with an empty environment."""
        self.backend = Path(self.enterContext(TemporaryDirectory()))
        self.venv, self.tools, self.python = (self.backend / name for name in (".venv", ".tools", ".python"))
        self.bin = self.backend / "bin"
        self.bin.mkdir()
        (self.venv / "bin").mkdir(parents=True)
        (self.venv / "bin" / "python").symlink_to(sys.executable)
        (self.backend / "poetry.lock").write_text(LOCK)
        folders = {"BACKEND": self.backend, "VENV": self.venv, "TOOLS": self.tools, "PYTHON": self.python}
        for name, value in folders.items():
            self.enterContext(patch.object(bootstrap, name, value))
        self.enterContext(patch.dict(os.environ, {"PATH": str(self.bin), "PYENV_ROOT": str(self.backend / "pyenv")}))

    def make_program(self, path: Path, script: str) -> None:
        """Write a program that stands in for a real one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def test_environment_is_complete_once_stamped_for_its_contents_in_its_place(self) -> None:
        """One without a stamp was left half made; of one that a link leads to, only the link goes."""
        self.assertFalse(bootstrap.is_complete(self.venv, LOCK))
        bootstrap.write_stamp(self.venv, LOCK)
        self.assertTrue(bootstrap.is_complete(self.venv, LOCK))
        self.assertFalse(bootstrap.is_complete(self.venv, "other packages"))
        self.tools.symlink_to(self.venv)
        with patch.object(bootstrap, "run"):
            bootstrap.make_environment(self.tools, sys.executable)
        self.assertTrue(bootstrap.is_complete(self.venv, LOCK))
        self.assertFalse(self.tools.is_symlink())
        moved = self.venv.rename(self.backend / "moved")
        self.assertFalse(bootstrap.is_complete(moved, LOCK))
        moved.rename(self.venv)
        (self.venv / "bin" / "python").unlink()
        (self.venv / "bin" / "python").symlink_to("/nonexistent/python")
        bootstrap.write_stamp(self.venv, LOCK)
        self.assertFalse(bootstrap.is_complete(self.venv, LOCK))

    def test_this_python_or_the_newest_that_works_is_found(self) -> None:
        """On the PATH, of pyenv or fetched; pyenv's placeholders fail, and Debian's lack modules."""
        self.assertEqual(bootstrap.find_python(">=3.12,<3.100"), sys.executable)
        self.assertEqual(bootstrap.admitted_pythons(LOCK), ADMITTED)
        self.assertIsNone(bootstrap.find_python(ADMITTED))
        self.make_program(self.bin / "python3.99", "exit 127")
        self.make_program(self.bin / "python3.100", "exit 0")
        self.make_program(self.bin / "python3.97", "exit 0")
        self.assertEqual(bootstrap.find_python(ADMITTED), str(self.bin / "python3.97"))
        for python in (self.backend / "pyenv/versions/3.98.0/bin/python3.98", self.python / "python/x/bin/python3.99"):
            self.make_program(python, "exit 0")
            self.assertEqual(bootstrap.find_python(ADMITTED), str(python))

    def test_missing_python_is_fetched_by_uv_before_poetry_is_installed(self) -> None:
        """Where it can't be reached, one line says what to install, and Poetry is not tried."""
        fetched = self.python / "python/x/bin/python3.98"
        for folder in (self.python, self.tools):
            self.make_program(folder / "bin/python", f'echo "{folder.name} $*" >>{self.backend}/pip.log')
        self.make_program(self.python / "bin/uv", "echo no network; exit 1")
        pip = f"-m pip install --quiet --require-hashes -r {bootstrap.REQUIREMENTS}\n"
        errors = io.StringIO()
        with patch.object(bootstrap, "make_environment"), contextlib.redirect_stderr(errors):
            with self.assertRaisesRegex(SystemExit, f"^Setup failed. There is no Python {ADMITTED} here.*install one"):
                bootstrap.make_tools(ADMITTED)
            self.assertEqual(errors.getvalue(), "")
            self.assertEqual((self.backend / "pip.log").read_text(), f".python {pip}")
            program = f"/bin/mkdir -p {fetched.parent}; echo '#!/bin/sh' >{fetched}; /bin/chmod +x {fetched}"
            self.make_program(self.python / "bin/uv", program)
            bootstrap.make_tools(ADMITTED)
        self.assertEqual((self.backend / "pip.log").read_text(), f".python {pip}.python {pip}.tools {pip}")
        self.assertEqual(bootstrap.find_python(ADMITTED), str(fetched))

    def test_failed_command_shows_output_and_advice(self) -> None:
        """The advice is the last line; an activated environment, and settings of Poetry's, don't lead elsewhere."""
        theirs = {"VIRTUAL_ENV": "/theirs", "PYTHONPATH": "/theirs", "POETRY_VIRTUALENVS_CREATE": "false"}
        script = 'echo "$VIRTUAL_ENV$PYTHONPATH$POETRY_VIRTUALENVS_CREATE: no network"; exit 1'
        messages = io.StringIO()
        with patch.dict(os.environ, theirs), contextlib.redirect_stderr(messages):
            self.assertRaisesRegex(SystemExit, "do this", bootstrap.run, ["/bin/sh", "-c", script], "do this")
        self.assertEqual(messages.getvalue(), ": no network\n")

    def test_told_to_end_it_ends_all_that_it_started(self) -> None:
        """Pip's own children end with it; those of a killed setup go on, and keep the next one waiting."""
        started = self.backend / "group"
        for number, is_locked in ((signal.SIGTERM, False), (signal.SIGKILL, True)):
            started.unlink(missing_ok=True)
            with subprocess.Popen([sys.executable, "-c", SETUP, self.backend]) as process:
                wait_until(lambda: started.exists() and started.read_text().endswith("\n"))
                process.send_signal(number)
            outcome = self.assertRaises(BlockingIOError) if is_locked else contextlib.nullcontext()
            with (self.backend / ".setup.lock").open("ab") as lock, outcome:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(started.read_text()), signal.SIGKILL)
