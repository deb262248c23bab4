"""The listing as a good engineer writes it with REST framework, and an empty view, beside the project's own routes."""

from typing import Any

from django.http import JsonResponse
from django.urls import include, path
from rest_framework import serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.permissions import IsAuthenticatedOrReadOnly
from rest_framework.renderers import JSONRenderer
from rest_framework.viewsets import ModelViewSet

from ctj_api.enums import Status
from ctj_api.models import Opportunity, Skill
from ctj_api.serializers import OpportunityReadSerializer


class PlainOpportunitySerializer(serializers.ModelSerializer[Opportunity]):
    """The read shape of an opportunity."""

    project_name = serializers.CharField(source="project.name")
    role_title = serializers.CharField(source="role.title")
    community_of_practice = serializers.UUIDField(source="role.community_of_practice_id")
    community_of_practice_name = serializers.CharField(source="role.community_of_practice.name")
    project_meeting_times = serializers.JSONField(source="project.meeting_times")
    skills_required_matrix = serializers.JSONField(source="skills_required_matrix.levels")
    skills_required = serializers.SerializerMethodField()
    created_by = serializers.EmailField(source="created_by.email", default=None)

    class Meta:
        model = Opportunity
        fields = OpportunityReadSerializer.Meta.fields

    def get_skills_required(self, opportunity: Opportunity) -> list[dict[str, Any]]:
        """Return the required skills, highest level first, then by name."""
        names, levels = self.context["skill_names"], opportunity.skills_required_matrix.levels
        rated = [{"skill": skill, "name": names[skill], "level": level} for skill, level in levels.items()]
        return sorted(rated, key=lambda entry: (-entry["level"], entry["name"]))


class PlainOpportunityViewSet(ModelViewSet[Opportunity]):
    """The opportunities that anybody may see, in three queries whatever their number."""

    queryset = Opportunity.objects.exclude(status=Status.DRAFT).with_details()
    serializer_class = PlainOpportunitySerializer
    pagination_class = LimitOffsetPagination
    permission_classes = (IsAuthenticatedOrReadOnly,)
    renderer_classes = (JSONRenderer,)

    def get_serializer_context(self) -> dict[str, Any]:
        """Return the context with the names of all skills."""
        names = {str(pk): name for pk, name in Skill.objects.values_list("pk", "name")}
        return {**super().get_serializer_context(), "skill_names": names}


urlpatterns = [
    path("benchmarks/empty/", lambda _: JsonResponse({})),
    path("benchmarks/opportunities/", PlainOpportunityViewSet.as_view({"get": "list"})),
    path("", include("backend.urls")),
]
