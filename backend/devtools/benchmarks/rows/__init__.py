"""The benchmarks by name, in the order of the table."""

from collections.abc import Callable, Iterable

from devtools.benchmarks.bench import Bench
from devtools.benchmarks.measure import Comparison

from . import listing, processes, ranking, search

type Benchmark = Callable[[Bench], Iterable[Comparison]]

BENCHMARKS: dict[str, Benchmark] = {
    "empty-view": processes.empty_view,
    "list-orm": listing.list_orm,
    "list-bare": listing.list_bare,
    "skills-304": listing.skills_304,
    "rank-opportunities": ranking.rank_opportunities,
    "matches-request": ranking.matches_request,
    "rank-volunteers": ranking.rank_volunteers,
    "matches-after-change": ranking.matches_after_change,
    "search": search.search,
    "two-processes": processes.two_processes,
    "memory": processes.memory,
}
