"""Many people, or one in a hurry, sign up with the same address at once."""

import json
from collections import Counter

from devtools.reliability.scenario import Outcome, Scale, Scenario, lost
from devtools.reliability.servers import serving
from devtools.reliability.writes import ANONYMOUS, Request, send_at_once

PERSON = {"email": "everybody@example.org", "password": "a-long-enough-passphrase"}  # nosec B105: of nobody


def run(scale: Scale) -> Outcome:
    """Sign up at once, and count the accounts."""
    count = scale.pick(50, 300)
    with serving() as server:
        attempts = send_at_once(server, [Request("POST", "/api/auth/signup/", ANONYMOUS, PERSON)] * count)
        with server.database() as database:
            query = "SELECT count(*) FROM ctj_api_userprofile WHERE email = %(email)s"
            [(accounts,)] = database.execute(query, PERSON).fetchall()
    statuses = Counter(attempt.status for attempt in attempts)
    refused = [json.loads(attempt.body)["error"] for attempt in attempts if attempt.status == "400"]
    problems = []
    if accounts != 1 or statuses != {"201": 1, "400": count - 1}:
        problems.append(f"{accounts} accounts were made, the answers were {dict(statuses)}")
    if any(set(error["fields"]) != {"email"} for error in refused):
        problems.append("a 400 that does not name the address")
    tries = f"{count} sign-ups at once: 1 x 201, {statuses['400']} x 400"
    return Outcome(tries, lost(problems), "-", tuple(problems))


SCENARIO = Scenario("one-email", "one e-mail address signs up many times at once", "exactly one account is made", run)
