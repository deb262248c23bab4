-- Each account by its address and each listing by its body, with all that the writes write; each session by its key.
SELECT u.email, jsonb_build_array(
    u.first_name, u.community_of_practice_id, m.levels, u.max_available_hours, u.meeting_availability
)
FROM ctj_api_userprofile u LEFT JOIN ctj_api_skillmatrix m ON m.id = u.skills_learned_matrix_id
UNION ALL
SELECT o.body, jsonb_build_array(o.min_hours_required, m.levels, u.email)
FROM ctj_api_opportunity o
LEFT JOIN ctj_api_skillmatrix m ON m.id = o.skills_required_matrix_id
LEFT JOIN ctj_api_userprofile u ON u.id = o.created_by_id
UNION ALL
SELECT session_key, '[]' FROM django_session
