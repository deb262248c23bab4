-- Counts an attempt. One after the end of a period begins the next period.
-- Each call also deletes a few counts that ended long ago.
WITH ended AS (
    DELETE FROM ctj_api_attemptcount WHERE key IN (
        SELECT key FROM ctj_api_attemptcount
        WHERE ends_at < statement_timestamp() - interval '1 hour' AND key <> %(key)s
        ORDER BY ends_at LIMIT 10 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO ctj_api_attemptcount AS counted (key, attempts, ends_at)
VALUES (%(key)s, 1, statement_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (key) DO UPDATE SET
    attempts = CASE WHEN counted.ends_at > statement_timestamp() THEN counted.attempts + 1 ELSE 1 END,
    ends_at = CASE WHEN counted.ends_at > statement_timestamp() THEN counted.ends_at ELSE excluded.ends_at END
RETURNING attempts, extract(epoch FROM ends_at - statement_timestamp())
