"""The listing and the catalog: beside plain REST framework, bare psycopg, and themselves revalidated."""

from collections.abc import Iterator
from http import HTTPStatus

from devtools.benchmarks.bench import Bench
from devtools.benchmarks.client import talking
from devtools.benchmarks.measure import Comparison, Target, Unit, alternate, check
from devtools.benchmarks.servers import BARE, OURS, serving

LISTING = "/api/opportunities/?limit=100"
PLAIN_LISTING = "/benchmarks/opportunities/?limit=100"
SKILLS = "/api/skills/"
ROWS = 100


def list_orm(bench: Bench) -> Iterator[Comparison]:
    """Compare the listing with a plain model viewset in the same process."""
    database = bench.databases.get(bench.plan.page)
    with serving(OURS, database) as server, talking(server) as client:
        listed = client.get(LISTING).json()
        check(len(listed) == ROWS, f"The listing has {len(listed)} rows.")
        check(listed == client.get(PLAIN_LISTING).json()["results"], "The plain viewset lists something else.")
        ours, theirs = alternate(
            bench.plan.slow_rounds * 2, lambda: client.get(LISTING), lambda: client.get(PLAIN_LISTING)
        )
    yield Comparison(
        f"GET /api/opportunities/?limit=100 of {bench.plan.page.opportunities:,}",
        "plain ModelViewSet with a ModelSerializer",
        ours,
        theirs,
        Unit.SECONDS,
        Target(15),
        "the same rows, field by field",
    )


def list_bare(bench: Bench) -> Iterator[Comparison]:
    """Compare the listing with a hand-written statement and orjson, without a framework."""
    database = bench.databases.get(bench.plan.page)
    with (
        serving(OURS, database) as server,
        serving(BARE, database) as bare_server,
        talking(server) as client,
        talking(bare_server) as bare_client,
    ):
        check(client.get(LISTING).json() == bare_client.get("/").json(), "The bare application lists something else.")
        ours, theirs = alternate(bench.plan.rounds, lambda: client.get(LISTING), lambda: bare_client.get("/"))
    yield Comparison(
        f"GET /api/opportunities/?limit=100 of {bench.plan.page.opportunities:,}",
        "one SQL statement by psycopg, dumped by orjson, no framework",
        ours,
        theirs,
        Unit.SECONDS,
        Target(4, is_most=True),
        "the same rows, field by field; the bare application neither counts nor checks anything",
    )


def skills_304(bench: Bench) -> Iterator[Comparison]:
    """Compare the catalog that the client has already with the catalog."""
    with serving(OURS, bench.databases.get(bench.plan.page)) as server, talking(server) as client:
        whole = client.get(SKILLS)
        known = {"If-None-Match": whole.headers["ETag"]}
        ours, theirs = alternate(
            bench.plan.rounds,
            lambda: client.get(SKILLS, known, HTTPStatus.NOT_MODIFIED),
            lambda: client.get(SKILLS),
        )
    yield Comparison(
        "GET /api/skills/ with If-None-Match: 304",
        "the same without: 200",
        ours,
        theirs,
        Unit.SECONDS,
        Target(5),
        f"{len(whole.json()):,} skills, {len(whole.body):,} bytes",
    )
