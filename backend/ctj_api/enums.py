"""The closed sets of values that models, serializers and constraints share."""

from django.db import models


class PracticeArea(models.TextChoices):
    """The five communities of practice of Hack for LA."""

    DATA_SCIENCE = "data_science", "Data Science"
    ENGINEERING = "engineering", "Engineering"
    DEVOPS = "devops", "DevOps"
    PROJECT_MANAGEMENT = "project_management", "Project/Product Management"
    UI_UX = "ui_ux", "UI/UX"


class Status(models.TextChoices):
    """Where a listing stands; all but drafts are public."""

    DRAFT = "draft", "Draft"
    OPEN = "open", "Open"
    ON_HOLD = "on_hold", "On hold"
    FILLED = "filled", "Filled"
    CLOSED = "closed", "Closed"


class SkillLevel(models.IntegerChoices):
    """What each level of a skill matrix means, said of the volunteer."""

    TRIED = 1, "has tried it"
    WITH_HELP = 2, "can do it with help"
    INDEPENDENT = 3, "works on their own"
    IN_DEPTH = 4, "knows it in depth"
    LEADING = 5, "can lead and teach it"


class WorkEnvironment(models.TextChoices):
    """Where the work is done."""

    REMOTE = "remote", "Remote"
    HYBRID = "hybrid", "Hybrid"
    IN_PERSON = "in_person", "In person"


class Experience(models.TextChoices):
    """How much experience the position asks for."""

    ANY = "", "Any"
    JUNIOR = "junior", "Junior"
    MID_LEVEL = "mid_level", "Mid level"
    SENIOR = "senior", "Senior"


class Source(models.TextChoices):
    """Who keeps a row of a catalog."""

    LOCAL = "local", "CivicTechJobs"
    PEOPLE_DEPOT = "peopledepot", "PeopleDepot"


class SyncOutcome(models.TextChoices):
    """How a synchronisation with PeopleDepot ended."""

    DONE = "done", "Done"
    CONFLICTS = "conflicts", "Done, but for conflicts"
    REFUSED = "refused", "Refused: too much would change"
    FAILED = "failed", "Failed: nothing was changed"


class Ordering(models.TextChoices):
    """The orders in which opportunities are listed."""

    NEWEST = "-created_at"
    OLDEST = "created_at"
    RECENTLY_CHANGED = "-updated_at"
    LONGEST_UNCHANGED = "updated_at"
    FEWEST_HOURS = "min_hours_required"
    MOST_HOURS = "-min_hours_required"
    RELEVANCE = "relevance"
