"""Addresses are plain from now on, whoever writes them. Accounts that have another one keep it, and can be changed."""

from django.db import migrations

CREATE = r"""
CREATE FUNCTION ctj_email_is_plain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (TG_OP = 'INSERT' OR NEW.email <> OLD.email)
        AND NEW.email !~ '^[a-z0-9!#$''*+/=^_`{|}~.-]+@[a-z0-9-]+(\.[a-z0-9-]+)+$'
    THEN
        RAISE check_violation USING
            MESSAGE = 'an e-mail address is not plain',
            CONSTRAINT = 'user_email_plain';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER user_email_plain
    AFTER INSERT OR UPDATE OF email ON ctj_api_userprofile
    FOR EACH ROW EXECUTE FUNCTION ctj_email_is_plain();
"""
DROP = "DROP TRIGGER user_email_plain ON ctj_api_userprofile; DROP FUNCTION ctj_email_is_plain()"


class Migration(migrations.Migration):
    dependencies = [("ctj_api", "0010_plain_person_names")]

    operations = [migrations.RunSQL(CREATE, DROP)]
