coalesce(((
    SELECT jsonb_object_agg(skill, uses) FROM (
        SELECT jsonb_object_keys(levels) AS skill, count(*) AS uses
        FROM ctj_api_skillmatrix JOIN ctj_api_%(owner)s ON %(matrix)s = ctj_api_skillmatrix.id GROUP BY 1
    ) AS counted
) ->> %(expressions)s)::integer, 0)
