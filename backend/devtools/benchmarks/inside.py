"""What is asked with Django, in a process of its own for each database: ``python -m devtools.benchmarks.inside TASK``.

The arguments come as JSON on standard input, the answer goes as JSON to standard output.
"""

import json
import re
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import django

django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402 (what these import asks the settings)
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402
from psycopg import Connection  # noqa: E402

from ctj_api.models import Opportunity, UserProfile  # noqa: E402
from ctj_api.ranking.matches import Match, Narrowing, OpportunityRanking, Ranking, VolunteerRanking  # noqa: E402
from devtools.benchmarks.data import connect  # noqa: E402
from devtools.benchmarks.measure import alternate, check  # noqa: E402
from devtools.benchmarks.references import ranking as reference  # noqa: E402

# Of the ranking, of the ranking with the rows of its page, and of the statement.
type Times = list[tuple[float, float, float]]


class OpportunityIds(OpportunityRanking):
    """The ranking of the listings, for its ids alone."""

    def _load(self, ids: list[UUID]) -> dict[UUID, Match]:
        return {}


class VolunteerIds(VolunteerRanking):
    """The ranking of the volunteers, for their ids alone."""

    def _load(self, ids: list[UUID]) -> dict[UUID, Match]:
        return {}


def sign_in(emails: list[str]) -> dict[str, str]:
    """Return e-mail address → the key of a new session."""
    return {user.email: _new_session(user) for user in UserProfile.objects.filter(email__in=emails)}


def rank_opportunities(people: int, rounds: int) -> Times:
    """Return the median times of ranking the listings for each of some volunteers."""
    volunteers = UserProfile.objects.volunteers().select_related("skills_learned_matrix").order_by("pk")[:people]
    with connect(settings.DATABASES["default"]["NAME"]) as sql:
        return [_rank_opportunities(volunteer, sql, rounds) for volunteer in volunteers]


def rank_volunteers(people: int, rounds: int) -> Times:
    """Return the median times of ranking the volunteers for each of some listings."""
    opportunities = Opportunity.objects.open().with_details().order_by("pk")[:people]
    with connect(settings.DATABASES["default"]["NAME"]) as sql:
        return [_rank_volunteers(opportunity, sql, rounds) for opportunity in opportunities]


def explain_searches(paths: list[str]) -> list[str]:
    """Return for each path PostgreSQL's plans of the statements that look into the search document to answer it."""
    return [_explain_search(path) for path in paths]


TASKS: dict[str, Callable[..., Any]] = {
    task.__name__: task for task in (sign_in, rank_opportunities, rank_volunteers, explain_searches)
}


def _new_session(user: UserProfile) -> str:
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


def _explain_search(path: str) -> str:
    with CaptureQueriesContext(connection) as queries:
        Client(headers={"Host": settings.ALLOWED_HOSTS[0]}).get(path)
    statements = [query["sql"] for query in queries if re.search("set_config|search_document", query["sql"])]
    plans = []
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement if "set_config" in statement else f"EXPLAIN {statement}")
            plans += [str(value) for (value, *_) in cursor.fetchall()]
    return "\n".join(plans)


def _rank_opportunities(volunteer: UserProfile, sql: Connection, rounds: int) -> tuple[float, float, float]:
    levels = volunteer.skills_learned_matrix.levels if volunteer.skills_learned_matrix else {}

    def rank(ranking: type[OpportunityRanking]) -> Ranking:
        return ranking(volunteer, Opportunity.objects.open(), Narrowing(), timezone.now(), filtered=False)

    return _compare(
        lambda: rank(OpportunityIds),
        lambda: rank(OpportunityRanking),
        lambda: reference.rank_opportunities(sql, levels),
        rounds,
    )


def _rank_volunteers(opportunity: Opportunity, sql: Connection, rounds: int) -> tuple[float, float, float]:
    levels = opportunity.skills_required_matrix.levels

    def rank(ranking: type[VolunteerRanking]) -> Ranking:
        return ranking(opportunity, Narrowing(), timezone.now())

    return _compare(
        lambda: rank(VolunteerIds),
        lambda: rank(VolunteerRanking),
        lambda: reference.rank_volunteers(sql, levels),
        rounds,
    )


def _compare(
    rank_ids: Callable[[], Ranking], rank: Callable[[], Ranking], query: Callable[[], reference.Page], rounds: int
) -> tuple[float, float, float]:
    """Return the median times; raises ``BenchmarkError`` where the ranking is not that of the statement."""
    check(_read(rank()) == query(), "The ranking and the SQL statement give different pages.")
    ids, rows, sql = alternate(rounds, lambda: _read(rank_ids()), lambda: _read(rank()), query)
    return ids, rows, sql


def _read(ranking: Ranking) -> reference.Page:
    """Return the first page of a ranking with the total."""
    total = len(ranking)
    is_of_volunteers = isinstance(ranking, VolunteerRanking)
    matches = ranking[0 : reference.PAGE]
    rows = [match.volunteer if is_of_volunteers else match.opportunity for match in matches]
    places = [reference.Place(row.pk, *match.score) for row, match in zip(rows, matches, strict=True)]
    return reference.Page(places, total)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(TASKS[sys.argv[1]](**json.load(sys.stdin))))
