"""All scenarios, in the order in which they are run and told."""

from . import (
    database_killed,
    disk_full,
    fifty_tabs,
    fuzz,
    idle_connections,
    migrations,
    one_email,
    server_killed,
    slow_client,
)

SCENARIOS = {
    module.SCENARIO.name: module.SCENARIO
    for module in (
        database_killed,
        server_killed,
        disk_full,
        one_email,
        fifty_tabs,
        slow_client,
        idle_connections,
        migrations,
        fuzz,
    )
}
