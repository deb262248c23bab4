"""What CivicTechJobs stores. Every rule of a field is a constraint of the database as well as a validator."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import uuid4

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.core.validators import MaxLengthValidator, MaxValueValidator
from django.db import models
from django.db.models import BaseConstraint, CheckConstraint, F, Q, UniqueConstraint
from django.db.models.functions import Lower
from django.utils import timezone

from . import constraints as rules
from . import querysets, validators
from .enums import Experience, PracticeArea, Source, Status, SyncOutcome, WorkEnvironment
from .fields import LowercaseEmailField, NameField, SkillLevelsField
from .validators import MAX_HOURS, MAX_NAME, validate_meeting_times, validate_person_name, validate_week_slots

MAX_PERSON_NAME = 150
MAX_BODY = 20_000
HOURS = [MaxValueValidator(MAX_HOURS)]
# What the filters of the list compare: an index of all of it lets PostgreSQL count without reading the table.
FILTERED = ("status", "work_environment", "min_experience_required", "min_hours_required", "project", "role")


class TimestampedModel(models.Model):
    """A row with a UUID for an id, and the times at which it was made and last changed."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class CatalogModel(TimestampedModel):
    """A row that is listed and picked, with who keeps it; one that is used no more is retired, not deleted."""

    source = models.CharField(
        max_length=16, choices=Source, default=Source.LOCAL, db_default=Source.LOCAL, editable=False
    )
    retired_at = models.DateTimeField(null=True, blank=True, editable=False)
    # When a synchronisation last wrote the row.
    seen_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True


class CommunityOfPractice(TimestampedModel):
    """A community that volunteers belong to; the five rows come with the migrations."""

    practice_area = models.CharField(max_length=32, choices=PracticeArea, unique=True)
    name = models.CharField(max_length=MAX_NAME)
    description = models.TextField(blank=True)
    people_depot_id = models.UUIDField(null=True, blank=True, unique=True, editable=False)

    class Meta:
        verbose_name = "community of practice"
        verbose_name_plural = "communities of practice"
        ordering = ("practice_area",)
        constraints: ClassVar = [
            rules.enum("practice_area", PracticeArea, "community_practice_area_enum"),
            rules.filled("name", "community_name_filled"),
        ]

    def __str__(self) -> str:
        return self.name


class Role(CatalogModel):
    """A job title within a community of practice; one without waits until an administrator gives it one."""

    title = NameField(max_length=MAX_NAME, db_collation=rules.COLLATION)
    community_of_practice = models.ForeignKey(
        CommunityOfPractice, null=True, on_delete=models.PROTECT, related_name="roles"
    )

    objects = querysets.RoleQuerySet.as_manager()

    class Meta:
        ordering = ("title", "id")
        indexes: ClassVar = [GinIndex(querysets.RoleQuerySet.document, name="role_search")]
        constraints: ClassVar = [
            UniqueConstraint(Lower("title"), "community_of_practice", name="role_title_unique_in_any_case"),
            rules.normal_name("title", "role_title_normal"),
            rules.enum("source", Source, "role_source_enum"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def practice_area(self) -> str:
        """The key of the role's community; empty while the title waits for one."""
        return self.community_of_practice.practice_area if self.community_of_practice else ""


class Project(CatalogModel):
    """A Hack for LA project that looks for volunteers."""

    name = NameField(max_length=MAX_NAME, db_collation=rules.COLLATION)
    people_depot_project_id = models.UUIDField(null=True, blank=True, unique=True)
    meeting_times = models.JSONField(null=True, blank=True, validators=[validate_meeting_times])

    objects = querysets.ProjectQuerySet.as_manager()

    class Meta:
        ordering = ("name", "id")
        indexes: ClassVar = [GinIndex(querysets.ProjectQuerySet.document, name="project_search")]
        constraints: ClassVar = [
            UniqueConstraint(Lower("name"), name="project_name_unique_in_any_case"),
            rules.normal_name("name", "project_name_normal"),
            rules.enum("source", Source, "project_source_enum"),
            rules.week_slots("meeting_times", "project_meeting_times_shape", validators.MEETING_KEYS),
        ]

    def __str__(self) -> str:
        return self.name


class Skill(CatalogModel):
    """A skill of the catalog; a trigger keeps one that a matrix rates from being deleted."""

    name = NameField(max_length=MAX_NAME, db_collation=rules.COLLATION)
    # It is found by these as well, in the search and in the skill picker.
    aliases = ArrayField(
        NameField(max_length=MAX_NAME),
        verbose_name="other names",
        size=validators.MAX_ALIASES,
        blank=True,
        default=list,
        db_default=models.Value([], output_field=ArrayField(models.TextField())),
    )
    description = models.TextField(blank=True)
    communities_of_practice = models.ManyToManyField(CommunityOfPractice, blank=True, related_name="skills")

    objects = querysets.SkillQuerySet.as_manager()

    class Meta:
        ordering = ("name", "id")
        indexes: ClassVar = [GinIndex(querysets.SkillQuerySet.document, name="skill_search")]
        constraints: ClassVar = [
            UniqueConstraint(
                Lower("name"),
                name="skill_name_unique_in_any_case",
                violation_error_message="There is a skill of this name already.",
            ),
            rules.normal_name("name", "skill_name_normal"),
            rules.normal_aliases(
                "aliases", "skill_aliases_normal", validators.MAX_ALIASES, validators.MAX_ALIASES_LENGTH
            ),
            rules.enum("source", Source, "skill_source_enum"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Normalise the other names; raises a ``ValidationError`` for a name of another skill."""
        others = querysets.by_any_name(Skill.objects.exclude(pk=self.pk))
        self.aliases = validators.clean_aliases(self.name, self.aliases, others)


class SkillMatrix(TimestampedModel):
    """The levels, 1 to 5, of the skills that somebody has or a listing requires; triggers give it one owner."""

    levels = SkillLevelsField(default=dict, blank=True)

    objects = querysets.SkillMatrixQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "skill matrices"
        indexes: ClassVar = [GinIndex(fields=["levels"], name="skill_matrix_levels")]
        constraints: ClassVar[list[BaseConstraint]] = rules.skill_levels("levels", "skill_matrix_levels")

    def __str__(self) -> str:
        return f"{len(self.levels)} rated skills"


class UserProfile(TimestampedModel, AbstractUser):
    """An account, known by its e-mail address: a volunteer, a project manager or an administrator."""

    username = None  # type: ignore[assignment]
    first_name = models.CharField(max_length=MAX_PERSON_NAME, blank=True, validators=[validate_person_name])
    last_name = models.CharField(max_length=MAX_PERSON_NAME, blank=True, validators=[validate_person_name])
    email = LowercaseEmailField("e-mail address", unique=True, db_collation=rules.COLLATION)
    community_of_practice = models.ForeignKey(
        CommunityOfPractice, null=True, blank=True, on_delete=models.PROTECT, related_name="members"
    )
    skills_learned_matrix = models.OneToOneField(
        SkillMatrix, null=True, blank=True, on_delete=models.PROTECT, related_name="volunteer"
    )
    max_available_hours = models.PositiveSmallIntegerField(
        "hours a week, at most", null=True, blank=True, validators=HOURS
    )
    meeting_availability = models.JSONField(null=True, blank=True, validators=[validate_week_slots])
    is_project_manager = models.BooleanField(
        "project manager", default=False, help_text="May post opportunities and see drafts."
    )
    # Who this is for Cognito: the user's ``sub`` in a pool, or both empty.
    cognito_pool = models.CharField(max_length=64, blank=True, db_default="", editable=False)
    cognito_sub = models.CharField(max_length=MAX_NAME, blank=True, db_default="", editable=False)
    people_depot_id = models.UUIDField(null=True, blank=True, unique=True, editable=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects = querysets.UserProfileManager.from_queryset(querysets.UserProfileQuerySet)()  # type: ignore[assignment, misc]

    class Meta:
        verbose_name = "user"
        ordering = ("email",)
        indexes: ClassVar = [GinIndex(querysets.UserProfileQuerySet.document, name="userprofile_search")]
        constraints: ClassVar = [
            CheckConstraint(condition=Q(email=Lower("email")), name="user_email_lower_case"),
            rules.filled("email", "user_email_filled"),
            UniqueConstraint(
                fields=("cognito_pool", "cognito_sub"),
                condition=~Q(cognito_sub=""),
                name="user_cognito_sub_unique_in_pool",
            ),
            CheckConstraint(
                condition=Q(cognito_pool="", cognito_sub="") | (~Q(cognito_pool="") & ~Q(cognito_sub="")),
                name="user_cognito_pool_with_sub",
            ),
            *rules.person_name("first_name", "user_first_name"),
            *rules.person_name("last_name", "user_last_name"),
            rules.weekly_hours("max_available_hours", "user_max_available_hours_range"),
            rules.week_slots("meeting_availability", "user_meeting_availability_shape", validators.AVAILABILITY_KEYS),
        ]

    def __str__(self) -> str:
        return self.email


class Opportunity(TimestampedModel):
    """A volunteer position that a project manager posts."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="opportunities")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="opportunities")
    body = models.TextField("description", max_length=MAX_BODY, validators=[MaxLengthValidator(MAX_BODY)])
    min_experience_required = models.CharField(
        "experience", max_length=16, choices=Experience, default=Experience.ANY, blank=True
    )
    min_hours_required = models.PositiveSmallIntegerField("hours a week", default=0, validators=HOURS)
    work_environment = models.CharField(max_length=16, choices=WorkEnvironment, default=WorkEnvironment.REMOTE)
    # Null where those of the project count.
    meeting_times = models.JSONField(null=True, blank=True, validators=[validate_meeting_times])
    skills_required_matrix = models.OneToOneField(SkillMatrix, on_delete=models.PROTECT, related_name="opportunity")
    status = models.CharField(max_length=16, choices=Status, default=Status.DRAFT)
    # When it was last published, and last filled. A trigger keeps both; until migration 0019 nobody did.
    opened_at = models.DateTimeField(null=True, blank=True, editable=False)
    filled_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        "UserProfile", null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="opportunities"
    )

    # What search looks in. Triggers keep it; the manager neither loads nor saves it.
    search_document = SearchVectorField(null=True, editable=False, serialize=False)

    objects = querysets.OpportunityManager.from_queryset(querysets.OpportunityQuerySet)()

    class Meta:
        verbose_name_plural = "opportunities"
        ordering = ("-created_at", "id")
        indexes: ClassVar = [
            GinIndex(fields=["search_document"], name="opportunity_search"),
            models.Index(F("created_at").desc(), "id", name="opportunity_newest_first"),
            models.Index("status", F("created_at").desc(), "id", name="opportunity_status_newest"),
            models.Index("updated_at", "id", name="opportunity_last_changed"),
            models.Index("min_hours_required", "id", name="opportunity_fewest_hours"),
            models.Index(*FILTERED, name="opportunity_filters"),
        ]
        constraints: ClassVar = [
            rules.enum("status", Status, "opportunity_status_enum"),
            rules.enum("work_environment", WorkEnvironment, "opportunity_work_environment_enum"),
            rules.enum("min_experience_required", Experience, "opportunity_min_experience_enum"),
            rules.weekly_hours("min_hours_required", "opportunity_min_hours_range"),
            rules.filled("body", "opportunity_body_filled", at_most=MAX_BODY),
            rules.week_slots("meeting_times", "opportunity_meeting_times_shape", validators.MEETING_KEYS),
        ]

    def __str__(self) -> str:
        return f"{self.role} for {self.project}"

    @property
    def meetings(self) -> dict[str, Any] | None:
        """The weekly meetings that count: its own, or else those of its project."""
        week: dict[str, Any] | None = self.project.meeting_times if self.meeting_times is None else self.meeting_times
        return week


class DeletedOpportunity(models.Model):
    """A listing that was deleted, under the same id: it can be restored until ``manage.py prune`` ends it."""

    id = models.UUIDField(primary_key=True, editable=False)
    title = models.CharField(max_length=2 * MAX_NAME + len(" for "))
    contents = models.JSONField()
    deleted_at = models.DateTimeField(default=timezone.now, db_index=True)
    deleted_by = models.ForeignKey("UserProfile", null=True, on_delete=models.SET_NULL, related_name="+")

    objects = querysets.DeletedOpportunityQuerySet.as_manager()

    class Meta:
        verbose_name = "deleted opportunity"
        verbose_name_plural = "deleted opportunities"
        ordering = ("-deleted_at", "id")

    def __str__(self) -> str:
        return self.title

    @property
    def updated_at(self) -> datetime:
        """When it was last changed: nobody changes what is deleted."""
        return self.deleted_at


class AccountSession(models.Model):
    """Whose session one of Django's table is; the database deletes this row with it."""

    session = models.OneToOneField(
        "sessions.Session", models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="account"
    )
    user = models.ForeignKey(UserProfile, on_delete=models.CASCADE, related_name="sessions")

    def __str__(self) -> str:
        return f"a session of {self.user}"


class AttemptCount(models.Model):
    """The number of attempts at something in a period; ``key`` is a digest of what was tried, and by whom."""

    key = models.CharField(max_length=64, primary_key=True)
    attempts = models.PositiveIntegerField()
    ends_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.attempts} until {self.ends_at:%H:%M:%S}"


class SyncRun(models.Model):
    """A synchronisation with PeopleDepot: when it ran, what it was to change, and how it ended."""

    started_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField()
    is_adoption = models.BooleanField("adoption", default=False)
    outcome = models.CharField(max_length=16, choices=SyncOutcome)
    # Lists of texts by ``added``, ``renamed``, ``retired``, ``returned``, ``waiting`` and ``conflicts``.
    plan = models.JSONField(default=dict)
    # Why it was refused, or failed.
    reason = models.TextField(blank=True)

    class Meta:
        verbose_name = "synchronisation"
        ordering = ("-started_at",)
        constraints: ClassVar = [rules.enum("outcome", SyncOutcome, "sync_run_outcome_enum")]

    def __str__(self) -> str:
        return f"{self.get_outcome_display()} at {timezone.localtime(self.started_at):%Y-%m-%d %H:%M}"
