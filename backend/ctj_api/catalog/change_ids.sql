-- Gives rows of the catalogs other ids: %(ids)s is {model: {old id: new id}}.
-- What these triggers keep doesn't depend on ids, or holds again when all are written. The other ones go on.
-- Nobody else notices, since the transaction has locked the tables.
-- No table may be altered while a foreign key of its rows is yet to be checked.
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE ctj_api_skill DISABLE TRIGGER skill_rated_stays;
ALTER TABLE ctj_api_skillmatrix DISABLE TRIGGER matrix_renews_search_documents;
ALTER TABLE ctj_api_opportunity DISABLE TRIGGER opportunity_search_document_kept;
SET CONSTRAINTS ALL DEFERRED;

-- A row goes by way of an id that nobody has: its new one may be that of another row until now.
CREATE TEMPORARY TABLE moved AS
    SELECT model, old::uuid, gen_random_uuid() AS way, new::uuid
    FROM jsonb_each(%(ids)s::jsonb) AS models (model, pairs), jsonb_each_text(pairs) AS changes (old, new);

UPDATE ctj_api_skill SET id = way FROM moved WHERE model = 'skill' AND id = old;
UPDATE ctj_api_skill SET id = new FROM moved WHERE model = 'skill' AND id = way;
UPDATE ctj_api_skill_communities_of_practice SET skill_id = way FROM moved WHERE model = 'skill' AND skill_id = old;
UPDATE ctj_api_skill_communities_of_practice SET skill_id = new FROM moved WHERE model = 'skill' AND skill_id = way;
UPDATE ctj_api_role SET id = way FROM moved WHERE model = 'role' AND id = old;
UPDATE ctj_api_role SET id = new FROM moved WHERE model = 'role' AND id = way;
UPDATE ctj_api_project SET id = way FROM moved WHERE model = 'project' AND id = old;
UPDATE ctj_api_project SET id = new FROM moved WHERE model = 'project' AND id = way;

UPDATE ctj_api_opportunity SET
    project_id = coalesce((%(ids)s::jsonb -> 'project' ->> project_id::text)::uuid, project_id),
    role_id = coalesce((%(ids)s::jsonb -> 'role' ->> role_id::text)::uuid, role_id)
WHERE %(ids)s::jsonb -> 'project' ? project_id::text OR %(ids)s::jsonb -> 'role' ? role_id::text;

UPDATE ctj_api_skillmatrix SET levels = (
    SELECT jsonb_object_agg(coalesce(%(ids)s::jsonb -> 'skill' ->> key, key), value) FROM jsonb_each(levels)
)
WHERE levels ?| ARRAY(SELECT jsonb_object_keys(%(ids)s::jsonb -> 'skill'));

-- Their skills are found by name, too.
UPDATE ctj_api_deletedopportunity SET contents = contents || jsonb_build_object(
    'project_id', coalesce(%(ids)s::jsonb -> 'project' ->> (contents ->> 'project_id'), contents ->> 'project_id'),
    'role_id', coalesce(%(ids)s::jsonb -> 'role' ->> (contents ->> 'role_id'), contents ->> 'role_id')
);

UPDATE django_admin_log SET object_id = new FROM moved, django_content_type AS kind
WHERE content_type_id = kind.id AND app_label = 'ctj_api' AND kind.model = moved.model AND object_id = old::text;

DROP TABLE moved;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE ctj_api_skill ENABLE TRIGGER skill_rated_stays;
ALTER TABLE ctj_api_skillmatrix ENABLE TRIGGER matrix_renews_search_documents;
ALTER TABLE ctj_api_opportunity ENABLE TRIGGER opportunity_search_document_kept;
SET CONSTRAINTS ALL DEFERRED;
