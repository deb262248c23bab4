"""All scenarios, in the order in which they are run and told."""

from . import faults, fuzz, idle_connections, migrations, races, slow_client

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        faults.kill_database,
        faults.kill_server,
        faults.fill_disk,
        races.sign_up_at_once,
        races.save_in_tabs,
        slow_client.dribble,
        idle_connections.open_and_wait,
        migrations.migrate_under_load,
        fuzz.send_random_requests,
    )
}
