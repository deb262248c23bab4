"""Many people, or one in a hurry, sign up with the same address at once."""

from collections import Counter
from http import HTTPStatus

from devtools.benchmarks.client import CSRF_TOKEN
from devtools.reliability.many import request, send_all
from devtools.reliability.scenario import Outcome, Scale, Scenario, lost
from devtools.reliability.servers import serving

EMAIL = "everybody@example.org"
HEADERS = {"Cookie": f"csrftoken={CSRF_TOKEN}", "X-CSRFToken": CSRF_TOKEN}


def run(scale: Scale) -> Outcome:
    """Sign up at once, and count the accounts."""
    count = scale.pick(50, 300)
    with serving(SIGNUP_RATE="1000000/1h") as server:
        url = f"{server.url}/api/auth/signup/"
        body = {"email": EMAIL, "password": "a-long-enough-passphrase"}  # nosec B105: of nobody
        replies = send_all([request("POST", url, HEADERS, body)] * count, at_once=count)
        statuses = Counter(reply.status for reply in replies)
        with server.database() as database:
            row = database.execute("SELECT count(*) FROM ctj_api_userprofile WHERE email = %s", [EMAIL]).fetchone()
    problems = []
    if statuses[HTTPStatus.CREATED] != 1 or row != (1,):
        problems.append(f"{statuses[HTTPStatus.CREATED]} were told that they have an account, and there are {row}")
    if set(statuses) - {HTTPStatus.CREATED, HTTPStatus.BAD_REQUEST}:
        problems.append(f"other answers than 201 and 400: {dict(statuses)}")
    refused = [reply.body["error"] for reply in replies if reply.status == HTTPStatus.BAD_REQUEST]
    if any(set(error["fields"]) != {"email"} for error in refused):
        problems.append("a 400 that does not name the address")
    tries = f"{count} sign-ups at once: 1 x 201, {statuses[HTTPStatus.BAD_REQUEST]} x 400"
    return Outcome(tries, lost(problems), "-", tuple(problems))


SCENARIO = Scenario("one-email", "one e-mail address signs up many times at once", "exactly one account is made", run)
