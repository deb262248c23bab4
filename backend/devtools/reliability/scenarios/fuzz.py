"""Schemathesis: requests that nobody would think of, made from the schema, over every operation."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from devtools.benchmarks.client import CSRF_TOKEN, send_all
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, lost, scenario
from devtools.reliability.servers import FOLDER, Server, serving
from devtools.reliability.writes import write_of
from serving.tests.ports import ADDRESS

OPTIONS = ("--checks=all", "--seed=20261123", "--continue-on-failure", "--generation-database=none")
SERVER_ERROR = re.compile(r'"status":5\d\d')
LISTINGS = range(2, 102, 10)  # the numbers of requests that post one
MANAGERS = "SELECT id::text FROM ctj_api_userprofile WHERE is_project_manager"


@scenario("fuzz", "requests at random, made from the schema (Schemathesis)")
def send_random_requests(scale: Scale) -> Outcome:
    """No 5xx, no answer that the schema does not describe, nobody gets what isn't theirs."""
    options = scale.pick(("--phases=fuzzing", "--max-examples=5"), ("--max-examples=100",))
    with serving() as server, ThreadPoolExecutor() as pool:
        environment = {"FUZZ_KNOWN_IDS": json.dumps(_known_ids(server)), "FUZZ_CSRF_COOKIE": CSRF_TOKEN}
        people = server.content.volunteers, server.content.managers
        sessions = ["", *(next(iter(kind.values())) for kind in people)]
        reports = list(pool.map(partial(_try, server.port, os.environ | environment, options), sessions))
        problems = [problem for report in reports for problem in problems_of(report)]
        problems += [] if server.answers() else ["the server is not well afterwards"]
        problems += server_errors(server.log.read_text(errors="replace"))
    cases = sum(report["test_cases"]["generated"] for report in reports)
    tries = f"{cases:,} requests, all checks, as anybody, volunteer and project manager"
    return Outcome(tries, lost(problems), "-", problems)


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


def _try(port: int, environment: dict[str, str], options: tuple[str, ...], session: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report, configuration = Path(folder, "report.json"), Path(folder, "schemathesis.toml")
        hooks, rules = FOLDER / "schemathesis_hooks.py", (FOLDER / "schemathesis.toml").read_text()
        keys = {"csrfToken": CSRF_TOKEN} | ({"sessionCookie": session} if session else {})
        sign_in = "".join(f'\n[auth.openapi.{name}]\napi_key = "{key}"\n' for name, key in keys.items())
        configuration.write_text(f'hooks = "{hooks}"\n{rules}{sign_in}')
        command = [str(Path(sys.executable).with_name("schemathesis")), f"--config-file={configuration}", "run"]
        command += [*OPTIONS, *options, f"--report-json-path={report}", f"http://{ADDRESS}:{port}/api/schema/"]
        # Signing in, up and out would end the session that all else needs; signed out they are tried.
        command += ["--exclude-path-regex=^/api/auth/"] if session else []
        done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
        if not report.exists():
            raise ReliabilityError(f"Schemathesis ended without a report:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(report.read_text())
        if found["failures"] or found["errors"]:
            sys.stderr.write(done.stdout[-6000:])
        return found


def _known_ids(server: Server) -> dict[str, list[str]]:
    """Post some listings, and return the ids of rows that exist by the names of fields and by paths."""
    content, skills = server.content, server.content.skills[:20]
    listings = [write_of(content, "", number).request for number in LISTINGS]
    posted = asyncio.run(send_all(server.port, listings, len(listings)))
    with server.database() as database:
        managers = [pk for (pk,) in database.execute(MANAGERS)]
    return {
        **dict.fromkeys(("project", "/api/projects/"), content.projects),
        **dict.fromkeys(("role", "/api/roles/"), content.roles),
        **dict.fromkeys(("community_of_practice", "/api/communities-of-practice/"), content.communities),
        **dict.fromkeys(("skill", "skills_required_matrix", "skills_learned_matrix", "/api/skills/"), skills),
        "/api/opportunities/": [json.loads(reply.body)["id"] for reply in posted],
        "/api/users/": managers,
    }
