"""All scenarios, in the order in which they are run and told."""

from devtools.reliability.scenario import Scenario

from . import faults, fuzz, idle_connections, migrations, races, slow_client

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "database-killed",
            "PostgreSQL killed (`kill -9`: the postmaster; all its processes) amid concurrent writes",
            "every acknowledged write is there, none by half; 503 meanwhile; it comes back by itself",
            faults.kill_database,
        ),
        Scenario(
            "server-killed",
            "the server killed (`kill -9`: a worker; all workers; Gunicorn) amid concurrent writes",
            "every acknowledged write is there, none by half; workers are replaced; with Gunicorn everything ends",
            faults.kill_server,
        ),
        Scenario(
            "disk-full",
            "the disk of the embedded database is full, until PostgreSQL goes down",
            "503 for writes, never 500; once there is room, it comes back by itself with every acknowledged write",
            faults.fill_disk,
        ),
        Scenario(
            "one-email",
            "one e-mail address signs up many times at once",
            "exactly one account is made",
            races.sign_up_at_once,
        ),
        Scenario(
            "fifty-tabs",
            "one profile is saved in 50 tabs at once",
            "one tab's answers are stored, wholly",
            races.save_in_tabs,
        ),
        slow_client.SCENARIO,
        idle_connections.SCENARIO,
        Scenario(
            "migrations",
            "Migrations over many rows, under the load of the version before",
            "that version refuses nothing, and every row is equal after going back and forward",
            migrations.run,
        ),
        Scenario(
            "fuzz",
            "requests at random, made from the schema (Schemathesis)",
            "no 5xx, no answer that the schema does not describe, nobody gets what isn't theirs",
            fuzz.run,
        ),
    )
}
