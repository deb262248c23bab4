"""Every score, order and explanation of a demo, worked out a second time from what the API itself tells."""

from datetime import datetime, timedelta
from fractions import Fraction
from io import StringIO
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone
from rest_framework.test import APITestCase

from ctj_api.models import UserProfile

from .common import browser, make_pm_user, refresh_csrf_token

ROWS = 1000
SAMPLE = 50
# Matches that are compared in each direction; there are several times as many.
MINIMUM = 1000
HALF_HOUR = timedelta(minutes=30)

type Row = dict[str, Any]


def expected_match(opportunity: Row, volunteer: Row, project: Row, names: dict[str, str]) -> Row:
    """Return what the contract says of a pair, but for who it is."""
    required, have = opportunity["skills_required_matrix"], volunteer["skills_learned_matrix"]
    skills = [
        {
            "skill": id_,
            "name": names[id_],
            "required": level,
            "have": have.get(id_, 0),
            "status": status(level, have.get(id_, 0)),
        }
        for id_, level in required.items()
    ]
    hours = volunteer["max_available_hours"]
    return {
        "score": round(float(exact_score(required, have)), 4),
        "met_count": sum(skill["status"] == "met" for skill in skills),
        "required_count": len(skills),
        "skills": sorted(skills, key=lambda skill: (min(skill["have"] - skill["required"], 0), skill["name"])),
        "fits_hours": None if hours is None else opportunity["min_hours_required"] <= hours,
        "fits_meetings": fits_meetings(project["meeting_times"], volunteer["meeting_availability"]),
    }


def exact_score(required: dict[str, int], have: dict[str, int]) -> Fraction:
    """Return the formula's fraction; 0 where nothing is required."""
    return Fraction(sum(min(have.get(id_, 0), level) for id_, level in required.items()), sum(required.values()) or 1)


def status(required: int, have: int) -> str:
    """Return the word for a level beside the required one."""
    return "met" if have >= required else "below" if have else "missing"


def fits_meetings(meetings: Row | None, availability: Row | None) -> bool | None:
    """Return whether each half hour of some meeting lies in a slot; demo slots begin and end on half hours."""
    if meetings is None or availability is None:
        return None
    zone, own_zone = ZoneInfo(meetings["timezone"]), ZoneInfo(availability["timezone"])
    today = timezone.now().astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    week = [today + timedelta(days=days) for days in range(7)]
    for slot in meetings["slots"]:
        (day,) = (day for day in week if day.strftime("%a").lower() == slot["day"])
        halves = []
        moment = at(day, slot["start"])
        while moment < at(day, slot["end"]):
            halves.append(moment.astimezone(own_zone))
            moment += HALF_HOUR
        if all(is_free(half, availability["slots"]) for half in halves):
            return True
    return False


def at(day: datetime, clock: str) -> datetime:
    """Return the moment of a day at which a clock shows this."""
    return day + timedelta(hours=int(clock[:2]), minutes=int(clock[3:]))


def is_free(moment: datetime, slots: list[dict[str, str]]) -> bool:
    """Return whether a moment lies in one of the slots."""
    day, clock = moment.strftime("%a").lower(), moment.strftime("%H:%M")
    return any(slot["day"] == day and slot["start"] <= clock < slot["end"] for slot in slots)


def order(opportunity: Row, volunteer: Row, candidate: Row) -> tuple[Any, ...]:
    """Return the contract's key: score, fewer unmet, fuller requirement, newest, id."""
    required, have = opportunity["skills_required_matrix"], volunteer["skills_learned_matrix"]
    unmet = sum(have.get(id_, 0) < level for id_, level in required.items())
    created = datetime.fromisoformat(candidate["created_at"])
    return -exact_score(required, have), unmet, -sum(required.values()), -created.timestamp(), candidate["id"]


class MatchesOracleTests(APITestCase):
    """A demo of a thousand listings and as many volunteers."""

    @classmethod
    @override_settings(DEBUG=True, PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
    def setUpTestData(cls) -> None:
        """Seed the demo."""
        call_command("seed_demo", opportunities=ROWS, volunteers=ROWS, stdout=StringIO())

    def setUp(self) -> None:
        """Read the catalogs and the listings, as a project manager sees them."""
        self.random = Random(7)
        self.client.force_authenticate(make_pm_user())
        self.names = {row["id"]: row["name"] for row in self.get_all("/api/skills/")}
        self.projects = {row["id"]: row for row in self.get_all("/api/projects/")}
        self.opportunities = self.get_all("/api/opportunities/?limit=500")
        self.accounts = list(UserProfile.objects.filter(email__startswith="volunteer").order_by("pk"))

    def get_all(self, url: str) -> list[Row]:
        """Return the rows of all pages."""
        response = self.client.get(url)
        rows: list[Row] = response.json()
        total = int(response.get("X-Total-Count", str(len(rows))))
        while len(rows) < total:
            rows += self.client.get(f"{url}&offset={len(rows)}").json()
        return rows

    def record(self, account: UserProfile) -> Row:
        """Return a volunteer's own record."""
        self.client.force_authenticate(account)
        row: Row = self.client.get("/api/users/me/").json()
        return row

    def test_volunteer_who_saves_three_steps_gets_the_expected_ranking(self) -> None:
        """Community, skills, times: then every match of fifty volunteers is as worked out."""
        compared = 0
        for account in self.random.sample(self.accounts, SAMPLE):
            volunteer = answers = self.record(account)
            client = browser()
            client.force_login(account)
            refresh_csrf_token(client)
            for step in (
                {"community_of_practice": answers["community_of_practice"]},
                {"skills_learned_matrix": answers["skills_learned_matrix"]},
                {name: answers[name] for name in ("max_available_hours", "meeting_availability")},
            ):
                volunteer = client.patch("/api/users/me/", step).json()
            opened = [row for row in self.opportunities if row["status"] == "open"]
            overlapping = [row for row in opened if expected_score(row, volunteer)]
            expected = [
                {"opportunity": row, **expected_match(row, volunteer, self.projects[row["project"]], self.names)}
                for row in sorted(overlapping, key=lambda row: order(row, volunteer, row))
            ]
            self.client.force_authenticate(account)
            self.assertEqual(self.get_all("/api/users/me/matches/?limit=100"), expected)
            compared += len(expected)
        self.assertGreater(compared, MINIMUM)

    def test_pm_user_gets_the_expected_ranking(self) -> None:
        """Every match of fifty opportunities, whatever their status."""
        volunteers = [self.record(account) for account in self.accounts]
        self.client.force_authenticate(make_pm_user())
        compared = 0
        for opportunity in self.random.sample(self.opportunities, SAMPLE):
            project = self.projects[opportunity["project"]]
            overlapping = [row for row in volunteers if expected_score(opportunity, row)]
            expected = [
                {
                    "volunteer": {
                        key: row[key] for key in ("id", "name", "email", "community_of_practice", "max_available_hours")
                    },
                    **expected_match(opportunity, row, project, self.names),
                }
                for row in sorted(overlapping, key=lambda row: order(opportunity, row, row))
            ]
            self.assertEqual(self.get_all(f"/api/opportunities/{opportunity['id']}/matches/?limit=100"), expected)
            compared += len(expected)
        self.assertGreater(compared, MINIMUM)


def expected_score(opportunity: Row, volunteer: Row) -> Fraction:
    """Return the exact score of a pair."""
    return exact_score(opportunity["skills_required_matrix"], volunteer["skills_learned_matrix"])
