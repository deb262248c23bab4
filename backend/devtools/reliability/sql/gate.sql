-- A gate in front of what the transactions that save a listing and a profile write last.
CREATE FUNCTION pass_the_gate() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(6000026); RETURN NEW; END';
CREATE TRIGGER gate BEFORE INSERT ON django_admin_log FOR EACH ROW EXECUTE FUNCTION pass_the_gate();
CREATE TRIGGER gate BEFORE UPDATE ON ctj_api_userprofile FOR EACH ROW EXECUTE FUNCTION pass_the_gate();
