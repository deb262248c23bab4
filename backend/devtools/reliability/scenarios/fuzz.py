"""Schemathesis: requests that nobody would think of, made from the schema, over every operation."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from backend.environment import BASE_DIR
from devtools.benchmarks.client import CSRF_TOKEN
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, lost
from devtools.reliability.servers import Server, serving
from devtools.reliability.writes import write_of

from .races import send_at_once

FOLDER = BASE_DIR / "devtools" / "reliability"
SEED = "20261123"
SERVER_ERROR = re.compile(r'"status":5\d\d')
LISTINGS = range(2, 102, 10)  # the numbers of requests that post one


def run(scale: Scale) -> Outcome:
    """Try everything signed out, as a volunteer and as a project manager who has posted listings, all at once."""
    with serving() as server:
        known = json.dumps(_known_ids(server))
        people = server.content.volunteers, server.content.managers
        sessions = ["", *(next(iter(kind.values())) for kind in people)]
        options = scale.pick(("--phases=fuzzing", "--max-examples=5"), ("--max-examples=100",))
        with ThreadPoolExecutor() as pool:
            reports = list(pool.map(lambda session: _try(server, session, known, options), sessions))
        problems = [problem for report in reports for problem in problems_of(report)]
        problems += [] if server.answers() else ["the server is not well afterwards"]
        problems += server_errors(server.log.read_text(errors="replace"))
    cases = sum(report["test_cases"]["generated"] for report in reports)
    tries = f"{cases:,} requests, all checks, as anybody, volunteer and project manager"
    return Outcome(tries, lost(problems), "-", tuple(problems))


def problems_of(report: dict[str, Any]) -> Iterator[str]:
    """Find in Schemathesis' report what it holds against the server, and what it didn't try."""
    for failure in report["failures"]:
        yield f"{failure['title']} ({failure['count']} times)"
    if report["errors"] or report["stop_reason"] != "completed":
        yield f"not tried to the end: {report['stop_reason']}, errors: {report['errors']}"
    if not report["operations"] or report["operations"]["tested"] < report["operations"]["selected"]:
        yield "not all operations were tried"


def server_errors(log: str) -> Iterator[str]:
    """Find failures in the server's log that the client may not have been told of."""
    lines = [line for line in log.splitlines() if SERVER_ERROR.search(line)]
    if lines:
        yield f"{len(lines)} answers of 5xx in the log, the first: {lines[0]}"


def _try(server: Server, session: str, known: str, options: tuple[str, ...]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report, configuration = Path(folder, "report.json"), Path(folder, "schemathesis.toml")
        rules = (FOLDER / "schemathesis.toml").read_text()
        configuration.write_text(f'hooks = "{FOLDER / "schemathesis_hooks.py"}"\n{rules}{_sign_in(session)}')
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={configuration}",
            "run",
            f"{server.url}/api/schema/",
            "--checks=all",
            *options,
            f"--seed={SEED}",
            "--continue-on-failure",
            "--generation-database=none",
            f"--report-json-path={report}",
        ]
        # Signing in, up and out would end the session that all else needs; signed out they are tried.
        command += ["--exclude-path-regex=^/api/auth/"] if session else []
        environment = os.environ | {"FUZZ_KNOWN_IDS": known, "FUZZ_CSRF_COOKIE": CSRF_TOKEN}
        done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
        if not report.exists():
            raise ReliabilityError(f"Schemathesis ended without a report:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(report.read_text())
        if found["failures"] or found["errors"]:
            sys.stderr.write(done.stdout[-6000:])
        return found


def _sign_in(session: str) -> str:
    keys = {"csrfToken": CSRF_TOKEN} | ({"sessionCookie": session} if session else {})
    return "".join(f'\n[auth.openapi.{name}]\napi_key = "{key}"\n' for name, key in keys.items())


def _known_ids(server: Server) -> dict[str, list[str]]:
    """Post some listings, and return the ids of rows that exist by the names of fields and by paths."""
    content, skills = server.content, server.content.skills[:20]
    posted = send_at_once(server, [write_of(content, "", number).request for number in LISTINGS])
    with server.database() as database:
        users = database.execute("SELECT id::text FROM ctj_api_userprofile WHERE email LIKE 'manager%'").fetchall()
    return {
        "project": content.projects,
        "role": content.roles,
        "community_of_practice": content.communities,
        **dict.fromkeys(("skill", "skills_required_matrix", "skills_learned_matrix", "/api/skills/"), skills),
        "/api/projects/": content.projects[:20],
        "/api/roles/": content.roles[:20],
        "/api/communities-of-practice/": content.communities,
        "/api/opportunities/": [json.loads(reply.body)["id"] for reply in posted],
        "/api/users/": [pk for (pk,) in users],
    }
