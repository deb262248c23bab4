"""What every benchmark is given: the plan, the databases, and a way to ask Django about one of them."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from backend.environment import BASE_DIR

from .data import Databases, environment
from .measure import BenchmarkError
from .plan import Plan


@dataclass(frozen=True)
class Bench:
    """A run."""

    plan: Plan
    databases: Databases

    def ask_django(self, database: str, task: str, **arguments: Any) -> Any:
        """Return what a task of ``inside.py`` tells, carried out in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "devtools.benchmarks.inside", task],
            check=False,
            cwd=BASE_DIR,
            env=environment(database),
            input=json.dumps(arguments),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise BenchmarkError(f"{task} failed:\n{done.stderr.strip()}")
        return json.loads(done.stdout)

    def sign_in(self, database: str, emails: list[str]) -> dict[str, str]:
        """Return e-mail address → the key of a new session."""
        sessions: dict[str, str] = self.ask_django(database, "sign_in", emails=emails)
        return sessions
