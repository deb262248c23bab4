"""The filters of the catalogs. A value that a filter can't use is refused, never ignored."""

from typing import Any

import django_filters
from django import forms
from django.db import models
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from .enums import PracticeArea
from .models import CommunityOfPractice, Project, Role, Skill
from .querysets import SkillQuerySet
from .validators import is_uuid

MAX_SEARCH = 200


class CommunityField(forms.CharField):
    """A community of practice, given by its id or its practice area."""

    def clean(self, value: Any) -> CommunityOfPractice | None:
        """Return the community; raises a ``ValidationError`` where there is none."""
        if value is None:
            return None
        community = _community(str(value))
        if community is None:
            raise forms.ValidationError(
                f"There is no such community of practice. Give its id or one of {', '.join(PracticeArea.values)}."
            )
        return community


class CommunityFilter(django_filters.Filter):
    """Narrow to what belongs to one community of practice."""

    field_class = CommunityField


class StrictFilterSet(django_filters.FilterSet):
    """A filter set for function-based views that refuses what it can't use."""

    @classmethod
    def narrow[M: models.Model](cls, request: Request, queryset: models.QuerySet[M]) -> models.QuerySet[M]:
        """Return the rows that the request asks for; raises DRF's ``ValidationError`` naming the parameter."""
        filters = cls(request.query_params, queryset=queryset)
        if not filters.is_valid():
            raise ValidationError(filters.errors)
        return filters.qs


class SkillFilter(StrictFilterSet):
    """Skills of a community, or with a text in their name or description."""

    community_of_practice = CommunityFilter(field_name="communities_of_practice")
    search = django_filters.CharFilter(method="filter_search", max_length=MAX_SEARCH)

    class Meta:
        model = Skill
        fields = ("community_of_practice", "search")

    def filter_search(self, queryset: SkillQuerySet, name: str, text: str) -> SkillQuerySet:
        """Return the skills that have ``text`` in their name or description."""
        return queryset.search(text)


class RoleFilter(StrictFilterSet):
    """Roles of a community."""

    community_of_practice = CommunityFilter()

    class Meta:
        model = Role
        fields = ("community_of_practice",)


class ProjectFilter(StrictFilterSet):
    """Projects with a text in their name."""

    search = django_filters.CharFilter(field_name="name", lookup_expr="icontains", max_length=MAX_SEARCH)

    class Meta:
        model = Project
        fields = ("search",)


def _community(value: str) -> CommunityOfPractice | None:
    if value in PracticeArea.values:
        return CommunityOfPractice.objects.filter(practice_area=value).first()
    if is_uuid(value):
        return CommunityOfPractice.objects.filter(pk=value).first()
    return None
