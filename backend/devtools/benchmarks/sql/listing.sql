-- The first hundred listings, as the API shows them.
SELECT
    o.id, o.project_id AS project, p.name AS project_name, o.role_id AS role, r.title AS role_title,
    r.community_of_practice_id AS community_of_practice, c.name AS community_of_practice_name, o.body,
    o.min_experience_required, o.min_hours_required, o.work_environment, o.meeting_times,
    p.meeting_times AS project_meeting_times, m.levels AS skills_required_matrix, rated.skills AS skills_required,
    o.status, u.email AS created_by, o.created_at, o.updated_at
FROM (
    SELECT * FROM ctj_api_opportunity WHERE status <> 'draft' ORDER BY created_at DESC, id LIMIT 100
) AS o
JOIN ctj_api_project AS p ON p.id = o.project_id
JOIN ctj_api_role AS r ON r.id = o.role_id
JOIN ctj_api_communityofpractice AS c ON c.id = r.community_of_practice_id
JOIN ctj_api_skillmatrix AS m ON m.id = o.skills_required_matrix_id
LEFT JOIN ctj_api_userprofile AS u ON u.id = o.created_by_id
CROSS JOIN LATERAL (
    SELECT coalesce(
        json_agg(
            json_build_object('skill', s.id, 'name', s.name, 'level', l.value::int)
            ORDER BY l.value::int DESC, s.name, s.id
        ), '[]'
    ) AS skills
    FROM jsonb_each_text(m.levels) AS l JOIN ctj_api_skill AS s ON s.id = l.key::uuid
) AS rated
ORDER BY o.created_at DESC, o.id
