"""The listing as it is plainly written with REST framework: a model viewset and a model serializer."""

from typing import Any

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
    community_of_practice = serializers.PrimaryKeyRelatedField[Any](source="role.community_of_practice", read_only=True)
    skills_required_matrix = serializers.JSONField(source="skills_required_matrix.levels")
    skills_required = serializers.SerializerMethodField()
    created_by = serializers.EmailField(source="created_by.email", default=None)

    class Meta:
        model = Opportunity
        fields = OpportunityReadSerializer.Meta.fields

    def get_skills_required(self, opportunity: Opportunity) -> list[dict[str, Any]]:
        """Return the required skills, highest level first, then by name."""
        levels = opportunity.skills_required_matrix.levels
        skills = Skill.objects.filter(pk__in=levels)
        rated = [{"skill": str(skill.pk), "name": skill.name, "level": levels[str(skill.pk)]} for skill in skills]
        return sorted(rated, key=lambda entry: (-entry["level"], entry["name"]))


class PlainOpportunityViewSet(ModelViewSet[Opportunity]):
    """The opportunities that anybody may see."""

    queryset = Opportunity.objects.exclude(status=Status.DRAFT)
    serializer_class = PlainOpportunitySerializer
    pagination_class = LimitOffsetPagination
    permission_classes = (IsAuthenticatedOrReadOnly,)
    renderer_classes = (JSONRenderer,)
