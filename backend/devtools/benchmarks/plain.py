"""The API as a good engineer writes it with REST framework alone, each list in as few queries as it takes."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import include, path
from rest_framework import permissions, serializers
from rest_framework.viewsets import ModelViewSet

from ctj_api.enums import Status
from ctj_api.models import Opportunity, Skill, SkillMatrix, UserProfile
from ctj_api.serializers import OpportunityReadSerializer, SkillReadSerializer, UserReadSerializer


class PlainLevelsField(serializers.DictField):
    """``{skill id: level}``, of skills that there are."""

    child = serializers.IntegerField(min_value=1, max_value=5)

    def to_internal_value(self, data: Any) -> dict[str, int]:
        """Return the levels; raises ``ValidationError`` for an unknown skill."""
        levels: dict[str, int] = super().to_internal_value(data)
        if Skill.objects.filter(pk__in=levels).count() < len(levels):
            raise serializers.ValidationError("There is no such skill.")
        return levels


class PlainSerializer[M: Opportunity | UserProfile](serializers.ModelSerializer[M]):
    """A row with its matrix, which is written with it."""

    matrix: str

    @transaction.atomic
    def update(self, instance: M, validated_data: dict[str, Any]) -> M:
        """Save the row and its matrix."""
        if levels := validated_data.pop(self.matrix, None):
            SkillMatrix.objects.filter(pk=getattr(instance, f"{self.matrix}_id")).update(**levels)
            setattr(instance, self.matrix, SkillMatrix(pk=getattr(instance, f"{self.matrix}_id"), **levels))
        return super().update(instance, validated_data)

    def rated(self, levels: dict[str, int]) -> list[dict[str, Any]]:
        """Return the skills of a matrix, highest level first, then by name."""
        names = self.context["skill_names"]
        rated = [{"skill": skill, "name": names[skill], "level": level} for skill, level in levels.items()]
        return sorted(rated, key=lambda entry: (-entry["level"], entry["name"]))


class PlainOpportunitySerializer(PlainSerializer[Opportunity]):
    """An opportunity."""

    matrix = "skills_required_matrix"
    project_name = serializers.CharField(source="project.name", read_only=True)
    role_title = serializers.CharField(source="role.title", read_only=True)
    community_of_practice = serializers.UUIDField(source="role.community_of_practice_id", read_only=True)
    community_of_practice_name = serializers.CharField(source="role.community_of_practice.name", read_only=True)
    project_meeting_times = serializers.JSONField(source="project.meeting_times", read_only=True)
    skills_required_matrix = PlainLevelsField(source="skills_required_matrix.levels")
    skills_required = serializers.SerializerMethodField()
    created_by = serializers.EmailField(source="created_by.email", default=None, read_only=True)

    class Meta:
        model = Opportunity
        fields = OpportunityReadSerializer.Meta.fields

    def get_skills_required(self, opportunity: Opportunity) -> list[dict[str, Any]]:
        """Return the required skills."""
        return self.rated(opportunity.skills_required_matrix.levels)


class PlainUserSerializer(PlainSerializer[UserProfile]):
    """A volunteer."""

    matrix = "skills_learned_matrix"
    name = serializers.CharField(source="get_full_name", read_only=True)
    skills_learned_matrix = PlainLevelsField(source="skills_learned_matrix.levels")
    skills_learned = serializers.SerializerMethodField()

    class Meta:
        model = UserProfile
        fields = UserReadSerializer.Meta.fields
        read_only_fields = ("email", "is_project_manager")

    def get_skills_learned(self, user: UserProfile) -> list[dict[str, Any]]:
        """Return the rated skills."""
        return self.rated(user.skills_learned_matrix.levels) if user.skills_learned_matrix else []


class NamingViewSet[M: Opportunity | UserProfile](ModelViewSet[M]):
    """Rows whose skills are named, by one query whatever their number."""

    def get_serializer_context(self) -> dict[str, Any]:
        """Return the context with the names of all skills."""
        names = {str(pk): name for pk, name in Skill.objects.values_list("pk", "name")}
        return {**super().get_serializer_context(), "skill_names": names}


class PlainOpportunityViewSet(NamingViewSet[Opportunity]):
    """The opportunities that anybody may see."""

    queryset = Opportunity.objects.exclude(status=Status.DRAFT).with_details()
    serializer_class = PlainOpportunitySerializer

    def get_queryset(self) -> QuerySet[Opportunity]:
        """Return what may be read, or changed."""
        listings = super().get_queryset()
        is_read = self.request.method in permissions.SAFE_METHODS
        return listings if is_read else listings.filter(created_by=self.request.user.pk)


class PlainUserViewSet(NamingViewSet[UserProfile]):
    """The own account."""

    queryset = UserProfile.objects.select_related("skills_learned_matrix")
    serializer_class = PlainUserSerializer

    def get_object(self) -> UserProfile:
        """Return the account of who is signed in."""
        return get_object_or_404(self.get_queryset(), pk=self.request.user.pk)


class PlainSkillViewSet(ModelViewSet[Skill]):
    """The skill catalog."""

    queryset = Skill.objects.filter(retired_at=None).order_by("name").prefetch_related("communities_of_practice")
    serializer_class = SkillReadSerializer


urlpatterns = [
    path("plain/opportunities/", PlainOpportunityViewSet.as_view({"get": "list"})),
    path("plain/opportunities/<uuid:pk>/", PlainOpportunityViewSet.as_view({"put": "update"})),
    path("plain/skills/", PlainSkillViewSet.as_view({"get": "list"})),
    path("plain/users/me/", PlainUserViewSet.as_view({"patch": "partial_update"})),
    path("benchmarks/empty/", lambda _: JsonResponse({})),
    path("", include("backend.urls")),
]
