"""All scenarios, in the order in which they are run and told."""

from .database_killed import SCENARIO as DATABASE_KILLED
from .disk_full import SCENARIO as DISK_FULL
from .fifty_tabs import SCENARIO as FIFTY_TABS
from .fuzz import SCENARIO as FUZZ
from .idle_connections import SCENARIO as IDLE_CONNECTIONS
from .migrations import SCENARIO as MIGRATIONS
from .one_email import SCENARIO as ONE_EMAIL
from .server_killed import SCENARIO as SERVER_KILLED
from .slow_client import SCENARIO as SLOW_CLIENT

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        DATABASE_KILLED,
        SERVER_KILLED,
        DISK_FULL,
        ONE_EMAIL,
        FIFTY_TABS,
        SLOW_CLIENT,
        IDLE_CONNECTIONS,
        MIGRATIONS,
        FUZZ,
    )
}
