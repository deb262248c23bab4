"""Schemathesis: requests that nobody would think of, made from the schema, over every operation."""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.environment import BASE_DIR
from devtools.benchmarks.client import CSRF_TOKEN
from devtools.benchmarks.report import say
from devtools.benchmarks.servers import ADDRESS
from devtools.reliability.scenario import Outcome, ReliabilityError, Scale, Scenario, lost
from devtools.reliability.servers import Account, Server, serving

CONFIGURATION = BASE_DIR / "devtools" / "reliability" / "schemathesis.toml"
HOOKS = BASE_DIR / "devtools" / "reliability" / "schemathesis_hooks.py"
SEED = "20261123"
LISTINGS = 20
SERVER_ERROR = re.compile(r'"status":5\d\d')
# The limits are tried by other tests; here they would end the trial.
WITHOUT_LIMITS = dict.fromkeys(
    ("LOGIN_RATE", "LOGIN_ACCOUNT_RATE", "LOGIN_ADDRESS_RATE", "SIGNUP_RATE", "PASSWORD_RESET_RATE"), "1000000/1d"
)


@dataclass(frozen=True)
class Trial:
    """Who tries, and how many examples of each operation in each phase."""

    who: str
    account: Account | None
    examples: int


def run(scale: Scale) -> Outcome:
    """Try everything signed out, as a volunteer and as a project manager who has posted listings, all at once."""
    cases = 0
    problems: list[str] = []
    with serving(**WITHOUT_LIMITS) as server:
        known = _known_ids(server)
        examples = scale.pick(3, 100)
        trials = (
            Trial("signed out", None, examples),
            Trial("a volunteer", server.content.volunteers[0], examples),
            Trial("a project manager", server.content.managers[0], examples),
        )
        with ThreadPoolExecutor() as pool:
            reports = list(pool.map(lambda trial: _try(server, trial, known), trials))
        for trial, report in zip(trials, reports, strict=True):
            cases += report["test_cases"]["generated"]
            problems += problems_of(trial, report)
            say(f"  {trial.who}: {report['test_cases']['generated']:,} cases")
        if not server.is_healthy():
            problems.append("the server is not well afterwards")
        problems += server_errors(server.log)
    tries = f"{cases:,} requests, all checks, as anybody, volunteer and project manager"
    return Outcome(tries, lost(problems), "-", tuple(problems))


def _try(server: Server, trial: Trial, known: dict[str, list[str]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report, configuration = Path(folder, "report.json"), Path(folder, "schemathesis.toml")
        configuration.write_text(f'hooks = "{HOOKS}"\n{CONFIGURATION.read_text()}{_sign_in(trial.account)}')
        arguments = [
            f"--config-file={configuration}",
            "run",
            f"{server.url}/api/schema/",
            "--checks=all",
            f"--max-examples={trial.examples}",
            f"--seed={SEED}",
            "--continue-on-failure",
            "--generation-database=none",
            "--report=json",
            f"--report-json-path={report}",
        ]
        # Signing in, up and out would end the session that all else needs; signed out they are tried.
        arguments += ["--exclude-path-regex=^/api/auth/"] if trial.account else []
        settings = {"FUZZ_KNOWN_IDS": json.dumps(known), "FUZZ_CSRF_COOKIE": CSRF_TOKEN}
        command = [str(Path(sys.executable).with_name("schemathesis")), *arguments]
        done = subprocess.run(
            command, check=False, cwd=folder, env=os.environ | settings, capture_output=True, text=True
        )
        if not report.exists():
            raise ReliabilityError(f"Schemathesis ended without a report:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(report.read_text())
        if found["failures"] or found["errors"]:
            say(done.stdout[-6000:])
        return found


def _sign_in(account: Account | None) -> str:
    keys = {"csrfToken": CSRF_TOKEN} | ({"sessionCookie": account.session} if account else {})
    return "".join(f'\n[auth.openapi.{name}]\napi_key = "{key}"\n' for name, key in keys.items())


def problems_of(trial: Trial, report: dict[str, Any]) -> Iterator[str]:
    """Find in Schemathesis' report what it holds against the server, and what it didn't try."""
    for failure in report["failures"]:
        yield f"as {trial.who}: {failure['title']} ({failure['count']} times)"
    if report["errors"] or report["stop_reason"] != "completed":
        yield f"as {trial.who}: not tried to the end: {report['stop_reason']}, {len(report['errors'])} errors"
    if not report["operations"]:
        yield f"as {trial.who}: nothing was tried: {', '.join(error['title'] for error in report['errors'])}"
    elif report["operations"]["tested"] < report["operations"]["selected"]:
        yield f"as {trial.who}: not all operations were tried"


def server_errors(log: Path) -> Iterator[str]:
    """Find failures in the server's log that the client may not have been told of."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if SERVER_ERROR.search(line)]
    if lines:
        yield f"{len(lines)} answers of 5xx in the log, the first: {lines[0]}"


def _known_ids(server: Server) -> dict[str, list[str]]:
    """Post some listings, and return the ids of rows that exist by the names of fields and by paths."""
    content, manager = server.content, server.content.managers[0]
    skills, listings = content.skills[:LISTINGS], []
    connection = http.client.HTTPConnection(ADDRESS, server.port)
    for number in range(LISTINGS):
        body = {
            "project": content.projects[number % len(content.projects)],
            "role": content.roles[number % len(content.roles)],
            "body": f"Listing {number}",
            "status": "open",
            "skills_required_matrix": {skills[number]: 1 + number % 5},
        }
        headers = {**manager.headers, "Content-Type": "application/json"}
        connection.request("POST", "/api/opportunities/", json.dumps(body), headers)
        listings.append(json.loads(connection.getresponse().read())["id"])
    connection.close()
    with server.database() as database:
        communities = [
            str(uuid.UUID(str(row[0]))) for row in database.execute("SELECT id FROM ctj_api_communityofpractice")
        ]
        owner = database.execute("SELECT id FROM ctj_api_userprofile WHERE email = %s", [manager.email]).fetchone()
    rows = {"project": content.projects, "role": content.roles, "skill": skills, "community_of_practice": communities}
    paths = {"projects": content.projects, "roles": content.roles, "skills": skills, "opportunities": listings}
    return {
        **rows,
        **dict.fromkeys(("skills_required_matrix", "skills_learned_matrix"), skills),
        **{f"/api/{name}/": ids[:LISTINGS] for name, ids in paths.items()},
        "/api/communities-of-practice/": communities,
        "/api/users/": [str(owner[0])] if owner else [],
    }


SCENARIO = Scenario(
    "fuzz",
    "requests at random, made from the schema (Schemathesis)",
    "no 5xx, no answer that the schema does not describe, nobody gets what isn't theirs",
    run,
)
