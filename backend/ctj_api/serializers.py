"""What goes over the wire: a read serializer for each resource, and a write serializer where it is written."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, cast

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import Model, QuerySet
from django.db.models.functions import Cast
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from .accounts.password_reset import locked_owner
from .matching import Levels, SkillStatus
from .models import CommunityOfPractice, Opportunity, Project, Role, Skill, SkillMatrix, UserProfile
from .ranking.matches import Match
from .validators import (
    DAYS,
    END_OF_DAY,
    MAX_LEVEL,
    MAX_PASSWORD,
    MAX_SKILLS,
    MAX_SLOT_NAME,
    MAX_SLOTS,
    MIN_LEVEL,
    clean_skill_levels,
    is_uuid,
    validate_ascii,
    validate_week_slots,
)

MAX_LINK_PART = 200
LINK_IS_DEAD = "This link is wrong, was used already, or is too old. Ask for another one."
SCORE_PLACES = 4
SKILL_NAMES = "skill_names"
EMAIL_TAKEN = "There is an account with this e-mail address already."

_LEVELS_SCHEMA = {
    "type": "object",
    "description": "Skill id → level.",
    "propertyNames": {"format": "uuid"},
    "additionalProperties": {"type": "integer", "minimum": MIN_LEVEL, "maximum": MAX_LEVEL},
    "maxProperties": MAX_SKILLS,
}


def _week_schema(**more_of_a_slot: dict[str, Any]) -> dict[str, Any]:
    slot = {
        "day": {"type": "string", "enum": list(DAYS)},
        "start": {"type": "string", "description": "HH:MM", "examples": ["18:00"]},
        "end": {"type": "string", "description": f"HH:MM, at the latest {END_OF_DAY}", "examples": ["20:00"]},
    }
    slots = {
        "type": "array",
        "maxItems": MAX_SLOTS,
        "items": {
            "type": "object",
            "required": list(slot),
            "properties": {**slot, **more_of_a_slot},
            "additionalProperties": False,
        },
    }
    timezone = {"type": "string", "description": "IANA name.", "examples": ["America/Los_Angeles"]}
    return {
        "type": "object",
        "description": "Weekly slots in one time zone; null means not given.",
        "required": ["timezone", "slots"],
        "properties": {"timezone": timezone, "slots": slots},
        "additionalProperties": False,
    }


@extend_schema_field(_week_schema())
class AvailabilityField(serializers.JSONField):
    """When a volunteer is free, in weekly slots of one time zone."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, validators=[validate_week_slots], **kwargs)


@extend_schema_field(_week_schema(name={"type": "string", "maxLength": MAX_SLOT_NAME}))
class MeetingTimesField(serializers.JSONField):
    """When a project meets, in weekly slots of one time zone."""


class RowField(serializers.PrimaryKeyRelatedField[Model]):
    """A row, given by its id as answers write it, in any case."""

    def run_validation(self, data: Any = empty) -> Any:
        """Return the row; raises ``ValidationError`` for an empty text as well, which REST framework takes for null."""
        if data == "":
            return self.to_internal_value(data)
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> Model:
        """Return the row; raises ``ValidationError`` where the id is none, or nobody's."""
        rows = cast("QuerySet[Model]", self.get_queryset())
        name = rows.model._meta.verbose_name
        if not is_uuid(data):
            raise serializers.ValidationError(f"Give the id of a {name}.")
        row = rows.filter(pk=data).first()
        if row is None:
            raise serializers.ValidationError(f"There is no {name} with this id.")
        return row


class WholeNumberField(serializers.IntegerField):
    """A number of JSON that is whole: no text, and nothing to be rounded."""

    def to_internal_value(self, data: Any) -> int:
        """Return the number; raises ``ValidationError`` for anything else."""
        if isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class TextField(serializers.CharField):
    """A text of JSON: no number, which REST framework would write out."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text; raises ``ValidationError`` for anything else."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class EmailTextField(TextField, serializers.EmailField):
    """An e-mail address."""


class StrictModelSerializer[M: Model](serializers.ModelSerializer[M]):
    """Takes ids, numbers and texts in one form only."""

    serializer_related_field = RowField
    serializer_field_mapping: ClassVar = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.PositiveSmallIntegerField: WholeNumberField,
        models.CharField: TextField,
        models.TextField: TextField,
        models.EmailField: EmailTextField,
    }


class CommunityOfPracticeReadSerializer(serializers.ModelSerializer[CommunityOfPractice]):
    """A community of practice."""

    class Meta:
        model = CommunityOfPractice
        fields = ("id", "practice_area", "name", "description", "created_at", "updated_at")
        read_only_fields = fields


class RoleReadSerializer(serializers.ModelSerializer[Role]):
    """A role of a community of practice."""

    class Meta:
        model = Role
        fields = ("id", "title", "community_of_practice", "created_at", "updated_at")
        read_only_fields = fields


class ProjectReadSerializer(serializers.ModelSerializer[Project]):
    """A project with the times of its weekly meetings."""

    meeting_times = MeetingTimesField(read_only=True, allow_null=True)

    class Meta:
        model = Project
        fields = ("id", "name", "people_depot_project_id", "meeting_times", "created_at", "updated_at")
        read_only_fields = fields


class SkillReadSerializer(serializers.ModelSerializer[Skill]):
    """A skill of the catalog."""

    class Meta:
        model = Skill
        fields = ("id", "name", "description", "communities_of_practice", "created_at", "updated_at")
        read_only_fields = fields


class RatedSkillReadSerializer(serializers.Serializer[dict[str, Any]]):
    """A skill with its level, as people read it."""

    skill = serializers.UUIDField()
    name = serializers.CharField()
    level = serializers.IntegerField(min_value=MIN_LEVEL, max_value=MAX_LEVEL)


@extend_schema_field(_LEVELS_SCHEMA)
class SkillLevelsField(serializers.Field[Any, Any, Any, Any]):
    """``{skill id: level}``."""

    def to_internal_value(self, data: Any) -> dict[str, int]:
        """Return the levels in normal form; raises ``ValidationError`` with a message for each wrong entry."""
        try:
            return clean_skill_levels(data)
        except DjangoValidationError as error:
            raise serializers.ValidationError(error.messages) from error

    def to_representation(self, value: SkillMatrix) -> dict[str, int]:
        """Return the levels of a stored matrix."""
        levels: dict[str, int] = value.levels
        return levels


class SkillMatrixReadMixin(serializers.Serializer[Any]):
    """Tells the names of rated skills, with one query for all rows of a response."""

    def rated_skills(self, levels: Levels) -> list[dict[str, Any]]:
        """Return the skills of a matrix, highest level first, then by name."""
        names = self.skill_names
        rated = [
            {"skill": skill, "name": names[skill], "level": level} for skill, level in levels.items() if skill in names
        ]
        return sorted(rated, key=lambda entry: (-entry["level"], entry["name"], entry["skill"]))

    @property
    def skill_names(self) -> dict[str, str]:
        """Return id → name of all skills."""
        context = cast("dict[str, Any]", self.context)
        if SKILL_NAMES not in context:
            ids_as_text = Skill.objects.order_by().annotate(key=Cast("pk", models.TextField()))
            context[SKILL_NAMES] = dict(ids_as_text.values_list("key", "name"))
        names: dict[str, str] = context[SKILL_NAMES]
        return names


class OpportunityReadSerializer(SkillMatrixReadMixin, serializers.ModelSerializer[Opportunity]):
    """A listing with the names of what it refers to."""

    columns: ClassVar[dict[str, str]] = {
        "id": "pk",
        "project": "project_id",
        "project_name": "project__name",
        "role": "role_id",
        "role_title": "role__title",
        "community_of_practice": "role__community_of_practice_id",
        "body": "body",
        "min_experience_required": "min_experience_required",
        "min_hours_required": "min_hours_required",
        "work_environment": "work_environment",
        "skills_required_matrix": "skills_required_matrix__levels",
        "status": "status",
        "created_by": "created_by__email",
        "created_at": "created_at",
        "updated_at": "updated_at",
    }

    project_name = serializers.CharField()
    role_title = serializers.CharField()
    community_of_practice = serializers.UUIDField()
    skills_required_matrix = SkillLevelsField()
    skills_required = RatedSkillReadSerializer(many=True, read_only=True)
    created_by = serializers.EmailField(read_only=True, allow_null=True)

    class Meta:
        model = Opportunity
        fields = (
            "id",
            "project",
            "project_name",
            "role",
            "role_title",
            "community_of_practice",
            "body",
            "min_experience_required",
            "min_hours_required",
            "work_environment",
            "skills_required_matrix",
            "skills_required",
            "status",
            "created_by",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields

    def to_representation(self, instance: Opportunity | tuple[Any, ...]) -> dict[str, Any]:
        """Return the shape, from an instance or a row of ``columns``, with ids and times as the renderer takes them.

        The fields describe it. To ask each of them for each value, as REST framework does, takes five times as long
        as to read the rows.
        """
        row = instance if isinstance(instance, tuple) else tuple(_values(instance, self.columns.values()))
        values = dict(zip(self.columns, row, strict=True))
        values["skills_required"] = self.rated_skills(values["skills_required_matrix"])
        return {name: values[name] for name in self.Meta.fields}


class OpportunityWriteSerializer(StrictModelSerializer[Opportunity]):
    """What a project manager says of a listing; the view stamps who that is."""

    skills_required_matrix = SkillLevelsField(required=False)

    class Meta:
        model = Opportunity
        fields = (
            "project",
            "role",
            "body",
            "min_experience_required",
            "min_hours_required",
            "work_environment",
            "skills_required_matrix",
            "status",
        )

    @transaction.atomic(savepoint=False)
    def create(self, validated_data: dict[str, Any]) -> Opportunity:
        """Save the listing together with its matrix."""
        levels = validated_data.pop("skills_required_matrix", {})
        return super().create({**validated_data, "skills_required_matrix": SkillMatrix.objects.store(levels)})

    @transaction.atomic(savepoint=False)
    def update(self, instance: Opportunity, validated_data: dict[str, Any]) -> Opportunity:
        """Save the changed listing together with its matrix."""
        if "skills_required_matrix" in validated_data:
            levels = validated_data.pop("skills_required_matrix")
            SkillMatrix.objects.store(levels, into=instance.skills_required_matrix)
        return super().update(instance, validated_data)

    def to_representation(self, instance: Opportunity) -> dict[str, Any]:
        """Answer a write with the read shape."""
        representation: dict[str, Any] = OpportunityReadSerializer(instance, context=self.context).data
        return representation


class UserReadSerializer(SkillMatrixReadMixin, serializers.ModelSerializer[UserProfile]):
    """An account as its owner sees it."""

    name = serializers.CharField(source="get_full_name", allow_blank=True)
    meeting_availability = AvailabilityField(read_only=True)
    skills_learned_matrix = serializers.SerializerMethodField()
    skills_learned = serializers.SerializerMethodField()

    class Meta:
        model = UserProfile
        fields = (
            "id",
            "email",
            "first_name",
            "last_name",
            "name",
            "community_of_practice",
            "skills_learned_matrix",
            "skills_learned",
            "max_available_hours",
            "meeting_availability",
            "is_project_manager",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields

    @extend_schema_field(_LEVELS_SCHEMA)
    def get_skills_learned_matrix(self, user: UserProfile) -> dict[str, int]:
        """Return the levels, none before the qualifier was filled in."""
        return user.skills_learned_matrix.levels if user.skills_learned_matrix else {}

    @extend_schema_field(RatedSkillReadSerializer(many=True))
    def get_skills_learned(self, user: UserProfile) -> list[dict[str, Any]]:
        """Return the rated skills by name."""
        return self.rated_skills(self.get_skills_learned_matrix(user))


class UserWriteSerializer(StrictModelSerializer[UserProfile]):
    """What the qualifier flow asks a volunteer; a client that sends anything else changes nothing by it."""

    skills_learned_matrix = SkillLevelsField()
    meeting_availability = AvailabilityField()

    class Meta:
        model = UserProfile
        fields = ("community_of_practice", "skills_learned_matrix", "max_available_hours", "meeting_availability")
        extra_kwargs: ClassVar[dict[str, dict[str, Any]]] = {
            "community_of_practice": {"required": True},
            "max_available_hours": {"required": True},
        }

    @transaction.atomic(savepoint=False)
    def update(self, instance: UserProfile, validated_data: dict[str, Any]) -> UserProfile:
        """Save the answers together with the matrix, whose row is made by the first one."""
        if "skills_learned_matrix" in validated_data:
            levels = validated_data["skills_learned_matrix"]
            matrix = SkillMatrix.objects.store(levels, into=instance.skills_learned_matrix)
            validated_data = {**validated_data, "skills_learned_matrix": matrix}
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save(update_fields=[*validated_data, "updated_at"])
        return instance

    def to_representation(self, instance: UserProfile) -> dict[str, Any]:
        """Answer with the read shape."""
        representation: dict[str, Any] = UserReadSerializer(instance, context=self.context).data
        return representation


class SkillComparisonReadSerializer(serializers.Serializer[dict[str, Any]]):
    """A required skill beside what the volunteer has of it."""

    skill = serializers.UUIDField()
    name = serializers.CharField()
    required = serializers.IntegerField(min_value=MIN_LEVEL, max_value=MAX_LEVEL)  # type: ignore[assignment]
    have = serializers.IntegerField(min_value=0, max_value=MAX_LEVEL, help_text="0 for a skill that is missing.")
    status = serializers.ChoiceField([(status.value, status.name) for status in SkillStatus])


class MatchReadSerializer(SkillMatrixReadMixin, serializers.Serializer[Match]):
    """How well an opportunity and a volunteer go together, and why."""

    score = serializers.SerializerMethodField()
    met_count = serializers.IntegerField(source="score.met_count")
    required_count = serializers.IntegerField(source="score.required_count")
    skills = serializers.SerializerMethodField()
    fits_hours = serializers.BooleanField(
        allow_null=True, help_text="Whether the volunteer has the hours; null where they didn't say."
    )
    fits_meetings = serializers.BooleanField(
        allow_null=True,
        help_text="Whether the volunteer is free for at least one meeting; null where either side didn't say.",
    )

    @extend_schema_field({"type": "number", "minimum": 0, "maximum": 1})
    def get_score(self, match: Match) -> float:
        """Return the score, rounded to four places."""
        return round(match.score.value or 0.0, SCORE_PLACES)

    @extend_schema_field(SkillComparisonReadSerializer(many=True))
    def get_skills(self, match: Match) -> list[dict[str, Any]]:
        """Return the required skills, unmet ones first, the largest gap first, then by name."""
        compared = [(comparison, self.skill_names.get(comparison.skill, "")) for comparison in match.skills]
        compared.sort(key=lambda pair: (-pair[0].gap, pair[1], pair[0].skill))
        return [{**pair._asdict(), "name": name, "status": pair.status} for pair, name in compared]


class OpportunityMatchReadSerializer(MatchReadSerializer):
    """An opportunity for the signed-in volunteer."""

    opportunity = OpportunityReadSerializer()


class VolunteerReadSerializer(serializers.ModelSerializer[UserProfile]):
    """What project managers see of a volunteer."""

    name = serializers.CharField(source="get_full_name", allow_blank=True)

    class Meta:
        model = UserProfile
        fields = ("id", "name", "email", "community_of_practice", "max_available_hours")
        read_only_fields = fields


class VolunteerMatchReadSerializer(MatchReadSerializer):
    """A volunteer for an opportunity."""

    volunteer = VolunteerReadSerializer()


class PasswordField(TextField):
    """A password, taken as it is and never told."""

    def __init__(self) -> None:
        super().__init__(max_length=MAX_PASSWORD, trim_whitespace=False, write_only=True)


class SignupWriteSerializer(StrictModelSerializer[UserProfile]):
    """What someone gives to sign up."""

    password = PasswordField()

    class Meta:
        model = UserProfile
        fields = ("email", "password", "first_name", "last_name")
        extra_kwargs: ClassVar[dict[str, dict[str, Any]]] = {"email": {"validators": [validate_ascii]}}

    def validate_email(self, email: str) -> str:
        """Return the address; raises ``ValidationError`` where an account has it."""
        if UserProfile.objects.filter(email=email).exists():
            raise serializers.ValidationError(EMAIL_TAKEN)
        return email

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the values; raises ``ValidationError`` for a password that is easily guessed."""
        owner = UserProfile(**{name: value for name, value in attrs.items() if name != "password"})
        _check_password(attrs["password"], owner)
        return attrs

    def create(self, validated_data: dict[str, Any]) -> UserProfile:
        """Save the account; raises ``ValidationError`` where another request took the address meanwhile."""
        try:
            with transaction.atomic():
                return UserProfile.objects.create_user(**validated_data)
        except IntegrityError:
            if UserProfile.objects.filter(email=validated_data["email"]).exists():
                raise serializers.ValidationError({"email": [EMAIL_TAKEN]}) from None
            raise


class LoginWriteSerializer(serializers.Serializer[UserProfile]):
    """What someone gives to sign in."""

    email = EmailTextField(max_length=254)
    password = PasswordField()


class ForgotPasswordWriteSerializer(serializers.Serializer[UserProfile]):
    """Where somebody who forgot their password wants a link."""

    email = EmailTextField(max_length=254)


class ResetPasswordWriteSerializer(serializers.Serializer[UserProfile]):
    """What a mailed link says, and the password that its owner wants."""

    uid = TextField(max_length=MAX_LINK_PART)
    token = TextField(max_length=MAX_LINK_PART)
    password = PasswordField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the account, locked, and the password; raises ``ValidationError`` where the link or it won't do."""
        owner = locked_owner(attrs["uid"], attrs["token"])
        if owner is None:
            raise serializers.ValidationError({"token": [LINK_IS_DEAD]})
        _check_password(attrs["password"], owner)
        return {"owner": owner, "password": attrs["password"]}


class CsrfTokenReadSerializer(serializers.Serializer[dict[str, str]]):
    """The token that every unsafe request sends back as ``X-CSRFToken``."""

    csrf_token = serializers.CharField()


def _check_password(password: str, owner: UserProfile) -> None:
    """Raise a ``ValidationError`` for a password that is easily guessed."""
    try:
        validate_password(password, owner)
    except DjangoValidationError as error:
        raise serializers.ValidationError({"password": error.messages}) from error


def _values(row: Model, paths: Iterable[str]) -> Iterator[Any]:
    """Return what the paths of a query lead to, from an instance; ``None`` where one ends early."""
    for path in paths:
        value: Any = row
        for name in path.split("__"):
            value = getattr(value, name, None)
        yield value
