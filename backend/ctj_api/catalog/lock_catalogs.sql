-- Others only read meanwhile. Autovacuum gives way after a second.
-- A killed run's locks are free once PostgreSQL misses its client.
SET LOCAL client_connection_check_interval = '2s';
SET LOCAL lock_timeout = '1.5s';
LOCK TABLE ctj_api_skill, ctj_api_role, ctj_api_project, ctj_api_skillmatrix, ctj_api_opportunity IN EXCLUSIVE MODE;
SET LOCAL lock_timeout = 0;
