"""PostgreSQL is killed in the middle of concurrent writes."""

from reliability.scenario import Outcome, Scale, Scenario
from reliability.servers import kill, serving, wait_until


def run(scale: Scale) -> Outcome:
    """Start."""
    with serving() as server:
        postmaster = server.cluster.process()
        assert postmaster
        kill(postmaster)
        seconds = wait_until(server.is_healthy, "not back", 20)
    return Outcome("1 kill", "nothing", f"{seconds:.1f} s")


SCENARIO = Scenario("database-killed", "PostgreSQL killed (`kill -9`) amid writes", "no write is lost", run)
