"""All scenarios, in the order in which they are run and told."""

from .database_killed import SCENARIO as DATABASE_KILLED
from .migrations import SCENARIO as MIGRATIONS

SCENARIOS = {scenario.name: scenario for scenario in (DATABASE_KILLED, MIGRATIONS)}
