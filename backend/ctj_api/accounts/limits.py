"""How often something may be tried: counted in the database, so over all processes and restarts, and exactly.

``docs/decisions/0020-attempts-are-limited.md`` says why.
"""

from dataclasses import dataclass
from math import ceil

from django.db import connection
from django.utils.crypto import salted_hmac
from rest_framework.exceptions import Throttled

from ctj_api.models import AttemptCount

# An attempt after the end of the period begins the next one. Each call removes some of the counts that nobody needs.
COUNT_ATTEMPT = """
    WITH ended AS (
        DELETE FROM {table} WHERE key IN (
            SELECT key FROM {table}
            WHERE ends_at < statement_timestamp() - interval '1 hour' AND key <> %(key)s
            ORDER BY ends_at LIMIT 10 FOR UPDATE SKIP LOCKED
        )
    )
    INSERT INTO {table} AS counted (key, attempts, ends_at)
    VALUES (%(key)s, 1, statement_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (key) DO UPDATE SET
        attempts = CASE WHEN counted.ends_at > statement_timestamp() THEN counted.attempts + 1 ELSE 1 END,
        ends_at = CASE WHEN counted.ends_at > statement_timestamp() THEN counted.ends_at ELSE excluded.ends_at END
    RETURNING attempts, extract(epoch FROM ends_at - statement_timestamp())
"""
TAKE_BACK_ATTEMPT = "UPDATE {table} SET attempts = greatest(attempts - 1, 0) WHERE key = %(key)s"


# So many attempts in so many seconds.
type Rate = tuple[int, int]


class TooManyAttempts(Throttled):
    """There have been more attempts than a limit allows; after so many ``seconds`` there may be another one."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds, "Too many attempts.")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Limit:
    """How often ``what`` may be tried by the same one."""

    what: str
    rate: Rate

    def count(self, *whose: str) -> None:
        """Count an attempt; raises ``TooManyAttempts`` where it is one too many."""
        seconds = self.wait_after_counting(*whose)
        if seconds:
            raise TooManyAttempts(seconds)

    def wait_after_counting(self, *whose: str) -> int:
        """Count an attempt, and return the seconds to wait where it is one too many, otherwise 0."""
        allowed, period = self.rate
        with connection.cursor() as cursor:
            cursor.execute(_sql(COUNT_ATTEMPT), {"key": self._key(whose), "seconds": period})
            attempts, seconds = cursor.fetchone()
        return max(1, ceil(seconds)) if attempts > allowed else 0

    def take_back(self, *whose: str) -> None:
        """Count one attempt less: it was none to be limited."""
        with connection.cursor() as cursor:
            cursor.execute(_sql(TAKE_BACK_ATTEMPT), {"key": self._key(whose)})

    def forget(self, *whose: str) -> None:
        """Begin anew."""
        AttemptCount.objects.filter(key=self._key(whose)).delete()

    def _key(self, whose: tuple[str, ...]) -> str:
        """Return a digest: the table tells nobody's address."""
        return salted_hmac(f"ctj_api.accounts.limits.{self.what}", "\n".join(whose), algorithm="sha256").hexdigest()


def _sql(template: str) -> str:
    return template.format(table=connection.ops.quote_name(AttemptCount._meta.db_table))
