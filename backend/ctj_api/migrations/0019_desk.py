"""Other names of skills, when listings were opened and filled, deleted listings, and what more a listing tells."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import migrations, models

import ctj_api.constraints
import ctj_api.fields

# Arrays become text in a way that PostgreSQL doesn't call immutable, for it depends on the type of their elements.
SKILL_NAMES = r"""
CREATE FUNCTION ctj_skill_names(name text, aliases text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN array_to_string(name || aliases, E'\n', '');
END $$;
"""

OF_SKILL = """
CREATE OR REPLACE TRIGGER skill_renews_search_documents AFTER UPDATE OF name{of} ON ctj_api_skill
    FOR EACH ROW WHEN ((OLD.name{old}) IS DISTINCT FROM (NEW.name{new}))
    EXECUTE FUNCTION ctj_renew_search_documents();
CREATE OR REPLACE TRIGGER skill_name_notes_listing AFTER UPDATE OF name{of} ON ctj_api_skill
    FOR EACH ROW WHEN ((OLD.name{old}) IS DISTINCT FROM (NEW.name{new}))
    EXECUTE FUNCTION ctj_note_row('listing');
"""
WITH_ALIASES = OF_SKILL.format(of=", aliases", old=", OLD.aliases", new=", NEW.aliases")
WITHOUT_ALIASES = OF_SKILL.format(of="", old="", new="")

# Both functions are as they were but for the names of skills.
REPLACE = """
DO $$
DECLARE
    definition text := pg_get_functiondef('{function}'::regproc);
BEGIN
    IF strpos(definition, '{old}') = 0 THEN
        RAISE 'the function {function} is not as expected';
    END IF;
    EXECUTE replace(definition, '{old}', '{new}');
END $$;
"""
DOCUMENT = "string_agg(name, "
DOCUMENT_WITH_ALIASES = "string_agg(ctj_skill_names(name, aliases), "
APART = "WHERE ctj_search_lexemes(name, description) @@"
APART_WITH_ALIASES = "WHERE ctj_search_lexemes(ctj_skill_names(name, aliases), description) @@"


def replaced(function: str, old: str, new: str) -> migrations.RunSQL:
    """Return the operation that puts ``new`` in the place of ``old`` in the source of a function."""
    there, back = {"old": old, "new": new}, {"old": new, "new": old}
    return migrations.RunSQL(REPLACE.format(function=function, **there), REPLACE.format(function=function, **back))


TIMES = """
CREATE FUNCTION ctj_status_times() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'draft' THEN
            NEW.opened_at := coalesce(NEW.opened_at, NEW.created_at);
        END IF;
        IF NEW.status = 'filled' THEN
            NEW.filled_at := coalesce(NEW.filled_at, NEW.created_at);
        END IF;
    ELSIF NEW.status = 'open' THEN
        IF OLD.status <> 'on_hold' OR NEW.opened_at IS NULL THEN
            NEW.opened_at := now();
        END IF;
        NEW.filled_at := NULL;
    ELSIF NEW.status = 'filled' THEN
        NEW.filled_at := now();
    ELSIF NEW.status <> 'closed' THEN
        NEW.filled_at := NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER opportunity_status_times_made BEFORE INSERT ON ctj_api_opportunity
    FOR EACH ROW EXECUTE FUNCTION ctj_status_times();
CREATE TRIGGER opportunity_status_times_kept BEFORE UPDATE OF status ON ctj_api_opportunity
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION ctj_status_times();
"""


# All at once or none: writes take these tables in several orders, and who waits with a lock could be waited for.
LOCKS = """
DO $$
DECLARE
    patience text := current_setting('lock_timeout');
BEGIN
    FOR attempt IN 1..200 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '200ms', true);
            LOCK TABLE ctj_api_userprofile, ctj_api_project, ctj_api_communityofpractice IN SHARE ROW EXCLUSIVE MODE;
            LOCK TABLE ctj_api_opportunity, ctj_api_skill IN ACCESS EXCLUSIVE MODE;
            PERFORM set_config('lock_timeout', patience, true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(random() / 10);
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = 'the tables are too busy to be changed; try again';
END $$;
"""
# The catalog has some hundred rows: nobody waits for its index.
INDEX = """
DROP INDEX skill_search;
CREATE INDEX skill_search ON ctj_api_skill USING gin (ctj_search_lexemes({}, description));
"""
LEXEMES = models.Func(
    models.Func("name", "aliases", function="ctj_skill_names", output_field=models.TextField()),
    "description",
    function="ctj_search_lexemes",
    output_field=SearchVectorField(),
)


WHITE_SPACE = r"\t-\r\u001c- \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
UNSEEN = (
    r"\u0001-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    r"\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
WORD = f"[^{WHITE_SPACE}{UNSEEN}]+"
LINES = models.Func(models.Value(""), models.F("aliases"), function="ctj_skill_names", output_field=models.TextField())
ARE_NORMAL = models.Q(
    models.lookups.Regex(LINES, rf"^(\n{WORD}( {WORD})*){{0,20}}$"),
    ctj_api.constraints.IsComposed(LINES),
    models.lookups.LessThanOrEqual(models.functions.Length(LINES), 800),
)

# A listing tells its community's name and its project's meetings: their changes are noted like those of other names.
TOLD = """
CREATE OR REPLACE TRIGGER community_notes_listing
    AFTER UPDATE OF practice_area, name OR DELETE ON ctj_api_communityofpractice
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
CREATE OR REPLACE TRIGGER project_name_notes_listing AFTER UPDATE OF name, meeting_times ON ctj_api_project
    FOR EACH ROW WHEN ((OLD.name, OLD.meeting_times) IS DISTINCT FROM (NEW.name, NEW.meeting_times))
    EXECUTE FUNCTION ctj_note_row('listing');
"""
TOLD_BEFORE = """
CREATE OR REPLACE TRIGGER community_notes_listing
    AFTER UPDATE OF practice_area OR DELETE ON ctj_api_communityofpractice
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
CREATE OR REPLACE TRIGGER project_name_notes_listing AFTER UPDATE OF name ON ctj_api_project
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION ctj_note_row('listing');
"""


class Migration(migrations.Migration):
    """No row is touched. The version before serves meanwhile, and a listing's times are empty until it is published."""

    dependencies = [("ctj_api", "0018_opportunity_meetings")]

    operations = [
        migrations.RunSQL(LOCKS, migrations.RunSQL.noop),
        migrations.AddField(
            "skill",
            "aliases",
            ArrayField(
                ctj_api.fields.NameField(max_length=255),
                blank=True,
                db_default=models.Value([], output_field=ArrayField(models.TextField())),
                default=list,
                size=20,
                verbose_name="other names",
            ),
        ),
        migrations.RunSQL(SKILL_NAMES, "DROP FUNCTION ctj_skill_names"),
        migrations.AddConstraint("skill", models.CheckConstraint(condition=ARE_NORMAL, name="skill_aliases_normal")),
        replaced("ctj_search_document", DOCUMENT, DOCUMENT_WITH_ALIASES),
        replaced("ctj_search_apart", APART, APART_WITH_ALIASES),
        migrations.RunSQL(WITH_ALIASES, WITHOUT_ALIASES),
        migrations.RunSQL(
            INDEX.format("ctj_skill_names(name, aliases)"),
            INDEX.format("name"),
            state_operations=[
                migrations.RemoveIndex("skill", "skill_search"),
                migrations.AddIndex("skill", GinIndex(LEXEMES, name="skill_search")),
            ],
        ),
        migrations.AddField("opportunity", "opened_at", models.DateTimeField(blank=True, editable=False, null=True)),
        migrations.AddField("opportunity", "filled_at", models.DateTimeField(blank=True, editable=False, null=True)),
        migrations.RunSQL(TIMES, "DROP FUNCTION ctj_status_times CASCADE"),
        migrations.CreateModel(
            "DeletedOpportunity",
            [
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("title", models.CharField(max_length=515)),
                ("contents", models.JSONField()),
                ("deleted_at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                (
                    "deleted_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            {
                "verbose_name": "deleted opportunity",
                "verbose_name_plural": "deleted opportunities",
                "ordering": ("-deleted_at", "id"),
            },
        ),
        migrations.RunSQL(TOLD, TOLD_BEFORE),
        migrations.RunSQL(migrations.RunSQL.noop, LOCKS),
    ]
