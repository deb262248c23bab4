"""A listing tells its community's name and its project's meetings: their changes are noted like those of other names."""

from django.db import migrations

TRIGGERS = """
CREATE OR REPLACE TRIGGER community_notes_listing
    AFTER UPDATE OF practice_area, name OR DELETE ON ctj_api_communityofpractice
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
CREATE OR REPLACE TRIGGER project_name_notes_listing AFTER UPDATE OF name, meeting_times ON ctj_api_project
    FOR EACH ROW WHEN ((OLD.name, OLD.meeting_times) IS DISTINCT FROM (NEW.name, NEW.meeting_times))
    EXECUTE FUNCTION ctj_note_row('listing');
"""
BEFORE = """
CREATE OR REPLACE TRIGGER community_notes_listing
    AFTER UPDATE OF practice_area OR DELETE ON ctj_api_communityofpractice
    FOR EACH ROW EXECUTE FUNCTION ctj_note_row('listing');
CREATE OR REPLACE TRIGGER project_name_notes_listing AFTER UPDATE OF name ON ctj_api_project
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION ctj_note_row('listing');
"""


class Migration(migrations.Migration):
    """Replaces two triggers, which waits for writers of their tables only."""

    dependencies = [("ctj_api", "0019_desk")]

    operations = [migrations.RunSQL(TRIGGERS, BEFORE)]
