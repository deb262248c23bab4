"""The setup of ``.tools`` and ``.venv``, as far as it goes without a network."""

import contextlib
import io
import os
import subprocess
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from unittest.mock import patch

from devtools import bootstrap


class SetupTests(unittest.TestCase):
    """When an environment counts as complete, and what is told when it can't be made."""

    def setUp(self) -> None:
        """Give each test a project of its own, with an empty environment."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.backend = Path(folder.name)
        self.venv = self.backend / ".venv"
        (self.venv / "bin").mkdir(parents=True)
        (self.venv / "bin" / "python").symlink_to(sys.executable)
        (self.backend / "poetry.lock").write_text("a = 1\n")
        (self.backend / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.12"\n[tool.ruff]\nline = 1\n')
        for name, value in (("BACKEND", self.backend), ("VENV", self.venv), ("LOCK", self.backend / "lock")):
            patcher = patch.object(bootstrap, name, value)
            patcher.start()
            self.addCleanup(patcher.stop)

    def is_complete(self) -> bool:
        """Whether the environment counts as complete."""
        return bootstrap.is_complete(self.venv, bootstrap.venv_stamp())

    def test_environment_is_complete_once_stamped(self) -> None:
        """An environment without a stamp was left half made."""
        self.assertFalse(self.is_complete())
        bootstrap.write_stamp(self.venv, bootstrap.venv_stamp())
        self.assertTrue(self.is_complete())

    def test_changed_lock_makes_environment_incomplete(self) -> None:
        """Other packages need another environment."""
        bootstrap.write_stamp(self.venv, bootstrap.venv_stamp())
        (self.backend / "poetry.lock").write_text("a = 2\n")
        self.assertFalse(self.is_complete())

    def test_changed_tool_settings_keep_environment_complete(self) -> None:
        """The settings of the linters, in the same file, don't matter."""
        bootstrap.write_stamp(self.venv, bootstrap.venv_stamp())
        manifest = self.backend / "pyproject.toml"
        manifest.write_text(manifest.read_text().replace("line = 1", "line = 2"))
        self.assertTrue(self.is_complete())

    def test_changed_python_requirement_makes_environment_incomplete(self) -> None:
        """Another Python needs another environment."""
        bootstrap.write_stamp(self.venv, bootstrap.venv_stamp())
        manifest = self.backend / "pyproject.toml"
        manifest.write_text(manifest.read_text().replace("3.12", "3.13"))
        self.assertFalse(self.is_complete())

    def test_missing_python_makes_environment_incomplete(self) -> None:
        """The Python that it was made with may be uninstalled."""
        (self.venv / "bin" / "python").unlink()
        (self.venv / "bin" / "python").symlink_to("/nonexistent/python")
        bootstrap.write_stamp(self.venv, bootstrap.venv_stamp())
        self.assertFalse(self.is_complete())

    def test_moved_project_makes_environment_incomplete(self) -> None:
        """The scripts of a virtual environment name its folder."""
        bootstrap.write_stamp(self.venv, bootstrap.venv_stamp())
        moved = self.backend / "moved"
        self.venv.rename(moved)
        with patch.object(bootstrap, "VENV", moved):
            self.assertFalse(bootstrap.is_complete(moved, bootstrap.venv_stamp()))

    def test_failed_command_shows_output_and_advice(self) -> None:
        """The end of what the command printed is shown; the advice is the last line."""
        messages = io.StringIO()
        with (
            TemporaryFile() as lock,
            contextlib.redirect_stderr(messages),
            self.assertRaisesRegex(bootstrap.SetupError, "do this"),
        ):
            bootstrap.attempt(["sh", "-c", "echo no network; exit 1"], lock.fileno(), "do this")
        self.assertEqual(messages.getvalue(), "no network\n")

    def test_missing_venv_module_is_told(self) -> None:
        """Debian's python3 comes without it."""
        with (
            TemporaryFile() as lock,
            patch("importlib.util.find_spec", return_value=None),
            self.assertRaisesRegex(bootstrap.SetupError, "apt install python3-venv"),
        ):
            bootstrap.make_tools(lock.fileno())

    def test_unsuitable_python_names_the_versions(self) -> None:
        """The versions that would do are told from pyproject.toml."""
        self.assertEqual(bootstrap.required_python(), ">=3.12")

    def test_lock_outlives_killed_setup(self) -> None:
        """A command that goes on after its setup was killed still keeps the next one waiting."""
        with bootstrap.setup_lock() as lock:
            child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[lock])
        probe = [
            sys.executable,
            "-c",
            "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'ab'), 6)",
            str(bootstrap.LOCK),
        ]
        self.assertNotEqual(subprocess.run(probe, capture_output=True, check=False).returncode, 0)
        child.communicate()
        self.assertEqual(subprocess.run(probe, capture_output=True, check=False).returncode, 0)

    def test_stop_reaches_grandchildren(self) -> None:
        """Pip's own children end with it."""
        process = subprocess.Popen(
            ["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        with process:
            bootstrap.stop_group(process)
        status = Path(f"/proc/{grandchild}/stat")
        if status.exists():
            self.assertIn(") Z ", status.read_text())
        else:
            self.assertRaises(ProcessLookupError, os.kill, grandchild, 0)

    def test_developer_environment_does_not_leak_in(self) -> None:
        """An activated environment, and settings of Poetry's, would lead elsewhere."""
        theirs = {"VIRTUAL_ENV": "/theirs", "PYTHONPATH": "/theirs", "POETRY_VIRTUALENVS_CREATE": "false"}
        with patch.dict(os.environ, theirs):
            self.assertEqual(bootstrap.command_environment().keys() & theirs.keys(), set())
