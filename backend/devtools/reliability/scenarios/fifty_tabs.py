"""One volunteer saves the same profile in many tabs at once."""

from collections import Counter
from typing import Any

from devtools.reliability.many import request, send_all
from devtools.reliability.scenario import Outcome, Scale, Scenario, lost
from devtools.reliability.servers import Content, serving
from devtools.reliability.writes import halves

TABS = 50


def run(scale: Scale) -> Outcome:
    """Save what each tab says, wholly different from the others, and look which of them is stored."""
    rounds, problems, statuses = scale.pick(1, 10), [], Counter[int]()
    with serving() as server:
        url = f"{server.url}/api/users/me/"
        user = server.content.volunteers[0]
        for number in range(rounds):
            tabs = [_answers(server.content, tab, number) for tab in range(TABS)]
            replies = send_all([request("PUT", url, user.headers, tab) for tab in tabs], at_once=TABS)
            statuses.update(reply.status for reply in replies)
            (stored,) = send_all([request("GET", url, user.headers, None)], at_once=1)
            if {name: stored.body[name] for name in tabs[0]} not in tabs:
                problems.append(f"round {number + 1}: what is stored is no tab's: {stored.body}")
        with server.database() as database:
            problems += halves(database)
    if set(statuses) != {200}:
        problems.append(f"other answers than 200: {dict(statuses)}")
    return Outcome(f"{rounds} x {TABS} saves at once, all 200", lost(problems), "-", tuple(problems))


def _answers(content: Content, tab: int, number: int) -> dict[str, Any]:
    """Return what a tab says: each field of it tells which tab it was."""
    start = f"{tab % 23:02}:{number:02}"
    return {
        "community_of_practice": None,
        "skills_learned_matrix": {content.skills[tab + number]: 1 + tab % 5},
        "max_available_hours": tab,
        "meeting_availability": {
            "timezone": "America/Los_Angeles",
            "slots": [{"day": "mon", "start": start, "end": "24:00"}],
        },
    }


SCENARIO = Scenario(
    "fifty-tabs", "one profile is saved in 50 tabs at once", "one tab's answers are stored, wholly", run
)
