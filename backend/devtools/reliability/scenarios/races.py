"""Many requests want the same thing at once."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence

from devtools.benchmarks.client import Reply, Request, open_session, send, signed_in
from devtools.reliability.scenario import Outcome, Scale, lost, scenario
from devtools.reliability.servers import Server, serving
from devtools.reliability.writes import answers_of, halves

TABS = 50
PROFILE = "/api/users/me/"
PERSON = {"email": "everybody@example.org", "password": "a-long-enough-passphrase"}  # nosec B105


@scenario("one-email", "one e-mail address signs up many times at once")
def sign_up_at_once(scale: Scale) -> Outcome:
    """Exactly one account is made."""
    count = scale.pick(50, 300)
    with serving() as server:
        replies = send_at_once(server, [Request("/api/auth/signup/", "POST", signed_in(""), PERSON)] * count)
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
            saves = send_at_once(server, [Request(PROFILE, "PUT", headers, tab) for tab in tabs])
            problems += [f"a save was answered with {save.status}" for save in saves if save.status != "200"]
            [read] = send_at_once(server, [Request(PROFILE, headers=headers)])
            stored = json.loads(read.body)
            if {name: stored[name] for name in tabs[0]} not in tabs:
                problems.append(f"round {number + 1}: what is stored is no tab's: {stored}")
        problems += halves(server)
    return Outcome(f"{rounds} x {TABS} saves at once, all 200", lost(problems), "-", problems)


def send_at_once(server: Server, requests: Sequence[Request]) -> list[Reply]:
    """Send all requests at once, and return the replies in their order."""

    async def send_all() -> list[Reply]:
        async with await open_session(server.port) as session:
            return await asyncio.gather(*(send(session, request) for request in requests))

    return asyncio.run(send_all())
