"""Tell the processes that keep indexes for matching which rows were changed, and by which transaction.

``ctj_api/match_index.py`` reads it; ``docs/decisions/0018-matching-index.md`` says why. There is one row for each
opportunity and user that was written since this migration; that of a deleted one stays and takes 60 bytes.
The functions keep today's ``search_path``, for a restore empties it.
"""

from django.db import migrations

TABLE = """
CREATE TABLE ctj_match_change (
    kind text NOT NULL CONSTRAINT match_change_kind CHECK (kind IN ('opportunity', 'volunteer')),
    owner uuid NOT NULL,
    changed_by xid8 NOT NULL,
    PRIMARY KEY (kind, owner)
);
CREATE INDEX match_change_since ON ctj_match_change (kind, changed_by) INCLUDE (owner);
"""

NOTE = """
CREATE FUNCTION ctj_note_match_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO ctj_match_change AS noted (kind, owner, changed_by)
        VALUES (TG_ARGV[0], coalesce(NEW.id, OLD.id), pg_current_xact_id())
        ON CONFLICT (kind, owner) DO UPDATE SET changed_by = excluded.changed_by
        WHERE noted.changed_by <> excluded.changed_by;
    RETURN NULL;
END $$;
CREATE TRIGGER opportunity_notes_match_change AFTER INSERT OR DELETE ON ctj_api_opportunity
    FOR EACH ROW EXECUTE FUNCTION ctj_note_match_change('opportunity');
CREATE TRIGGER opportunity_update_notes_match_change
    AFTER UPDATE OF status, created_at, skills_required_matrix_id ON ctj_api_opportunity
    FOR EACH ROW WHEN (
        (OLD.status, OLD.created_at, OLD.skills_required_matrix_id)
        IS DISTINCT FROM (NEW.status, NEW.created_at, NEW.skills_required_matrix_id)
    ) EXECUTE FUNCTION ctj_note_match_change('opportunity');
CREATE TRIGGER user_notes_match_change AFTER INSERT OR DELETE ON ctj_api_userprofile
    FOR EACH ROW EXECUTE FUNCTION ctj_note_match_change('volunteer');
CREATE TRIGGER user_update_notes_match_change
    AFTER UPDATE OF is_active, created_at, skills_learned_matrix_id ON ctj_api_userprofile
    FOR EACH ROW WHEN (
        (OLD.is_active, OLD.created_at, OLD.skills_learned_matrix_id)
        IS DISTINCT FROM (NEW.is_active, NEW.created_at, NEW.skills_learned_matrix_id)
    ) EXECUTE FUNCTION ctj_note_match_change('volunteer');
"""

# The owner is noted, without a look at who is locked: who writes a matrix has locked its owner before.
NOTE_OF_MATRIX = """
CREATE FUNCTION ctj_note_matrix_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO ctj_match_change AS noted (kind, owner, changed_by)
        SELECT 'opportunity', id, pg_current_xact_id() FROM ctj_api_opportunity WHERE skills_required_matrix_id = NEW.id
        UNION ALL
        SELECT 'volunteer', id, pg_current_xact_id() FROM ctj_api_userprofile WHERE skills_learned_matrix_id = NEW.id
        ON CONFLICT (kind, owner) DO UPDATE SET changed_by = excluded.changed_by
        WHERE noted.changed_by <> excluded.changed_by;
    RETURN NULL;
END $$;
CREATE TRIGGER matrix_notes_match_change AFTER UPDATE OF levels ON ctj_api_skillmatrix
    FOR EACH ROW WHEN (OLD.levels IS DISTINCT FROM NEW.levels) EXECUTE FUNCTION ctj_note_matrix_change();
"""


class Migration(migrations.Migration):
    """A table, functions and triggers; nothing of it touches rows that are there."""

    dependencies = [("ctj_api", "0005_fill_search_documents")]

    operations = [
        migrations.RunSQL(TABLE, "DROP TABLE ctj_match_change;"),
        migrations.RunSQL(NOTE, "DROP FUNCTION ctj_note_match_change CASCADE;"),
        migrations.RunSQL(NOTE_OF_MATRIX, "DROP FUNCTION ctj_note_matrix_change CASCADE;"),
    ]
