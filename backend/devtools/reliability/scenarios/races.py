"""Many requests want the same thing at once."""

import asyncio
import json
from collections import Counter

from devtools.benchmarks.client import Request, send_all, signed_in
from devtools.reliability.scenario import Outcome, Scale, lost, scenario
from devtools.reliability.servers import serving
from devtools.reliability.writes import answers_of, halves

TABS = 50
PROFILE = "/api/users/me/"
PERSON = {"email": "everybody@example.org", "password": "a-long-enough-passphrase"}  # nosec B105


@scenario("one-email", "one e-mail address signs up many times at once")
def sign_up_at_once(scale: Scale) -> Outcome:
    """Exactly one account is made."""
    count = scale.pick(50, 300)
    with serving() as server:
        sign_ups = [Request("/api/auth/signup/", "POST", signed_in(""), PERSON)] * count
        replies = asyncio.run(send_all(server.port, sign_ups, count))
        with server.database() as database:
            query = "SELECT FROM ctj_api_userprofile WHERE email = %(email)s"
            accounts = len(database.execute(query, PERSON).fetchall())
    statuses, problems = Counter(reply.status for reply in replies), []
    if accounts != 1 or statuses != {"201": 1, "400": count - 1}:
        problems.append(f"{accounts} accounts were made, the answers were {dict(statuses)}")
    if any(set(json.loads(reply.body)["error"]["fields"]) != {"email"} for reply in replies if reply.status == "400"):
        problems.append("a 400 that does not name the address")
    return Outcome(f"{count} sign-ups at once: 1 x 201, {statuses['400']} x 400", lost(problems), "-", problems)


@scenario("fifty-tabs", "one profile is saved in 50 tabs at once")
def save_in_tabs(scale: Scale) -> Outcome:
    """One tab's answers are stored, wholly."""
    rounds, problems = scale.pick(1, 10), list[str]()
    with serving() as server:
        headers = signed_in(next(iter(server.content.volunteers.values())))
        for number in range(rounds):
            tabs = [answers_of(server.content, number * TABS + tab) for tab in range(TABS)]
            requests = [Request(PROFILE, "PUT", headers, tab) for tab in tabs]
            saves = asyncio.run(send_all(server.port, requests, TABS))
            problems += [f"a save was answered with {save.status}" for save in saves if save.status != "200"]
            [read] = asyncio.run(send_all(server.port, [Request(PROFILE, headers=headers)], 1))
            stored = json.loads(read.body)
            if {name: stored[name] for name in tabs[0]} not in tabs:
                problems.append(f"round {number + 1}: what is stored is no tab's: {stored}")
        problems += halves(server)
    return Outcome(f"{rounds} x {TABS} saves at once, all 200", lost(problems), "-", problems)
