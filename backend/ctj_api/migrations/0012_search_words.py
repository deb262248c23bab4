"""Search finds what people mean: one definition of how text becomes words, for documents and queries alike.

``docs/decisions/0041-search-words.md`` says why. Everything here can be run again after an interruption.
"""

from importlib import import_module
from itertools import batched

from django.apps.registry import Apps
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import migrations, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

BATCH_SIZE = 100
BEFORE = import_module("ctj_api.migrations.0004_search_document")

# Lower-case words, with a blank, a hyphen or a dot between them. A blank, hyphen or dot at the end tells that the last
# word is finished. Dashes and trade marks go first: NFKC and unaccent would make hyphens and letters of them.
WORDS = r"""
CREATE EXTENSION IF NOT EXISTS unaccent;
CREATE OR REPLACE FUNCTION ctj_search_form(content text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT AS $$
DECLARE
    form text COLLATE pg_c_utf8 := regexp_replace(
        content COLLATE pg_c_utf8, '[\u2012-\u2015\u00A9\u00AE\u2120\u2122]', ' ', 'g'
    );
BEGIN
    form := regexp_replace(  -- soft hyphens and what else can't be seen
        form, '[\u00AD\u061C\u180E\u200B-\u200F\u202A-\u202E\u2060-\u206F\uFE00-\uFE0F\uFEFF\U000E0000-\U000E0FFF]', '', 'g'
    );
    form := lower(unaccent('unaccent', lower(normalize(form, NFKC))));
    form := regexp_replace(form, '(\w)\+\+', '\1plusplus ', 'g');
    form := regexp_replace(form, '(?<!\w)([a-z])[#\u266F](?![[:alpha:]])', '\1sharp ', 'g');
    form := regexp_replace(form, '\.net(?!\w|\.\w| dotnet)', '.net dotnet', 'g');
    form := regexp_replace(form, '[[:punct:][:space:][:cntrl:]]{2,}|(?![-. ])[[:punct:][:space:][:cntrl:]]', ' ', 'g');
    RETURN ltrim(form, ' .-');
END $$;
CREATE OR REPLACE FUNCTION ctj_search_words(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rtrim(translate(ctj_search_form(content), '-.', '  '));
"""

# What a hyphen or a dot connects is also found joined, in names each word with the next one as well.
LEXEMES = r"""
CREATE OR REPLACE FUNCTION ctj_search_joined(form text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT coalesce(string_agg(translate(run[1], '-.', ''), ' '), '')
    FROM regexp_matches(form COLLATE pg_c_utf8, '([^ .-]+(?:[.-][^ .-]+)+)', 'g') AS run
);
CREATE OR REPLACE FUNCTION ctj_search_pairs(name text) RETURNS TABLE (first text, second text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE BEGIN ATOMIC
    SELECT word, lead(word) OVER (ORDER BY number)
    FROM string_to_table(ctj_search_words(name), ' ') WITH ORDINALITY AS words (word, number);
END;
CREATE OR REPLACE FUNCTION ctj_name_words(name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT concat_ws(' ', ctj_search_words(name), ctj_search_joined(ctj_search_form(name)), string_agg(first || second, ' '))
    FROM ctj_search_pairs(name)
);
CREATE OR REPLACE FUNCTION ctj_name_lexemes(names text, weight "char") RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT RETURN (
    SELECT setweight(to_tsvector('english', words) || to_tsvector('simple', words), weight)
    FROM (SELECT coalesce(string_agg(ctj_name_words(name), ' '), '') FROM string_to_table(names, E'\n') AS name) AS each (words)
);
CREATE OR REPLACE FUNCTION ctj_body_lexemes(body text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT RETURN (
    SELECT to_tsvector('english', words)
        || strip(to_tsvector('simple', words || ' ' || joined) || to_tsvector('english', joined))
    FROM ctj_search_form(body) AS form, translate(form, '-.', '  ') AS words, ctj_search_joined(form) AS joined
);
CREATE OR REPLACE FUNCTION ctj_search_lexemes(name text, more text DEFAULT '', most text DEFAULT '') RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 SET search_path FROM CURRENT
RETURN ctj_name_lexemes(name, 'A') || ctj_body_lexemes(more || E'\n' || most);
"""

LEXEMES_BEFORE = BEFORE.LEXEMES.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
TRIGGER_BEFORE = BEFORE.DOCUMENT.partition("CREATE TRIGGER")[0].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
# Names stay apart, so that no word is joined with one of another name.
TRIGGER = TRIGGER_BEFORE.replace("(name, ' '", r"(name, E'\n'").replace("concat_ws(' '", r"concat_ws(E'\n'")
DROP = "DROP FUNCTION ctj_search_lexemes, ctj_name_words, ctj_search_pairs, ctj_search_joined, ctj_search_form;"

# Each word may also be joined with its neighbour, and what the catalog writes apart may stand apart. ts_rank adds up
# what is found only where an "or" is on top.
QUERY = r"""
CREATE OR REPLACE FUNCTION ctj_search_apart(word text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
SET search_path FROM CURRENT AS $$
    SELECT string_agg(DISTINCT format('(%s <-> %s)', first, second), ' | ')
    FROM (
        SELECT title FROM ctj_api_role WHERE ctj_search_lexemes(title) @@ to_tsquery('simple', word)
        UNION ALL
        SELECT name FROM ctj_api_skill WHERE ctj_search_lexemes(name, description) @@ to_tsquery('simple', word)
    ) AS names (name), ctj_search_pairs(name)
    WHERE first || second = word AND to_tsvector('english', first) <> '' AND to_tsvector('english', second) <> ''
$$;
CREATE OR REPLACE FUNCTION ctj_search_query(content text) RETURNS tsquery LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path FROM CURRENT AS $$
DECLARE
    form text := ctj_search_form(content);
    words text[] := ARRAY(
        SELECT left(word, 255) FROM string_to_table(translate(form, '-.', '  '), ' ') AS word WHERE word <> '' LIMIT 100
    );
    last int := cardinality(words);
    ending text := CASE WHEN form COLLATE pg_c_utf8 ~ '[ .-]$' THEN '' ELSE ':*' END;
    in_any_form tsquery;
    beginning tsquery;
    finished tsquery := '';
    unfinished tsquery := '';
BEGIN
    FOR number IN 1..last LOOP
        CONTINUE WHEN to_tsvector('english', words[number]) = '';  -- a common word
        in_any_form := to_tsquery('english', concat_ws(
            ' | ',
            words[number],
            words[number - 1] || words[number],
            words[number] || words[number + 1],
            ctj_search_apart(words[number])
        ));
        finished := finished && in_any_form;
        beginning := to_tsquery('simple', CASE number
            WHEN last THEN concat_ws(' | ', words[last] || ending, words[last - 1] || words[last] || ending)
            WHEN last - 1 THEN words[number] || words[last] || ending
        END);
        unfinished := unfinished && coalesce(in_any_form || beginning, in_any_form);
    END LOOP;
    IF last > 0 AND numnode(finished) = 0 THEN
        finished := to_tsquery('simple', array_to_string(words, ' & '));
        unfinished := to_tsquery('simple', array_to_string(words, ' & ') || ending);
    END IF;
    RETURN finished || unfinished;
END $$;
"""

# A lock is waited for: it is a row's, which no reader waits for.
LOCKS = "SELECT set_config('lock_timeout', '0', true)"


def renew_search_documents(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Have the trigger write all documents anew, in short transactions: the site is served meanwhile."""
    alias = schema_editor.connection.alias
    opportunities = apps.get_model("ctj_api", "Opportunity").objects.using(alias)
    for pks in batched(list(opportunities.order_by("pk").values_list("pk", flat=True)), BATCH_SIZE):
        with transaction.atomic(using=alias), schema_editor.connection.cursor() as cursor:
            cursor.execute(LOCKS)
            batch = opportunities.filter(pk__in=pks)
            list(batch.select_for_update(no_key=True).order_by("pk").values_list("pk"))
            batch.update(search_document=None)


def index(model: str, *columns: str) -> migrations.RunSQL:
    """Return the operation that makes a model's search index beside the writes."""
    name, function = f"{model}_search", "ctj_search_lexemes"
    make = f"CREATE INDEX CONCURRENTLY {name} ON ctj_api_{model} USING gin ({function}({', '.join(columns)}))"
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
    lexemes = models.Func(*columns, function=function, output_field=SearchVectorField())
    return migrations.RunSQL(
        [drop, make], drop, state_operations=[migrations.AddIndex(model, GinIndex(lexemes, name=name))]
    )


class Migration(migrations.Migration):
    """The version before serves meanwhile: it finds in new documents what it found in old ones, but for accents."""

    atomic = False

    dependencies = [("ctj_api", "0011_plain_addresses")]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, renew_search_documents),
        migrations.RunSQL(WORDS + LEXEMES + TRIGGER, LEXEMES_BEFORE + TRIGGER_BEFORE + DROP),
        index("role", "title"),
        index("project", "name"),
        index("skill", "name", "description"),
        index("userprofile", "email", "first_name", "last_name"),
        migrations.RunSQL(QUERY, "DROP FUNCTION IF EXISTS ctj_search_query, ctj_search_apart"),
        migrations.RunPython(renew_search_documents, migrations.RunPython.noop),
    ]
