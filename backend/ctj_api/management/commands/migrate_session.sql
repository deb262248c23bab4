-- A migration that waited longer for a table would have all readers wait behind it.
SET lock_timeout = '2s';
SET statement_timeout = 0;
-- The locks of one that was killed, or whose machine is gone, are free soon: PostgreSQL looks whether it is there.
SET client_connection_check_interval = '2s';
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
