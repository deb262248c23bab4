"""Search in many listings beside search in few."""

from collections.abc import Iterator
from statistics import mean
from urllib.parse import urlencode

from devtools.benchmarks.bench import Bench
from devtools.benchmarks.client import Answer, Client, talking
from devtools.benchmarks.measure import Comparison, Target, Unit, alternate, check
from devtools.benchmarks.servers import OURS, serving

TEXTS = ("data engineer", "react", "user research design", "python", "project manag", "terraform security")
INDEX = "opportunity_search"


def search(bench: Bench) -> Iterator[Comparison]:
    """Compare searches in the largest database with the same ones in a small one."""
    plan = bench.plan
    many, few = bench.databases.get(plan.many), bench.databases.get(plan.page)
    times, hits = [], []
    with (
        serving(OURS, many) as server,
        serving(OURS, few) as small_server,
        talking(server) as client,
        talking(small_server) as small_client,
    ):
        for text in TEXTS:
            path = _path(text)
            hits.append((_total(client.get(path)), _total(small_client.get(path))))
            times.append(_compare(client, small_client, path, plan.slow_rounds))
    plans = bench.ask_django(many, "explain_searches", paths=[_path(text) for text in TEXTS])
    check(bool(all(plans)), "No statement looks into the search document.")
    yield Comparison(
        f"GET /api/opportunities/?search= over {plan.many.opportunities:,}",
        f"the same over {plan.page.opportunities:,}",
        mean(ours for ours, _ in times),
        mean(theirs for _, theirs in times),
        Unit.SECONDS,
        Target(4, is_most=True),
        f"mean of {len(TEXTS)} searches; {_explain(plans)}; {'; '.join(map(_tell, TEXTS, hits, times))}",
    )


def _compare(client: Client, small_client: Client, path: str, rounds: int) -> tuple[float, float]:
    ours, theirs = alternate(rounds, lambda: client.get(path), lambda: small_client.get(path))
    return ours, theirs


def _explain(plans: list[str]) -> str:
    others = [f'"{text}"' for text, each in zip(TEXTS, plans, strict=True) if INDEX not in each]
    return f"EXPLAIN names the GIN index {INDEX}" + (f", but not for {', '.join(others)}" if others else "")


def _tell(text: str, hits: tuple[int, int], times: tuple[float, float]) -> str:
    many, few = (f"{count:,} hits in {Unit.SECONDS.show(time)}" for count, time in zip(hits, times, strict=True))
    return f'"{text}" {many} against {few}'


def _path(text: str) -> str:
    return f"/api/opportunities/?{urlencode({'search': text, 'limit': 20})}"


def _total(answer: Answer) -> int:
    return int(answer.headers["X-Total-Count"])
