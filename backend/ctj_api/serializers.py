"""What the API tells and takes: a read serializer for each resource, and a write serializer where it is written."""

from typing import Any, ClassVar

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from .accounts.password_reset import locked_owner
from .http.schema import PARTS
from .http.serializer_fields import (
    AvailabilityField,
    CommunityField,
    CurrentPasswordField,
    EmailTextField,
    MeetingTimesField,
    PasswordField,
    RatedSkillsField,
    RowField,
    SkillLevelsField,
    StrictModelSerializer,
    TextField,
    all_skill_names,
    columns_of,
    value_at,
)
from .models import CommunityOfPractice, Opportunity, Project, Role, Skill, SkillMatrix, UserProfile
from .ranking.availability import Meeting
from .ranking.matches import Match
from .validators import validate_plain_address

MAX_LINK_PART = 200
LINK_IS_DEAD = "This link is wrong, was used already, or is too old. Ask for another one."
SCORE_PLACES = 4
EMAIL_TAKEN = "There is an account with this e-mail address already."


class CommunityOfPracticeReadSerializer(serializers.ModelSerializer[CommunityOfPractice]):
    """A community of practice."""

    class Meta:
        model = CommunityOfPractice
        fields = ("id", "practice_area", "name", "description", "created_at", "updated_at")
        read_only_fields = fields


class RoleReadSerializer(serializers.ModelSerializer[Role]):
    """A role of a community of practice."""

    community_of_practice = serializers.UUIDField(source="community_of_practice_id", read_only=True)

    class Meta:
        model = Role
        fields = ("id", "title", "community_of_practice", "created_at", "updated_at")
        read_only_fields = fields


class ProjectReadSerializer(serializers.ModelSerializer[Project]):
    """A project with the times of its weekly meetings."""

    meeting_times = MeetingTimesField(read_only=True)

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


class OpportunityReadSerializer(serializers.ModelSerializer[Opportunity]):
    """A listing with the names of what it refers to."""

    columns: ClassVar[dict[str, str]]

    project_name = serializers.CharField(source="project.name")
    role_title = serializers.CharField(source="role.title")
    community_of_practice = serializers.UUIDField(source="role.community_of_practice_id")
    community_of_practice_name = serializers.CharField(source="role.community_of_practice.name")
    meeting_times = MeetingTimesField(read_only=True)
    project_meeting_times = MeetingTimesField(source="project.meeting_times", read_only=True)
    skills_required_matrix = SkillLevelsField(source="skills_required_matrix.levels")
    skills_required = RatedSkillsField(source="skills_required_matrix.levels", read_only=True)
    created_by = serializers.EmailField(source="created_by.email", read_only=True, allow_null=True)

    class Meta:
        model = Opportunity
        fields = (
            "id",
            "project",
            "project_name",
            "role",
            "role_title",
            "community_of_practice",
            "community_of_practice_name",
            "body",
            "min_experience_required",
            "min_hours_required",
            "work_environment",
            "meeting_times",
            "project_meeting_times",
            "skills_required_matrix",
            "skills_required",
            "status",
            "created_by",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields

    def to_representation(self, instance: Opportunity | tuple[Any, ...]) -> dict[str, Any]:
        """Return the shape of an instance or of a row of ``columns``, five times as fast as by asking each field."""
        row = instance if isinstance(instance, tuple) else [value_at(instance, path) for path in self.columns.values()]
        values = dict(zip(self.columns, row, strict=True))
        values["skills_required"] = self.fields["skills_required"].to_representation(values["skills_required_matrix"])
        return {name: values[name] for name in self.Meta.fields}


OpportunityReadSerializer.columns = columns_of(OpportunityReadSerializer(), but=("skills_required",))


class OpportunityWriteSerializer(StrictModelSerializer[Opportunity]):
    """What a project manager says of a listing; the view stamps who that is."""

    matrix, answer = "skills_required_matrix", OpportunityReadSerializer
    role = RowField(queryset=Role.objects.select_related("community_of_practice"))
    meeting_times = MeetingTimesField(required=False)
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
            "meeting_times",
            "skills_required_matrix",
            "status",
        )

    def create(self, validated_data: dict[str, Any]) -> Opportunity:
        """Save the listing together with its matrix."""
        levels = validated_data.pop("skills_required_matrix", {})
        return super().create({**validated_data, "skills_required_matrix": SkillMatrix.objects.store(levels)})


class UserReadSerializer(serializers.ModelSerializer[UserProfile]):
    """An account as its owner sees it."""

    name = serializers.CharField(source="get_full_name", allow_blank=True)
    meeting_availability = AvailabilityField(read_only=True)
    skills_learned_matrix = SkillLevelsField(source="skills_learned_matrix.levels", default=dict, read_only=True)
    skills_learned = RatedSkillsField(source="skills_learned_matrix.levels", default=dict, read_only=True)

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


class UserWriteSerializer(StrictModelSerializer[UserProfile]):
    """A volunteer's name and what the qualifier flow asks; a client that sends anything else changes nothing by it."""

    matrix, answer = "skills_learned_matrix", UserReadSerializer
    kept_by_cognito = ("first_name", "last_name")
    community_of_practice = CommunityField(queryset=CommunityOfPractice.objects.all(), allow_null=True)
    skills_learned_matrix = SkillLevelsField()
    meeting_availability = AvailabilityField()

    class Meta:
        model = UserProfile
        fields = (
            "first_name",
            "last_name",
            "community_of_practice",
            "skills_learned_matrix",
            "max_available_hours",
            "meeting_availability",
        )
        extra_kwargs: ClassVar[dict[str, dict[str, Any]]] = {"max_available_hours": {"required": True}}


class MatchReadSerializer(serializers.Serializer[Any]):
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
    fits_all_meetings = serializers.BooleanField(allow_null=True, help_text="The same, of all meetings.")
    meetings = serializers.SerializerMethodField()

    @extend_schema_field({"type": "number", "minimum": 0, "maximum": 1})
    def get_score(self, match: Match) -> float:
        """Return the score, rounded to four places."""
        return round(match.score.value or 0.0, SCORE_PLACES)

    @extend_schema_field({"type": "array", "items": PARTS["meeting"]})
    def get_meetings(self, match: Match) -> list[Meeting]:
        """Return the meetings in the posted order."""
        return match.meetings

    @extend_schema_field(PARTS["compared_skills"])
    def get_skills(self, match: Match) -> list[dict[str, Any]]:
        """Return the required skills, unmet ones first, the largest gap first, then by name."""
        names = all_skill_names(self.context)
        compared = [(comparison, names.get(comparison.skill, "")) for comparison in match.skills]
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


class SignupWriteSerializer(StrictModelSerializer[UserProfile]):
    """What someone gives to sign up."""

    password = PasswordField()

    class Meta:
        model = UserProfile
        fields = ("email", "password", "first_name", "last_name")
        extra_kwargs: ClassVar[dict[str, dict[str, Any]]] = {"email": {"validators": [validate_plain_address]}}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the values; raises ``ValidationError`` for a password that is easily guessed."""
        owner = UserProfile(**{name: value for name, value in attrs.items() if name != "password"})
        _check_password(attrs["password"], owner)
        return attrs

    def create(self, validated_data: dict[str, Any]) -> UserProfile:
        """Save the account; raises ``ValidationError`` where another one has the address."""
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


class ChangePasswordWriteSerializer(serializers.Serializer[UserProfile]):
    """A new password, and the present one as a proof."""

    current_password = CurrentPasswordField()
    new_password = PasswordField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the values; raises ``ValidationError`` for a new password that is easily guessed."""
        _check_password(attrs["new_password"], attrs["current_password"], field="new_password")
        return attrs


class AccountDeletionWriteSerializer(serializers.Serializer[UserProfile]):
    """The password, as a proof that it is the owner who wants the account deleted."""

    password = CurrentPasswordField()


class CsrfTokenReadSerializer(serializers.Serializer[dict[str, str]]):
    """The token that every unsafe request sends back as ``X-CSRFToken``."""

    csrf_token = serializers.CharField()


def _check_password(password: str, owner: UserProfile, field: str = "password") -> None:
    """Raise a ``ValidationError`` for a password that is easily guessed."""
    try:
        validate_password(password, owner)
    except DjangoValidationError as error:
        raise serializers.ValidationError({field: error.messages}) from error
