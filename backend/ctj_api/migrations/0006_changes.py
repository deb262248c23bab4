"""Note which transaction last changed a row, for the processes that keep something of it, and for validators.

``ranking/row_changes.py`` reads it; ``docs/decisions/0018-matching-index.md`` says why. Of each kind there is one note for
each row that was written since this migration; that of a deleted row stays, and takes 60 bytes.

- ``opportunity`` and ``volunteer``: what decides whether and where they are ranked.
- ``listing``: what anybody is told of an opportunity or finds it by, the names of what it refers to included.

The functions keep today's ``search_path``, for a restore empties it.
"""

from django.db import migrations

TABLE = """
CREATE TABLE ctj_change (
    kind text NOT NULL CONSTRAINT change_kind CHECK (kind IN ('opportunity', 'volunteer', 'listing')),
    owner uuid NOT NULL,
    changed_by xid8 NOT NULL,
    PRIMARY KEY (kind, owner)
);
CREATE INDEX change_since ON ctj_change (kind, changed_by) INCLUDE (owner);
CREATE FUNCTION ctj_note_change(kinds text[], owner uuid) RETURNS void LANGUAGE sql SET search_path FROM CURRENT AS $$
    INSERT INTO ctj_change AS noted (kind, owner, changed_by)
        SELECT kind, $2, pg_current_xact_id() FROM unnest(kinds) AS kind
        ON CONFLICT (kind, owner) DO UPDATE SET changed_by = excluded.changed_by
        WHERE noted.changed_by <> excluded.changed_by;
$$;
"""

# The arguments of a trigger are the kinds.
NOTE = """
CREATE FUNCTION ctj_note_row() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM ctj_note_change(TG_ARGV, coalesce(NEW.id, OLD.id));
    RETURN NULL;
END $$;
CREATE TRIGGER opportunity_notes_change AFTER INSERT OR DELETE ON ctj_api_opportunity
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('opportunity', 'listing');
CREATE TRIGGER opportunity_update_notes_change
    AFTER UPDATE OF status, created_at, skills_required_matrix_id ON ctj_api_opportunity
    FOR EACH ROW WHEN (
        (OLD.status, OLD.created_at, OLD.skills_required_matrix_id)
        IS DISTINCT FROM (NEW.status, NEW.created_at, NEW.skills_required_matrix_id)
    ) EXECUTE FUNCTION ctj_note_row('opportunity');
CREATE TRIGGER opportunity_update_notes_listing
    AFTER UPDATE OF project_id, role_id, body, min_experience_required, min_hours_required, work_environment,
        skills_required_matrix_id, status, created_by_id, created_at, updated_at ON ctj_api_opportunity
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
CREATE TRIGGER user_notes_change AFTER INSERT OR DELETE ON ctj_api_userprofile
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('volunteer');
CREATE TRIGGER user_update_notes_change
    AFTER UPDATE OF is_active, created_at, skills_learned_matrix_id ON ctj_api_userprofile
    FOR EACH ROW WHEN (
        (OLD.is_active, OLD.created_at, OLD.skills_learned_matrix_id)
        IS DISTINCT FROM (NEW.is_active, NEW.created_at, NEW.skills_learned_matrix_id)
    ) EXECUTE FUNCTION ctj_note_row('volunteer');
"""

NOTE_OF_NAMES = """
CREATE TRIGGER user_email_notes_listing AFTER UPDATE OF email ON ctj_api_userprofile
    FOR EACH ROW WHEN (OLD.email IS DISTINCT FROM NEW.email) EXECUTE FUNCTION ctj_note_row('listing');
CREATE TRIGGER project_name_notes_listing AFTER UPDATE OF name ON ctj_api_project
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION ctj_note_row('listing');
CREATE TRIGGER skill_name_notes_listing AFTER UPDATE OF name ON ctj_api_skill
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION ctj_note_row('listing');
-- Who deletes a row may put another in its place before the foreign keys are checked.
CREATE TRIGGER user_deletion_notes_listing AFTER DELETE ON ctj_api_userprofile
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
CREATE TRIGGER project_deletion_notes_listing AFTER DELETE ON ctj_api_project
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
CREATE TRIGGER skill_deletion_notes_listing AFTER DELETE ON ctj_api_skill
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
CREATE TRIGGER role_deletion_notes_listing AFTER DELETE ON ctj_api_role
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
CREATE TRIGGER community_notes_listing AFTER UPDATE OF practice_area OR DELETE ON ctj_api_communityofpractice
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
CREATE TRIGGER role_notes_listing AFTER UPDATE OF title, community_of_practice_id ON ctj_api_role
    FOR EACH ROW WHEN (
        (OLD.title, OLD.community_of_practice_id) IS DISTINCT FROM (NEW.title, NEW.community_of_practice_id)
    ) EXECUTE FUNCTION ctj_note_row('listing');
"""

# It locks no owner: who writes a matrix has locked it before.
NOTE_OF_MATRIX = """
CREATE FUNCTION ctj_note_owner_of_matrix() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM ctj_note_change('{opportunity,listing}', id) FROM ctj_api_opportunity WHERE skills_required_matrix_id = NEW.id;
    PERFORM ctj_note_change('{volunteer}', id) FROM ctj_api_userprofile WHERE skills_learned_matrix_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER matrix_notes_change AFTER UPDATE OF levels ON ctj_api_skillmatrix
    FOR EACH ROW WHEN (OLD.levels IS DISTINCT FROM NEW.levels) EXECUTE FUNCTION ctj_note_owner_of_matrix();
"""


class Migration(migrations.Migration):
    """A table, functions and triggers; nothing of it touches rows that are there."""

    dependencies = [("ctj_api", "0005_fill_search_documents")]

    operations = [
        migrations.RunSQL(TABLE, "DROP TABLE ctj_change; DROP FUNCTION ctj_note_change;"),
        migrations.RunSQL(NOTE, "DROP FUNCTION ctj_note_row CASCADE;"),
        migrations.RunSQL(NOTE_OF_NAMES, migrations.RunSQL.noop),
        migrations.RunSQL(NOTE_OF_MATRIX, "DROP FUNCTION ctj_note_owner_of_matrix CASCADE;"),
    ]
