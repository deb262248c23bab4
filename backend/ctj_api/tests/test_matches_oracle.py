"""Every score, order and explanation of a demo, worked out a second time from what the API itself tells."""

from datetime import datetime
from io import StringIO
from itertools import cycle
from random import Random
from typing import Any

from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone
from rest_framework.test import APITestCase

from ctj_api.models import Opportunity, Project, UserProfile

from .common import WEEK, make_pm_user
from .matching_oracle import Pairing, Row, naive_fraction, naive_ranking, naive_times, with_opportunity, with_volunteer

ROWS = 500
SAMPLE = 50
# Matches that are compared in each direction; there are several times as many.
MINIMUM = 1000

PUBLIC = ("id", "name", "email", "community_of_practice", "max_available_hours")

type Record = dict[str, Any]


def expected_match(opportunity: Record, volunteer: Record, project: Record, names: dict[str, str]) -> Record:
    """Return what the contract says of a pair, but for who it is."""
    required, have = opportunity["skills_required_matrix"], volunteer["skills_learned_matrix"]
    skills = [
        {
            "skill": id_,
            "name": names[id_],
            "required": level,
            "have": (own := have.get(id_, 0)),
            "status": "met" if own >= level else "below" if own else "missing",
        }
        for id_, level in required.items()
    ]
    hours = volunteer["max_available_hours"]
    return {
        "score": round(float(naive_fraction(required, have)), 4),
        "met_count": sum(skill["status"] == "met" for skill in skills),
        "required_count": len(skills),
        "skills": sorted(skills, key=lambda skill: (min(skill["have"] - skill["required"], 0), skill["name"])),
        "fits_hours": None if hours is None else opportunity["min_hours_required"] <= hours,
        **naive_times(
            opportunity["meeting_times"] or project["meeting_times"], volunteer["meeting_availability"], timezone.now()
        ),
    }


def ranked(records: list[Record], matrix: str, pairing: Pairing) -> list[Record]:
    """Return the records that overlap, best first."""
    by_id = {record["id"]: record for record in records}
    created = {id_: datetime.fromisoformat(record["created_at"]).timestamp() for id_, record in by_id.items()}
    return [by_id[id_] for id_ in naive_ranking((Row(id_, by_id[id_][matrix], created[id_]) for id_ in by_id), pairing)]


class MatchOracleReadTests(APITestCase):
    """A demo of five hundred listings and as many volunteers."""

    @classmethod
    @override_settings(DEBUG=True, PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
    def setUpTestData(cls) -> None:
        """Seed the demo, and give a third of its listings meetings of their own: those of any project, or none."""
        call_command("seed_demo", opportunities=ROWS, volunteers=ROWS, stdout=StringIO())
        weeks = [*Project.objects.order_by("name").values_list("meeting_times", flat=True), {**WEEK, "slots": []}]
        for listing, week in zip(Opportunity.objects.order_by("pk")[: ROWS // 3], cycle(weeks)):
            Opportunity.objects.filter(pk=listing.pk).update(meeting_times=week)

    def setUp(self) -> None:
        """Read the catalogs and the listings, as a project manager sees them."""
        self.random = Random(7)
        self.client.force_authenticate(make_pm_user())
        self.names = {row["id"]: row["name"] for row in self.get_all("/api/skills/")}
        self.projects = {row["id"]: row for row in self.get_all("/api/projects/")}
        self.opportunities = self.get_all("/api/opportunities/?limit=500")
        self.accounts = list(UserProfile.objects.filter(email__startswith="volunteer").order_by("pk"))

    def get_all(self, url: str) -> list[Record]:
        """Return the rows of all pages."""
        response = self.client.get(url)
        rows: list[Record] = response.json()
        total = int(response.get("X-Total-Count", str(len(rows))))
        while len(rows) < total:
            rows += self.client.get(f"{url}&offset={len(rows)}").json()
        return rows

    def record(self, account: UserProfile) -> Record:
        """Return a volunteer's own record."""
        self.client.force_authenticate(account)
        row: Record = self.client.get("/api/users/me/").json()
        return row

    def test_everyone_gets_the_expected_ranking(self) -> None:
        """Every match of fifty volunteers, and of fifty opportunities, whatever their status."""
        compared = [0, 0]
        opened = [row for row in self.opportunities if row["status"] == "open"]
        for account in self.random.sample(self.accounts, SAMPLE):
            volunteer = self.record(account)
            matches = [
                {"opportunity": row, **expected_match(row, volunteer, self.projects[row["project"]], self.names)}
                for row in ranked(opened, "skills_required_matrix", with_volunteer(volunteer["skills_learned_matrix"]))
            ]
            self.assertEqual(self.get_all("/api/users/me/matches/?limit=100"), matches)
            compared[0] += len(matches)
        volunteers = [self.record(account) for account in self.accounts]
        self.client.force_authenticate(make_pm_user())
        for opportunity in self.random.sample(self.opportunities, SAMPLE):
            project = self.projects[opportunity["project"]]
            pairing = with_opportunity(opportunity["skills_required_matrix"])
            matches = [
                {
                    "volunteer": {name: row[name] for name in PUBLIC},
                    **expected_match(opportunity, row, project, self.names),
                }
                for row in ranked(volunteers, "skills_learned_matrix", pairing)
            ]
            self.assertEqual(self.get_all(f"/api/opportunities/{opportunity['id']}/matches/?limit=100"), matches)
            compared[1] += len(matches)
        self.assertGreater(min(compared), MINIMUM)
