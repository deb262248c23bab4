"""The benchmarks: repeated and first answers, writes, matches, the request path, and a mix of requests."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from statistics import quantiles
from tempfile import TemporaryDirectory
from uuid import UUID

from devtools.reliability.scenarios.migrations import extract_version_before

from .bench import Bench
from .client import Client, Reply, Request, send_all
from .measure import Row, alternate, check, compare, show
from .servers import BARE, HEALTH, OURS, PLAIN, STOCK

LISTING = "opportunities/?limit=100"
REPEATED = ("skills/", "opportunities/?limit=20", LISTING)
MATCHES = "/api/users/me/matches/?limit=20"
STATEMENT = (Path(__file__).parent / "sql" / "rank_open_opportunities.sql").read_bytes()
LEARNED = """
    SELECT m.levels, u.email
    FROM ctj_api_userprofile AS u JOIN ctj_api_skillmatrix AS m ON m.id = u.skills_learned_matrix_id
    WHERE u.is_active ORDER BY u.id LIMIT %s
"""
CONNECTIONS = 16
NUMBERS = count()
FILTERS = ("", "&work_environment=remote", "&max_hours=5", "&community_of_practice=ui_ux&max_hours=8", "&offset=40")

type Matches = tuple[list[UUID], int]


def repeated(bench: Bench) -> Iterator[Row]:
    """Compare public pages, asked for again and again, with the health check and with plain model viewsets."""
    ours, plain = bench.server(bench.plan.page), bench.server(bench.plan.page, PLAIN)
    clients = bench.client(bench.plan.page), bench.client(bench.plan.page, PLAIN)
    for path in REPEATED:
        page, same = f"/api/{path}", f"/plain/{path}" + ("" if "?" in path else "?limit=500")
        listed, theirs = (json.loads(client.get(at).body) for client, at in zip(clients, (page, same), strict=True))
        check(listed == theirs["results"], f"The model viewset lists something else at {same}.")
        subject = f"{bench.plan.burst} x GET {page}"
        yield compare(subject, "the health check", _bursts(bench, (ours, page), (ours, HEALTH)), 0.7)
        yield compare(subject, "ModelViewSet, WSGI", _bursts(bench, (ours, page), (plain, same)), 5)


def first_time(bench: Bench) -> Iterator[Row]:
    """Compare a page that nothing is kept of with a hand-written statement and orjson, without a framework."""
    ours = partial(bench.client(bench.plan.page, OURS, KEPT_ANSWERS_MB="0").get, f"/api/{LISTING}")
    theirs = partial(bench.client(bench.plan.page, BARE).get, "/")
    check(json.loads(ours().body) == json.loads(theirs().body), "The statement lists something else.")
    figures = alternate(bench.plan.rounds, (ours, theirs))
    yield compare(f"GET /api/{LISTING}, not kept", "psycopg and orjson, no framework", figures, 3, is_most=True)


def writes(bench: Bench) -> Iterator[Row]:
    """Compare writes, each of another value, with the same ones by plain model viewsets."""
    ours, plain = bench.client(bench.plan.page), bench.client(bench.plan.page, PLAIN)
    [listing] = json.loads(ours.get("/api/opportunities/?limit=1").body)
    manager, volunteer = ours.sign_in(listing["created_by"]), ours.sign_in("volunteer1@example.org")

    def put(prefix: str) -> Request:
        levels = {skill: next(NUMBERS) % 5 + 1 for skill in listing["skills_required_matrix"]}
        path = f"{prefix}/opportunities/{listing['id']}/"
        return Request(path, "PUT", manager, listing | {"skills_required_matrix": levels, "body": f"{next(NUMBERS)}"})

    def patch(prefix: str) -> Request:
        return Request(f"{prefix}/users/me/", "PATCH", volunteer, {"max_available_hours": next(NUMBERS) % 40})

    for told, write in (("PUT of a listing", put), ("PATCH /api/users/me/", patch)):
        shapes = [json.loads(client.send(write(at)).body).keys() for client, at in ((ours, "/api"), (plain, "/plain"))]
        check(shapes[0] == shapes[1], "The model viewset tells something else.")
        pair = (lambda write=write: ours.send(write("/api")), lambda write=write: plain.send(write("/plain")))
        figures = alternate(bench.plan.rounds, pair)
        yield compare(told, "ModelViewSet, WSGI", figures, 1.5, is_most=True)


def matches(bench: Bench) -> Iterator[Row]:
    """Compare the whole request for matches with the SQL statement of the ranking alone, at each size."""
    for size in bench.plan.ranked:
        pairs = list(_volunteers(bench, size))
        check(all(ask() == state() for ask, state in pairs), "The matches are not those of the SQL statement.")
        figures = alternate(bench.plan.rounds, *pairs)
        limit = 0 if size == bench.plan.page else 3
        yield compare(f"GET {MATCHES} of {size:,}", "one SQL statement for ids and total alone", figures, limit)


def empty_view(bench: Bench) -> Iterator[Row]:
    """Compare the request path with Django's own, on a view that does nothing."""
    pages = [(bench.server(bench.plan.page, command), "/benchmarks/empty/") for command in (OURS, STOCK)]
    figures = _bursts(bench, *pages)
    yield compare(f"{bench.plan.burst} x an empty view", "the same behind Django's ASGIHandler", figures, 2.5)


def load(bench: Bench) -> Iterator[Row]:
    """Send mixes over many connections to two processes, and to two of the version before answers were kept."""
    with TemporaryDirectory() as folder:
        extract_version_before(Path(folder), "ctj_api/http/kept_answers.py")
        before = ("env", f"--chdir={folder}", *OURS)
        for is_changing, writes in enumerate(("no listing changes", "1 request of 40 changes a listing")):
            seconds = []
            for version, command in (("this one", OURS), ("the one before", before)):
                port, _ = bench.server(bench.plan.many, command, WEB_CONCURRENCY="2")
                first = asyncio.run(send_all(port, mix(bench, bool(is_changing)), CONNECTIONS))
                check(all(reply.is_success for reply in first), "Requests of the mix fail.")
                replies = asyncio.run(send_all(port, mix(bench, bool(is_changing)), bench.plan.clients))
                yield {"Mix": writes, "Version": version, **level(replies)}
                seconds.append(_seconds(replies) / sum(reply.is_success for reply in replies))
            yield compare(f"an answer, {writes}", "before answers were kept", (seconds[0], seconds[1]), 2)


def mix(bench: Bench, is_changing: bool) -> list[Request]:
    """Return, in an order that is always the same, forty requests for each of some volunteers."""
    client, requests = bench.client(bench.plan.many), list[Request]()
    listings = json.loads(client.get(f"/api/opportunities/?limit={bench.plan.people}").body)
    for number, listing in enumerate(listings, 1):
        path = f"/api/opportunities/{listing['id']}/"
        levels = listing["skills_required_matrix"]
        if is_changing:
            levels = {skill: level % 5 + 1 for skill, level in levels.items()}
        volunteer, manager = client.sign_in(f"volunteer{number}@example.org"), client.sign_in(listing["created_by"])
        requests += [Request(f"/api/opportunities/?limit={(20, 60, 100)[n % 3]}{FILTERS[n % 5]}") for n in range(32)]
        requests += [Request(MATCHES, headers=volunteer)] * 4 + [Request(path)] * 2
        requests += [Request("/api/users/me/", "PATCH", volunteer, {"max_available_hours": next(NUMBERS) % 100})]
        requests += [Request(path, "PUT", manager, listing | {"skills_required_matrix": levels})]
    Random(1).shuffle(requests)  # nosec B311
    return requests


def level(replies: list[Reply]) -> Row:
    """Return how the clients fared; the times are of the successful requests."""
    times = [reply.seconds for reply in replies if reply.is_success]
    check(len(times) > 1, "The clients get no answers.")
    shares = quantiles(times, n=100, method="inclusive")
    failures = Counter(
        f"{reply.status} with Retry-After" if "Retry-After" in reply.headers else reply.status
        for reply in replies
        if not reply.is_success
    )
    return {
        "Answers": f"{len(times) / _seconds(replies):.0f} /s",
        **{f"p{share}": show(shares[share - 1]) for share in (50, 95, 99)},
        "Failures": ", ".join(f"{count} x {status}" for status, count in failures.items()) or "none",
    }


def _volunteers(bench: Bench, size: int) -> Iterator[tuple[Callable[[], Matches], Callable[[], Matches]]]:
    """Yield how some volunteers ask for their matches, and how SQL finds the same."""
    client, sql = bench.client(size), bench.sql(size)

    def state(levels: dict[str, int]) -> Matches:
        values = {"skills": list(levels), "levels": list(levels.values()), "page": 20}
        rows = sql.execute(STATEMENT, values).fetchall()
        return [pk for pk, _ in rows], rows[0][1] if rows else 0

    for levels, email in sql.execute(LEARNED, [bench.plan.people]).fetchall():
        yield partial(_ask, client, client.sign_in(email)), partial(state, levels)


def _ask(client: Client, headers: dict[str, str]) -> Matches:
    answer = client.get(MATCHES, headers)
    ids = [UUID(match["opportunity"]["id"]) for match in json.loads(answer.body)]
    return ids, int(answer.headers["X-Total-Count"])


def _seconds(replies: list[Reply]) -> float:
    return max(reply.sent_at + reply.seconds for reply in replies) - min(reply.sent_at for reply in replies)


def _bursts(bench: Bench, *pages: tuple[tuple[int, int], str]) -> tuple[float, float]:
    """Return how long each of two servers takes for many requests for its page over several connections."""

    def ask(port: int, path: str) -> None:
        replies = asyncio.run(send_all(port, [Request(path)] * bench.plan.burst, CONNECTIONS))
        check({reply.status for reply in replies} == {"200"}, f"A GET of {path} fails.")

    ours, theirs = (partial(ask, port, path) for (port, _), path in pages)
    return alternate(bench.plan.rounds, (ours, theirs))
