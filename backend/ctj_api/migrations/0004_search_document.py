"""Full-text search: a document for each opportunity, kept by triggers whatever writes to the database.

It holds the role's title, the project's name, the names of the required skills and the description, by falling
weight, both stemmed and as they are: the latter for words that are still being typed. The functions keep today's
``search_path``, for a restore empties it. ``docs/decisions/0010-full-text-search.md`` says why.
"""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import migrations

# The signs are those of ctj_api/search.py. Unstemmed words of a description go without their positions, which
# would take a quarter of the column and tell nothing: such a word weighs as little as a description's anyway.
LEXEMES = r"""
CREATE FUNCTION ctj_search_words(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(
    content,
    '[\u0001-\u0008\u000E-\u001F!-/:-@\[-`{-\u00A9\u00AB-\u00B4\u00B6-\u00B9\u00BB-\u00BF\u00D7\u00F7'
    '\u2000-\u2BFF\u2E00-\u2E7F\u3000-\u3004\u3008-\u3020\uFE00-\uFE0F\U0001F000-\U0001FAFF]',
    ' ', 'g'
);
CREATE FUNCTION ctj_name_lexemes(names text, weight "char") RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT RETURN (
    SELECT setweight(to_tsvector('english', words) || to_tsvector('simple', words), weight)
    FROM ctj_search_words(normalize(names)) AS words
);
CREATE FUNCTION ctj_body_lexemes(body text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT RETURN (
    SELECT to_tsvector('english', words) || strip(to_tsvector('simple', words)) FROM ctj_search_words(normalize(body)) AS words
);
"""

DOCUMENT = """
CREATE FUNCTION ctj_search_document() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    title text;
    project text;
    skills text;
    required uuid[];
BEGIN
    SELECT ARRAY(SELECT key::uuid FROM jsonb_object_keys(levels) AS key) INTO required
        FROM ctj_api_skillmatrix WHERE id = NEW.skills_required_matrix_id;
    -- Names that come to a listing are locked: a renaming under way is waited for, a later one finds the listing.
    -- Those that it had are not: who renames them comes to the listing anyway, and may be waiting for it.
    IF NEW.role_id IS DISTINCT FROM OLD.role_id THEN
        PERFORM FROM ctj_api_role WHERE id = NEW.role_id FOR SHARE;
    END IF;
    IF NEW.project_id IS DISTINCT FROM OLD.project_id THEN
        PERFORM FROM ctj_api_project WHERE id = NEW.project_id FOR SHARE;
    END IF;
    IF NEW.skills_required_matrix_id IS DISTINCT FROM OLD.skills_required_matrix_id THEN
        PERFORM FROM ctj_api_skill WHERE id = ANY (required) ORDER BY id FOR SHARE;
    END IF;
    SELECT role.title INTO title FROM ctj_api_role role WHERE id = NEW.role_id;
    SELECT name INTO project FROM ctj_api_project WHERE id = NEW.project_id;
    SELECT string_agg(name, ' ' ORDER BY id) INTO skills FROM ctj_api_skill WHERE id = ANY (required);
    IF num_nulls(title, project, required)
        > num_nulls(NEW.role_id, NEW.project_id, NEW.skills_required_matrix_id) THEN
        RAISE foreign_key_violation USING
            MESSAGE = 'an opportunity needs a role, a project and a skill matrix that exist already',
            CONSTRAINT = 'opportunity_search_document';
    END IF;
    NEW.search_document :=
        ctj_name_lexemes(title, 'A')
        || ctj_name_lexemes(concat_ws(' ', project, skills), 'B')
        || ctj_body_lexemes(NEW.body);
    RETURN NEW;
END $$;
CREATE TRIGGER opportunity_search_document_made BEFORE INSERT ON ctj_api_opportunity
    FOR EACH ROW EXECUTE FUNCTION ctj_search_document();
CREATE TRIGGER opportunity_search_document_kept
    BEFORE UPDATE OF role_id, project_id, body, skills_required_matrix_id, search_document ON ctj_api_opportunity
    FOR EACH ROW WHEN (
        NEW.search_document IS NULL
        OR (OLD.role_id, OLD.project_id, OLD.body, OLD.skills_required_matrix_id, OLD.search_document)
        IS DISTINCT FROM (NEW.role_id, NEW.project_id, NEW.body, NEW.skills_required_matrix_id, NEW.search_document)
    ) EXECUTE FUNCTION ctj_search_document();
"""

RENEWAL = """
CREATE FUNCTION ctj_renew_search_documents() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    stale uuid[];
BEGIN
    CASE TG_TABLE_NAME
        WHEN 'ctj_api_role' THEN
            stale := ARRAY(SELECT id FROM ctj_api_opportunity WHERE role_id = NEW.id);
        WHEN 'ctj_api_project' THEN
            stale := ARRAY(SELECT id FROM ctj_api_opportunity WHERE project_id = NEW.id);
        WHEN 'ctj_api_skill' THEN
            stale := ARRAY(
                SELECT opportunity.id FROM ctj_api_opportunity opportunity
                JOIN ctj_api_skillmatrix matrix ON matrix.id = skills_required_matrix_id
                WHERE levels ? NEW.id::text
            );
        WHEN 'ctj_api_skillmatrix' THEN
            stale := ARRAY(SELECT id FROM ctj_api_opportunity WHERE skills_required_matrix_id = NEW.id);
            IF stale <> '{}' THEN
                PERFORM FROM ctj_api_skill
                    WHERE id = ANY (ARRAY(SELECT key::uuid FROM jsonb_object_keys(NEW.levels - ARRAY(
                        SELECT jsonb_object_keys(OLD.levels)
                    )) AS key))
                    ORDER BY id FOR SHARE;
            END IF;
    END CASE;
    -- One order for all, so that two renamings don't wait for each other.
    PERFORM FROM ctj_api_opportunity WHERE id = ANY (stale) ORDER BY id FOR NO KEY UPDATE;
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


def drop(*functions: str) -> str:
    """Return the SQL that drops functions together with their triggers."""
    return "".join(f"DROP FUNCTION {function} CASCADE;" for function in functions)


class Migration(migrations.Migration):
    """An empty column and its index: no row is touched, nobody waits. The next migration fills it."""

    dependencies = [("ctj_api", "0003_communities_of_practice")]

    operations = [
        migrations.AddField(
            "opportunity", "search_document", SearchVectorField(editable=False, null=True, serialize=False)
        ),
        migrations.AddIndex("opportunity", GinIndex(fields=["search_document"], name="opportunity_search")),
        migrations.RunSQL(LEXEMES, drop("ctj_body_lexemes", "ctj_name_lexemes", "ctj_search_words")),
        migrations.RunSQL(DOCUMENT, drop("ctj_search_document")),
        migrations.RunSQL(RENEWAL, drop("ctj_renew_search_documents")),
    ]
