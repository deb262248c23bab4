"""Supply and demand of skills, for administrators: what listings ask for, what volunteers have, and how it goes."""

from bisect import bisect_left
from calendar import month_name
from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Coalesce, ExtractDay, TruncMonth
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone

from ctj_api.enums import Status
from ctj_api.models import CommunityOfPractice, Opportunity, Skill, UserProfile
from ctj_api.querysets import is_administrator
from ctj_api.ranking.live_index import count_volunteers

from .csv_file import csv_response
from .display import show

UNTIL_FILLED = (7, 14, 30, 60)
DEMAND = """
    SELECT skill, count(*), mode() WITHIN GROUP (ORDER BY level::integer)
    FROM ctj_api_opportunity JOIN ctj_api_skillmatrix AS matrix ON matrix.id = skills_required_matrix_id
    CROSS JOIN jsonb_each(levels) AS required (skill, level)
    WHERE status = %s GROUP BY skill ORDER BY 2 DESC, 1 LIMIT 20
"""


class Plot(NamedTuple):
    """Bars: one for each number of each row, whose first entry is its label."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    @property
    def greatest(self) -> int:
        """The greatest number of all, at least 1."""
        return int(max([1, *(number for _, *numbers in self.rows for number in numbers)]))


def required_skills() -> Plot:
    """Return the skills that most open listings require, and who has them; the largest gap comes first."""
    with connection.cursor() as cursor:
        cursor.execute(DEMAND, [Status.OPEN])
        demand = cursor.fetchall()
    names = Skill.objects.names_of(skill for skill, _, _ in demand)
    demand = [row for row in demand if row[0] in names]  # but for what was merged meanwhile
    supply = count_volunteers({skill: {skill: level} for skill, _, level in demand})
    rows = [(f"{names[skill]}, level {level}", count, supply[skill].complete) for skill, count, level in demand]
    rows.sort(key=lambda row: (row[2] - row[1], row[0]))
    columns = ("Skill, and the level that most listings ask for", "Open listings", "Volunteers at that level or above")
    return Plot("Skills: the largest gaps first", columns, rows)


def opened_and_filled() -> Plot:
    """Return how many listings were published, and how many filled, in each of the last twelve months."""
    published = Opportunity.objects.exclude(status=Status.DRAFT).annotate(at=Coalesce("opened_at", "created_at"))
    filled = Opportunity.objects.exclude(filled_at=None).annotate(at=F("filled_at"))
    opened_in, filled_in = (_by_month(rows) for rows in (published, filled))
    now = timezone.localdate()
    months = [divmod(now.year * 12 + now.month - 1 - ago, 12) for ago in reversed(range(12))]
    rows = [
        (f"{month_name[month + 1]} {year}", opened_in.get((year, month + 1), 0), filled_in.get((year, month + 1), 0))
        for year, month in months
    ]
    return Plot("Listings by month", ("Month", "Opened", "Filled"), rows)


def days_until_filled() -> Plot:
    """Return how many listings were filled within so many days, where both times are known."""
    took = ExtractDay(F("filled_at") - F("opened_at"))
    known = Opportunity.objects.exclude(filled_at=None).exclude(opened_at=None)
    numbers = [0] * (len(UNTIL_FILLED) + 1)
    for days, count in known.order_by().values_list(took).annotate(Count("pk")):
        numbers[bisect_left(UNTIL_FILLED, days)] += count
    rows = list(zip(("0 to 7", "8 to 14", "15 to 30", "31 to 60", "more than 60"), numbers, strict=True))
    return Plot("Days until a listing is filled", ("Days", "Listings filled"), rows)


def volunteers_by_community() -> Plot:
    """Return how many volunteers with rated skills each community has."""
    volunteers = Count("members", filter=Q(members__in=UserProfile.objects.volunteers()))
    counted = CommunityOfPractice.objects.annotate(number=volunteers).order_by("-number", "practice_area")
    columns = ("Community of practice", "Volunteers")
    return Plot("Volunteers by community", columns, list(counted.values_list("name", "number")))


PLOTS = {
    "skills": required_skills,
    "months": opened_and_filled,
    "days": days_until_filled,
    "communities": volunteers_by_community,
}


def supply_and_demand(request: HttpRequest) -> HttpResponse:
    """Return the page with all plots, or the table of the one that ``?csv`` names as a file."""
    if not is_administrator(request.user):
        raise PermissionDenied
    if (key := request.GET.get("csv")) is None:
        plots = {key: plot() for key, plot in PLOTS.items()}
        return show(request, "supply_and_demand", {"title": "Supply and demand of skills", "plots": plots})
    if key not in PLOTS:
        raise Http404
    table = PLOTS[key]()
    return csv_response(f"supply-and-demand-{key}", table.columns, table.rows)


def _by_month(rows: QuerySet[Any]) -> dict[tuple[int, int], int]:
    counted = rows.order_by().values_list(TruncMonth("at")).annotate(Count("pk"))
    return {(month.year, month.month): count for month, count in counted}
