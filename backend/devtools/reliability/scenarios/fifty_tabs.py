"""One volunteer saves the same profile in many tabs at once."""

import json
from collections import Counter

from devtools.reliability.scenario import Outcome, Scale, Scenario, lost
from devtools.reliability.servers import serving
from devtools.reliability.writes import Request, answers_of, halves_in, send_at_once

TABS = 50


def run(scale: Scale) -> Outcome:
    """Save what each tab says, wholly different from the others, and look which of them is stored."""
    rounds, problems, statuses = scale.pick(1, 10), list[str](), Counter[str]()
    with serving() as server:
        volunteer = server.content.volunteers[0]
        for number in range(rounds):
            tabs = [answers_of(server.content, number * TABS + tab) for tab in range(TABS)]
            saves = send_at_once(server, [Request("PUT", "/api/users/me/", volunteer, tab) for tab in tabs])
            statuses.update(save.status for save in saves)
            [read] = send_at_once(server, [Request("GET", "/api/users/me/", volunteer)])
            stored = json.loads(read.body)
            if {name: stored[name] for name in tabs[0]} not in tabs:
                problems.append(f"round {number + 1}: what is stored is no tab's: {stored}")
        with server.database() as database:
            problems += halves_in(database)
    if set(statuses) != {"200"}:
        problems.append(f"other answers than 200: {dict(statuses)}")
    return Outcome(f"{rounds} x {TABS} saves at once, all 200", lost(problems), "-", tuple(problems))


SCENARIO = Scenario(
    "fifty-tabs", "one profile is saved in 50 tabs at once", "one tab's answers are stored, wholly", run
)
