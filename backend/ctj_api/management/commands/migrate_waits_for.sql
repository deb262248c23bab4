-- Tells which process of PostgreSQL holds the lock, or else has the oldest transaction.
SELECT concat(
    'Process ', pid, ' of PostgreSQL, for ', coalesce(client_addr::text, 'its machine'), ', is in the way since ',
    date_trunc('second', CASE WHEN is_holder THEN backend_start ELSE xact_start END),
    '. Where nobody waits for it, end it: SELECT pg_terminate_backend(', pid, ')'
)
FROM pg_stat_activity LEFT JOIN (
    SELECT pid, true AS is_holder FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted
) AS held USING (pid)
WHERE datname = current_database() AND pid <> pg_backend_pid() AND (is_holder OR xact_start IS NOT NULL)
ORDER BY is_holder, xact_start LIMIT 1
