"""Keep skill matrices whole whatever writes to the database: the API, the admin or SQL by hand.

Every rated skill exists, a rated skill can't be deleted, and a matrix lives exactly as long as its owner.
The functions keep today's ``search_path``, for a restore empties it.
``docs/decisions/0002-skill-matrix-as-json.md`` says why triggers.
"""

from django.db import migrations

RATED_SKILLS_EXIST = """
CREATE FUNCTION ctj_rated_skills_exist() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    rated uuid[] := ARRAY(SELECT key::uuid FROM jsonb_object_keys(NEW.levels) AS key);
    found_count integer;
BEGIN
    -- The locks make a deletion of these skills wait until this transaction has ended.
    PERFORM 1 FROM ctj_api_skill WHERE id = ANY (rated) ORDER BY id FOR KEY SHARE;
    GET DIAGNOSTICS found_count = ROW_COUNT;
    IF found_count <> cardinality(rated) THEN
        RAISE foreign_key_violation USING
            MESSAGE = 'a skill matrix rates a skill that does not exist',
            CONSTRAINT = 'skill_matrix_rated_skills_exist';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER skill_matrix_rated_skills_exist
    AFTER INSERT OR UPDATE OF levels ON ctj_api_skillmatrix
    FOR EACH ROW WHEN (NEW.levels <> '{}') EXECUTE FUNCTION ctj_rated_skills_exist();
"""

RATED_SKILL_STAYS = """
CREATE FUNCTION ctj_rated_skill_stays() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM ctj_api_skillmatrix WHERE levels ? OLD.id::text) THEN
        RAISE foreign_key_violation USING
            MESSAGE = 'a skill matrix still rates this skill',
            CONSTRAINT = 'skill_rated_stays';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER skill_rated_stays
    AFTER DELETE OR UPDATE OF id ON ctj_api_skill
    FOR EACH ROW EXECUTE FUNCTION ctj_rated_skill_stays();
"""

MATRIX_GOES_WITH_OWNER = """
CREATE FUNCTION ctj_matrix_goes_with_owner() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    old_matrix uuid := to_jsonb(OLD) ->> TG_ARGV[0];
    new_matrix uuid := to_jsonb(NEW) ->> TG_ARGV[0];
BEGIN
    IF old_matrix IS DISTINCT FROM new_matrix THEN
        DELETE FROM ctj_api_skillmatrix WHERE id = old_matrix;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER opportunity_takes_matrix_along
    AFTER DELETE OR UPDATE OF skills_required_matrix_id ON ctj_api_opportunity
    FOR EACH ROW EXECUTE FUNCTION ctj_matrix_goes_with_owner('skills_required_matrix_id');
CREATE TRIGGER user_takes_matrix_along
    AFTER DELETE OR UPDATE OF skills_learned_matrix_id ON ctj_api_userprofile
    FOR EACH ROW EXECUTE FUNCTION ctj_matrix_goes_with_owner('skills_learned_matrix_id');
"""

MATRIX_HAS_ONE_OWNER = """
CREATE FUNCTION ctj_matrix_has_one_owner() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    matrix uuid := to_jsonb(NEW) ->> TG_ARGV[0];
    owners integer;
BEGIN
    IF NOT EXISTS (SELECT FROM ctj_api_skillmatrix WHERE id = matrix) THEN
        RETURN NULL;
    END IF;
    SELECT (SELECT count(*) FROM ctj_api_opportunity WHERE skills_required_matrix_id = matrix)
         + (SELECT count(*) FROM ctj_api_userprofile WHERE skills_learned_matrix_id = matrix) INTO owners;
    IF owners <> 1 THEN
        RAISE check_violation USING
            MESSAGE = format('a skill matrix must have one owner, not %s', owners),
            CONSTRAINT = 'skill_matrix_one_owner';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER skill_matrix_one_owner
    AFTER INSERT ON ctj_api_skillmatrix DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ctj_matrix_has_one_owner('id');
CREATE CONSTRAINT TRIGGER opportunity_owns_matrix_alone
    AFTER INSERT OR UPDATE OF skills_required_matrix_id ON ctj_api_opportunity DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ctj_matrix_has_one_owner('skills_required_matrix_id');
CREATE CONSTRAINT TRIGGER user_owns_matrix_alone
    AFTER INSERT OR UPDATE OF skills_learned_matrix_id ON ctj_api_userprofile DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.skills_learned_matrix_id IS NOT NULL)
    EXECUTE FUNCTION ctj_matrix_has_one_owner('skills_learned_matrix_id');
"""


def drop(*functions: str) -> str:
    """Return the SQL that drops trigger functions together with their triggers."""
    return "".join(f"DROP FUNCTION {function} CASCADE;" for function in functions)


class Migration(migrations.Migration):
    """Functions and triggers; nothing of it touches rows that are there."""

    dependencies = [("ctj_api", "0001_initial")]

    operations = [
        migrations.RunSQL(RATED_SKILLS_EXIST, drop("ctj_rated_skills_exist")),
        migrations.RunSQL(RATED_SKILL_STAYS, drop("ctj_rated_skill_stays")),
        migrations.RunSQL(MATRIX_GOES_WITH_OWNER, drop("ctj_matrix_goes_with_owner")),
        migrations.RunSQL(MATRIX_HAS_ONE_OWNER, drop("ctj_matrix_has_one_owner")),
    ]
