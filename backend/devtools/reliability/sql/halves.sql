-- Halves of what is written together, which no transaction leaves.
SELECT 'a matrix without an owner: ' || m.id FROM ctj_api_skillmatrix m
WHERE NOT EXISTS (SELECT FROM ctj_api_opportunity o WHERE o.skills_required_matrix_id = m.id)
AND NOT EXISTS (SELECT FROM ctj_api_userprofile u WHERE u.skills_learned_matrix_id = m.id)
UNION ALL
SELECT 'a listing without one entry of its addition in the history: ' || o.body FROM ctj_api_opportunity o
WHERE o.body LIKE 'Listing %'
AND 1 <> (SELECT count(*) FROM django_admin_log l WHERE l.object_id = o.id::text AND l.action_flag = 1)
UNION ALL
SELECT 'an entry of the history without its listing: ' || l.object_repr
FROM django_admin_log l JOIN django_content_type t ON t.id = l.content_type_id
WHERE t.model = 'opportunity' AND l.action_flag = 1
AND NOT EXISTS (SELECT FROM ctj_api_opportunity o WHERE o.id::text = l.object_id)
