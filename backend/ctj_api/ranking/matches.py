"""Which opportunities and volunteers go together, by their skills and by their times."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import cache, cached_property
from typing import Any, ClassVar
from uuid import UUID

import orjson
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from ctj_api import matching
from ctj_api.models import Opportunity, Project, UserProfile
from ctj_api.querysets import OpportunityQuerySet

from .availability import ComingWeek, FreeTime, Meeting, WeekSlots, fits_hours, fits_meetings
from .live_index import OPEN_OPPORTUNITIES, VOLUNTEERS, LiveIndex


@dataclass(frozen=True, slots=True)
class Narrowing:
    """How far a ranking is narrowed: by score, to pairs without a gap, by hours, by ``any`` or ``all`` meetings."""

    min_score: Fraction = Fraction(0)
    require_all: bool = False
    hours: bool = False
    meetings: Callable[[Iterable[bool]], bool] | None = None

    @property
    def is_about_times(self) -> bool:
        """Whether the times of both sides have to be compared before they are ranked."""
        return self.hours or self.meetings is not None


@dataclass(frozen=True, slots=True)
class Match:
    """An opportunity and a volunteer, with how well they go together, and why."""

    opportunity: Opportunity
    volunteer: UserProfile
    score: matching.Score
    skills: list[matching.SkillComparison]
    fits_hours: bool | None
    meetings: list[Meeting]

    @property
    def fits_meetings(self) -> bool | None:
        """Whether the volunteer is free for at least one meeting; ``None`` where either side gave nothing."""
        return fits_meetings(self.meetings, any)

    @property
    def fits_all_meetings(self) -> bool | None:
        """Whether the volunteer is free for all meetings; ``None`` where either side gave nothing."""
        return fits_meetings(self.meetings, all)


class Ranking(ABC):
    """Matches, best first, to be counted and sliced; only the rows of a slice are loaded."""

    _index: ClassVar[LiveIndex[Any]]
    _detailed: QuerySet[Any]

    def __init__(self, skills: matching.Levels, narrowing: Narrowing, now: datetime) -> None:
        """Take the skills that are had or required, how far to narrow the ranking, and when it is made."""
        self._skills = skills
        self._narrowing = narrowing
        self._week = ComingWeek(now)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, page: slice) -> list[Match]:
        """Return the matches of a slice, without those that are none any more since they were ranked."""
        ids = self._ids[page]
        rows = self._detailed.in_bulk(ids)
        return [self._match(rows[id_]) for id_ in ids if id_ in rows]

    @cached_property
    def _ids(self) -> matching.IndexRanking[UUID]:
        minimum = Fraction(1) if self._narrowing.require_all else self._narrowing.min_score
        within = self._within()
        return self._index.read(lambda index: index.rank(self._skills, minimum, within))

    @abstractmethod
    def _within(self) -> set[UUID] | None:
        """Return the ids of those who pass the filters and, where that is asked, have the time; ``None`` for all."""

    def _has_hours(self, available: int | None, required: int) -> bool:
        return not self._narrowing.hours or fits_hours(available, required) is not False

    def _suits(self, meetings: list[Meeting]) -> bool:
        enough = self._narrowing.meetings
        return enough is None or fits_meetings(meetings, enough) is not False

    @abstractmethod
    def _match(self, row: Any) -> Match:
        """Return the match with a row."""


class OpportunityRanking(Ranking):
    """Those of ``opportunities``, which are open, that a volunteer's skills overlap with."""

    _index = OPEN_OPPORTUNITIES

    def __init__(
        self,
        volunteer: UserProfile,
        opportunities: OpportunityQuerySet,
        narrowing: Narrowing,
        now: datetime,
        filtered: bool = True,
    ) -> None:
        """Take ``filtered=False`` where ``opportunities`` are all that are open: their ids need not be looked up."""
        super().__init__(_learned(volunteer), narrowing, now)
        self._volunteer = volunteer
        self._free = FreeTime(volunteer.meeting_availability)
        self._overlapping = opportunities.requiring_any(self._skills).order_by()
        self._detailed = self._overlapping.with_details()
        self._is_filtered = filtered

    def why_empty(self) -> str:
        """Return why no opportunity is listed, as ``X-Match-Note`` says it."""
        if not self._skills:
            return "no-skills-rated"
        if not self._index.read(len):
            return "none-open"
        overlapping = self._index.read(lambda index: index.rank(self._skills, Fraction(0), within=None))
        return "none-left" if overlapping else "none-overlap"

    def _within(self) -> set[UUID] | None:
        if not self._narrowing.is_about_times:
            return set(self._overlapping.values_list("pk", flat=True)) if self._is_filtered else None
        available = self._volunteer.max_available_hours
        weeks = Project.objects.values_list("pk", "meeting_times")
        clashing = {project for project, week in weeks if not self._suits(self._meetings(week))}
        # Many listings have the same week: as a text it is compared once.
        suits = cache(lambda own: own is None or self._suits(self._meetings(orjson.loads(own))))
        others = self._overlapping.exclude(project__in=clashing, meeting_times__isnull=True)
        rows = others.values_list("pk", "min_hours_required", Cast("meeting_times", TextField()))
        return {pk for pk, required, own in rows if self._has_hours(available, required) and suits(own)}

    def _meetings(self, week: WeekSlots | None) -> list[Meeting]:
        return self._week.meetings(week, self._free)

    def _match(self, row: Opportunity) -> Match:
        return _match(row, self._volunteer, self._meetings(row.meetings))


class VolunteerRanking(Ranking):
    """The volunteers whose skills overlap with what an opportunity requires."""

    _index = VOLUNTEERS

    def __init__(self, opportunity: Opportunity, narrowing: Narrowing, now: datetime) -> None:
        super().__init__(opportunity.skills_required_matrix.levels, narrowing, now)
        self._opportunity = opportunity
        self._overlapping = UserProfile.objects.volunteers().having_any(self._skills).order_by()
        self._detailed = self._overlapping.select_related("skills_learned_matrix")

    def _within(self) -> set[UUID] | None:
        if not self._narrowing.is_about_times:
            return None
        required = self._opportunity.min_hours_required
        # Many volunteers have the same week: as a text it is compared once.
        suits = cache(lambda week: week is None or self._suits(self._meetings(orjson.loads(week))))
        week_as_text = Cast("meeting_availability", TextField())
        rows = self._overlapping.values_list("pk", "max_available_hours", week_as_text)
        return {pk for pk, hours, week in rows if self._has_hours(hours, required) and suits(week)}

    def _meetings(self, availability: WeekSlots | None) -> list[Meeting]:
        return self._week.meetings(self._opportunity.meetings, FreeTime(availability))

    def _match(self, row: UserProfile) -> Match:
        return _match(self._opportunity, row, self._meetings(row.meeting_availability))


def match_of(opportunity: Opportunity, volunteer: UserProfile, now: datetime) -> Match:
    """Return the match of these two, however little they overlap."""
    meetings = ComingWeek(now).meetings(opportunity.meetings, FreeTime(volunteer.meeting_availability))
    return _match(opportunity, volunteer, meetings)


def _match(opportunity: Opportunity, volunteer: UserProfile, meetings: list[Meeting]) -> Match:
    required = opportunity.skills_required_matrix.levels
    learned = _learned(volunteer)
    return Match(
        opportunity=opportunity,
        volunteer=volunteer,
        score=matching.score(required, learned),
        skills=matching.compare(required, learned),
        fits_hours=fits_hours(volunteer.max_available_hours, opportunity.min_hours_required),
        meetings=meetings,
    )


def _learned(volunteer: UserProfile) -> matching.Levels:
    return volunteer.skills_learned_matrix.levels if volunteer.skills_learned_matrix else {}
