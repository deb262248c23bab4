"""A listing may have meetings of its own; where the column is null, those of its project count."""

from django.db import migrations, models

import ctj_api.constraints
import ctj_api.validators

WEEK = 'strict $ ? (@.type() == "object" && @.timezone.type() == "string" && @.timezone like_regex "^[A-Za-z0-9_+/-]{1,64}$" && !exists(@.keyvalue() ? (@.key != "timezone" && @.key != "slots")) && @.slots.type() == "array" && @.slots.size() <= 100 && !exists(@.slots[*] ? (!(@.type() == "object" && (@.day == "mon" || @.day == "tue" || @.day == "wed" || @.day == "thu" || @.day == "fri" || @.day == "sat" || @.day == "sun") && @.start.type() == "string" && @.start like_regex "^([01][0-9]|2[0-3]):[0-5][0-9]$" && @.end.type() == "string" && @.end like_regex "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$" && @.start < @.end && !exists(@.keyvalue() ? (@.key != "day" && @.key != "start" && @.key != "end" && @.key != "name")) && !exists(@.keyvalue() ? (@.key == "name" && (@.value.type() != "string" || @.value like_regex "^.{255}." flag "s")))) || ((@.type() == "object" && (@.day == "mon" || @.day == "tue" || @.day == "wed" || @.day == "thu" || @.day == "fri" || @.day == "sat" || @.day == "sun") && @.start.type() == "string" && @.start like_regex "^([01][0-9]|2[0-3]):[0-5][0-9]$" && @.end.type() == "string" && @.end like_regex "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$" && @.start < @.end && !exists(@.keyvalue() ? (@.key != "day" && @.key != "start" && @.key != "end" && @.key != "name")) && !exists(@.keyvalue() ? (@.key == "name" && (@.value.type() != "string" || @.value like_regex "^.{255}." flag "s")))) is unknown))))'
TRIGGER = """
CREATE OR REPLACE TRIGGER opportunity_update_notes_listing
    AFTER UPDATE OF project_id, role_id, body, min_experience_required, min_hours_required, work_environment,
        {}skills_required_matrix_id, status, created_by_id, created_at, updated_at ON ctj_api_opportunity
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
"""


class Migration(migrations.Migration):
    dependencies = [("ctj_api", "0017_people_depot")]

    operations = [
        migrations.AddField(
            "opportunity",
            "meeting_times",
            models.JSONField(blank=True, null=True, validators=[ctj_api.validators.validate_meeting_times]),
        ),
        migrations.AddConstraint(
            "opportunity",
            models.CheckConstraint(
                condition=models.Q(
                    ("meeting_times__isnull", True),
                    ctj_api.constraints.JSONPathExists("meeting_times", WEEK),
                    _connector="OR",
                ),
                name="opportunity_meeting_times_shape",
            ),
        ),
        migrations.RunSQL(TRIGGER.format("meeting_times, "), TRIGGER.format("")),
    ]
