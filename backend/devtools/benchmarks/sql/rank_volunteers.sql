-- The first volunteers who overlap with what a listing requires, best first, each with the total.
SELECT id, count(*) OVER ()
FROM (
    SELECT u.id, u.created_at, {covered} AS covered, {met} AS met
    FROM ctj_api_userprofile AS u
    JOIN ctj_api_skillmatrix AS m ON m.id = u.skills_learned_matrix_id
    WHERE u.is_active AND m.levels ?| %(skills)s::text[]
) AS ranked
ORDER BY covered DESC, met DESC, created_at DESC, id
LIMIT %(page)s
