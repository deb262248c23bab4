"""The filters of lists. A value that a filter can't use is refused, never ignored."""

import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import django_filters
from django import forms
from django.db import models
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from .enums import Experience, Ordering, PracticeArea, Status, WorkEnvironment
from .models import CommunityOfPractice, Project, Role, Skill
from .parameters import MAX_SEARCH, ME
from .querysets import OpportunityQuerySet, SkillQuerySet
from .ranking.matches import Narrowing
from .validators import MAX_HOURS, clean_whole_number, is_uuid, unknown_skill

MAX_SCORE_DIGITS = 21
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def _choice_messages(values: Iterable[str]) -> dict[str, str]:
    """Return the message for a value that is none of ``values``; Django fills in the value that was given."""
    names = ", ".join(value or '"" (any)' for value in values)
    return {"invalid_choice": f'"%(value)s" is not one of {names}.'}


def _any_of(choices: type[models.TextChoices]) -> django_filters.MultipleChoiceFilter:
    """Return a filter of a column; without DISTINCT, since nothing is joined that could repeat a row."""
    return django_filters.MultipleChoiceFilter(
        choices=choices.choices, distinct=False, error_messages=_choice_messages(choices.values)
    )


class RowField(forms.ModelChoiceField[models.Model]):
    """A row, given by its id with the hyphens, as everywhere else."""

    def to_python(self, value: Any) -> Any:
        """Return the row; raises a ``ValidationError`` where there is none."""
        if value and not is_uuid(value):
            raise forms.ValidationError(self.error_messages["invalid_choice"], code="invalid_choice")
        return super().to_python(value)


class RowFilter(django_filters.ModelChoiceFilter):
    """Narrow to what refers to one row."""

    field_class = RowField  # type: ignore[assignment]


def _row_of(model: type[models.Model]) -> RowFilter:
    message = f"There is no such {model._meta.verbose_name}. Give its id."
    return RowFilter(queryset=model._default_manager.all(), error_messages={"invalid_choice": message})


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


class SkillIdsField(forms.Field):
    """Skills, given by their ids in any case."""

    widget = forms.SelectMultiple

    def clean(self, value: list[str]) -> list[str]:
        """Return the ids in lower case; raises a ``ValidationError`` that names those of no skill."""
        known = Skill.objects.names_of(value)
        if problems := [unknown_skill(id_) for id_ in value if id_.lower() not in known]:
            raise forms.ValidationError(problems)
        return list(known)


class HoursField(forms.CharField):
    """A number of hours that a week has."""

    def clean(self, value: Any) -> int | None:
        """Return the number; raises a ``ValidationError`` for anything else."""
        return None if value is None else clean_whole_number(str(value), 0, MAX_HOURS)


class HoursFilter(django_filters.Filter):
    """Compare with a number of hours."""

    field_class = HoursField


class ScoreField(forms.DecimalField):
    """A number from 0 to 1, as JSON writes numbers."""

    def __init__(self) -> None:
        super().__init__(
            required=False, min_value=0, max_value=1, max_digits=MAX_SCORE_DIGITS, decimal_places=MAX_SCORE_DIGITS - 1
        )

    def to_python(self, value: Any) -> Decimal | None:  # type: ignore[override]
        """Return the number; raises a ``ValidationError`` for other ways to write one."""
        if value and not _NUMBER.fullmatch(str(value)):
            raise forms.ValidationError("Give a number from 0 to 1.")
        return super().to_python(value)


class SkillsFilter(django_filters.Filter):
    """Narrow by skills."""

    field_class = SkillIdsField


class SwitchField(forms.ChoiceField):
    """``true`` or ``false``, the latter when absent."""

    def __init__(self) -> None:
        values = ("true", "false")
        super().__init__(
            choices=[(value, value) for value in values], required=False, error_messages=_choice_messages(values)
        )

    def clean(self, value: Any) -> bool:
        """Return whether it is on; raises a ``ValidationError`` for anything but the two words."""
        return bool(super().clean(value) == "true")


class StrictFilterSet(django_filters.FilterSet):
    """A filter set for function-based views that refuses what it can't use."""

    @classmethod
    def narrow[Rows: models.QuerySet[Any]](cls, request: Request, queryset: Rows) -> Rows:
        """Return the rows that the request asks for; raises DRF's ``ValidationError`` naming the parameter."""
        if not cls.is_asked(request):
            return queryset
        filters = cls(request.query_params, queryset=queryset, request=request)
        if not filters.is_valid():
            raise ValidationError(filters.errors)
        return cast("Rows", filters.qs)

    @classmethod
    def is_asked(cls, request: Request) -> bool:
        """Return whether the request has any of these filters."""
        return any(name in request.query_params for name in cls.base_filters)


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


class OpportunityFilter(StrictFilterSet):
    """Opportunities by what they ask for and offer."""

    work_environment = _any_of(WorkEnvironment)
    min_experience_required = _any_of(Experience)
    project = _row_of(Project)
    role = _row_of(Role)
    community_of_practice = CommunityFilter(field_name="role__community_of_practice")
    skill = SkillsFilter(method="filter_skills")
    max_hours = HoursFilter(field_name="min_hours_required", lookup_expr="lte")
    search = django_filters.CharFilter(method="filter_search", max_length=MAX_SEARCH)

    def filter_skills(self, queryset: OpportunityQuerySet, name: str, skills: list[str]) -> OpportunityQuerySet:
        """Return the opportunities that require any of ``skills``."""
        return queryset.requiring_any(skills)

    def filter_search(self, queryset: OpportunityQuerySet, name: str, text: str) -> OpportunityQuerySet:
        """Return the opportunities that ``text`` is found in."""
        return queryset.search(text)


class OpportunityListFilter(OpportunityFilter):
    """The filters of the listing, which are also about its writing, and its order."""

    status = _any_of(Status)
    created_by = django_filters.ChoiceFilter(
        choices=[(ME, ME)], method="filter_created_by", error_messages=_choice_messages([ME])
    )
    ordering = django_filters.ChoiceFilter(
        choices=Ordering.choices, method="order", error_messages=_choice_messages(Ordering.values)
    )

    def filter_created_by(self, queryset: OpportunityQuerySet, name: str, value: str) -> OpportunityQuerySet:
        """Return what the signed-in user has posted; raises ``ValidationError`` where nobody is."""
        user = cast("Request", self.request).user
        if not user.is_authenticated:
            raise ValidationError({name: ["Sign in to ask for what you have posted."]})
        return queryset.filter(created_by=user.pk)

    def order(self, queryset: OpportunityQuerySet, name: str, ordering: str) -> OpportunityQuerySet:
        """Return the opportunities in the order asked for; raises ``ValidationError`` for relevance to nothing."""
        if ordering != Ordering.RELEVANCE:
            return queryset.order_by(ordering, "id")
        text = self.form.cleaned_data["search"]
        if not text:
            raise ValidationError({name: [f'"{Ordering.RELEVANCE}" needs a search.']})
        return queryset.by_relevance(text)


class MatchForm(forms.Form):
    """How far a ranked list is narrowed."""

    min_score = ScoreField()
    require_all = SwitchField()
    fits = SwitchField()

    @classmethod
    def narrowing(cls, request: Request) -> Narrowing:
        """Return what the request asks for; raises DRF's ``ValidationError`` naming the parameter."""
        form = cls(request.query_params)
        if not form.is_valid():
            raise ValidationError(cast("Any", form.errors))
        values = form.cleaned_data
        return Narrowing(Fraction(values["min_score"] or 0), values["require_all"], values["fits"])


def _community(value: str) -> CommunityOfPractice | None:
    if value in PracticeArea.values:
        return CommunityOfPractice.objects.filter(practice_area=value).first()
    if is_uuid(value):
        return CommunityOfPractice.objects.filter(pk=value).first()
    return None
