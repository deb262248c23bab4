"""Full-text search: a document for each opportunity, kept by triggers whatever writes to the database.

It holds the role's title, the project's name, the names of the required skills and the description, by falling
weight, both stemmed and as they are: the latter for words that are still being typed. The names are read with
``FOR SHARE``, so that a document never misses a renaming that is under way. The functions keep today's
``search_path``, for a restore empties it. ``docs/decisions/0010-full-text-search.md`` says why.
"""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import migrations

LEXEMES = """
CREATE FUNCTION ctj_lexemes(content text, weight "char") RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path FROM CURRENT
RETURN (
    SELECT setweight(to_tsvector('english', words), weight) || strip(to_tsvector('simple', words))
    FROM regexp_replace(content COLLATE "C", '[!-/:-@[-`{-~]', ' ', 'g') AS words
);
"""

DOCUMENT = """
CREATE FUNCTION ctj_search_document() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    title text;
    project text;
    skills text;
BEGIN
    SELECT role.title INTO title FROM ctj_api_role role WHERE id = NEW.role_id FOR SHARE;
    SELECT name INTO project FROM ctj_api_project WHERE id = NEW.project_id FOR SHARE;
    SELECT string_agg(name, ' ') INTO skills FROM (
        SELECT name FROM ctj_api_skill WHERE id IN (
            SELECT key::uuid FROM ctj_api_skillmatrix, jsonb_object_keys(levels) AS key
            WHERE ctj_api_skillmatrix.id = NEW.skills_required_matrix_id
        ) ORDER BY id FOR SHARE
    ) required;
    NEW.search_document :=
        coalesce(ctj_lexemes(title, 'A'), '')
        || coalesce(ctj_lexemes(concat_ws(' ', project, skills), 'B'), '')
        || coalesce(ctj_lexemes(NEW.body, 'D'), '');
    RETURN NEW;
END $$;
CREATE TRIGGER opportunity_search_document
    BEFORE INSERT OR UPDATE OF role_id, project_id, body, skills_required_matrix_id, search_document
    ON ctj_api_opportunity FOR EACH ROW EXECUTE FUNCTION ctj_search_document();
"""

RENEWAL = """
CREATE FUNCTION ctj_renew_search_documents() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    stale uuid[];
BEGIN
    -- One order for all, so that two renamings don't wait for each other.
    CASE TG_TABLE_NAME
        WHEN 'ctj_api_role' THEN
            stale := ARRAY(
                SELECT id FROM ctj_api_opportunity WHERE role_id = NEW.id ORDER BY id FOR NO KEY UPDATE
            );
        WHEN 'ctj_api_project' THEN
            stale := ARRAY(
                SELECT id FROM ctj_api_opportunity WHERE project_id = NEW.id ORDER BY id FOR NO KEY UPDATE
            );
        WHEN 'ctj_api_skillmatrix' THEN
            stale := ARRAY(
                SELECT id FROM ctj_api_opportunity WHERE skills_required_matrix_id = NEW.id
                ORDER BY id FOR NO KEY UPDATE
            );
        WHEN 'ctj_api_skill' THEN
            stale := ARRAY(
                SELECT id FROM ctj_api_opportunity WHERE skills_required_matrix_id IN (
                    SELECT id FROM ctj_api_skillmatrix WHERE levels ? NEW.id::text
                ) ORDER BY id FOR NO KEY UPDATE
            );
    END CASE;
    UPDATE ctj_api_opportunity SET search_document = NULL WHERE id = ANY (stale);
    RETURN NULL;
END $$;
CREATE TRIGGER role_renews_search_documents AFTER UPDATE OF title ON ctj_api_role
    FOR EACH ROW WHEN (OLD.title IS DISTINCT FROM NEW.title) EXECUTE FUNCTION ctj_renew_search_documents();
CREATE TRIGGER project_renews_search_documents AFTER UPDATE OF name ON ctj_api_project
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION ctj_renew_search_documents();
CREATE TRIGGER skill_renews_search_documents AFTER UPDATE OF name ON ctj_api_skill
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION ctj_renew_search_documents();
CREATE TRIGGER matrix_renews_search_documents AFTER UPDATE OF levels ON ctj_api_skillmatrix
    FOR EACH ROW WHEN (OLD.levels IS DISTINCT FROM NEW.levels) EXECUTE FUNCTION ctj_renew_search_documents();
"""


class Migration(migrations.Migration):
    """An empty column and its index: no row is touched, nobody waits. The next migration fills it."""

    dependencies = [("ctj_api", "0003_communities_of_practice")]

    operations = [
        migrations.AddField("opportunity", "search_document", SearchVectorField(editable=False, null=True)),
        migrations.AddIndex("opportunity", GinIndex(fields=["search_document"], name="opportunity_search")),
        migrations.RunSQL(LEXEMES, 'DROP FUNCTION ctj_lexemes(text, "char")'),
        migrations.RunSQL(DOCUMENT, "DROP FUNCTION ctj_search_document CASCADE"),
        migrations.RunSQL(RENEWAL, "DROP FUNCTION ctj_renew_search_documents CASCADE"),
    ]
