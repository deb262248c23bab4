"""The candidates of a listing: the whole ranking of the API, in pages, narrowed, and as a file."""

import csv
from functools import partial
from io import StringIO
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, quote, urlsplit

from django.test import TestCase
from django.urls import reverse

from ctj_api.models import UserProfile

from . import common as make
from .common import candidates_url

FREE = "free times, America/Los_Angeles"
EVENING = {**make.WEEK, "slots": [{"day": "mon", "start": "18:00", "end": "19:00"}]}
NOBODY = "Nobody is matched with a listing that requires no skills."


class CandidateReadTests(TestCase):
    """A project manager looks for the best volunteers for a listing of somebody else."""

    def setUp(self) -> None:
        """Make a listing, and volunteers who differ in skills and times."""
        self.pm = make.make_pm_user(first_name="Ana", last_name="Diaz")
        self.client.force_login(self.pm)
        self.react, self.sql = make.make_skill(name="React"), make.make_skill(name="R&D + SQL")
        names = {
            "project": make.make_project(name="VRMS", meeting_times=make.WEEK),
            "role": make.make_role(title="Developer"),
        }
        self.listing = make.make_opportunity(
            {self.react: 3, self.sql: 2}, created_by=make.make_pm_user(), min_hours_required=5, **names
        )
        times: list[dict[str, Any]] = [
            {"max_available_hours": 9, "meeting_availability": make.WEEK},
            {"max_available_hours": 1, "meeting_availability": make.WEEK},
            {"max_available_hours": 9, "meeting_availability": EVENING},
            {},
        ]
        self.volunteers = [
            make.make_regular_user({self.react: level, self.sql: 2}, **kept, first_name=f"Vera {level}{number}")
            for level in (3, 1)
            for number, kept in enumerate(times)
        ]

    def shown(self, **query: object) -> list[str]:
        """Return the ids of the volunteers on a page."""
        page = self.client.get(candidates_url(self.listing, **query))
        return [match["volunteer"]["id"] for match in page.context["matches"]]

    def ranked(self, **query: str) -> list[str]:
        """Return the ids of the volunteers that the API ranks."""
        matches = self.client.get(reverse("opportunity-matches", args=[self.listing.pk]), query)
        return [match["volunteer"]["id"] for match in matches.json()]

    def test_pm_user_narrows_the_ranking_of_the_api(self) -> None:
        """By hours, by meetings, by who meets all and by percent; who gave nothing stays in."""
        short, late = [str(row.pk) for row in self.volunteers[1::4]], [str(row.pk) for row in self.volunteers[2::4]]
        ranked = self.ranked()
        self.assertEqual(len(ranked), 8)
        for query, expected in (
            ({}, ranked),
            ({"hours": "on"}, [pk for pk in ranked if pk not in short]),
            ({"meetings": "some"}, [pk for pk in ranked if pk not in late]),
            ({"hours": "on", "meetings": "all"}, self.ranked(fits="all")),
            ({"meets_all": "on"}, self.ranked(require_all="true")),
            ({"min_percent": 61}, self.ranked(min_score="0.61")),
            ({"min_percent": 101}, []),
            ({"meetings": "none"}, []),
            ({"page": 2}, ranked[5:]),
            ({"page": "x"}, ranked[:5]),
        ):
            with self.subTest(query), mock.patch("ctj_api.desk.candidates.A_PAGE", 5 if "page" in query else 25):
                self.assertEqual(self.shown(**query), expected)

    def test_pm_user_reads_each_candidate_in_words(self) -> None:
        """Reasons, hours, and free times on the clock here; a listing without skills says so."""
        slots = [{"day": day, "start": "01:00", "end": "03:00"} for day in ("wed", "fri")]
        week = {"timezone": "America/New_York", "slots": slots}
        make.make_regular_user(
            {self.react: 2}, first_name="<b>Kei</b>", meeting_availability=week, max_available_hours=0
        )
        page = self.client.get(candidates_url(self.listing))
        for text in (
            "4 volunteers meet all of these requirements, 5 meet them in part.",
            "It asks for 5 hours a week and meets Mon 18:00 to 20:00.",
            "All times are on the clock of America/Los_Angeles.",
            "R&amp;D + SQL: missing (2)",
            "0: don&#x27;t fit",
            "<li>Tue, Thu 22:00 to 24:00</li>",
            "<li>not given</li>",
        ):
            self.assertContains(page, text)
        all_day = [{"day": "mon", "start": "00:00", "end": "24:00"}]
        for slots, told in ((all_day, "Sun 21:00 to 21:00 the next day"), ([], "at no time")):
            self.volunteers[0].meeting_availability = {"timezone": "America/New_York", "slots": slots}
            self.volunteers[0].save()
            self.assertContains(self.client.get(candidates_url(self.listing)), f"<li>{told}</li>")
        for listing in (make.make_opportunity(), make.make_opportunity(status="draft")):
            self.assertContains(self.client.get(candidates_url(listing)), NOBODY)
        self.assertContains(self.client.get(make.change_url(self.listing)), candidates_url(self.listing))

    def test_pm_user_finds_a_mail_begun(self) -> None:
        """With subject, role, project and the skills that are met; the sign in an address or a name stays one."""
        self.volunteers[0].email = "vera+ctj#1@example.org"
        self.volunteers[0].save()
        [mail] = [
            urlsplit(match["mail"]())
            for match in self.client.get(candidates_url(self.listing)).context["matches"]
            if match["volunteer"]["id"] == str(self.volunteers[0].pk)
        ]
        self.assertEqual((mail.scheme, mail.path, mail.fragment), ("mailto", "vera%2Bctj%231@example.org", ""))
        self.assertNotIn("+", mail.query)
        parts = parse_qs(mail.query, strict_parsing=True)
        self.assertEqual(parts["subject"], ["Volunteering: Developer for VRMS"])
        for text in ("Hello Vera 30,\r\n", "R&D + SQL, React.\r\n", "Developer for VRMS", "Ana Diaz"):
            self.assertIn(text, parts["body"][0])
        UserProfile.objects.filter(pk=self.pm.pk).update(first_name="", last_name="")
        [match, *_] = self.client.get(candidates_url(self.listing)).context["matches"]
        self.assertIn(quote(self.pm.email), match["mail"]())

    def test_pm_user_downloads_the_whole_narrowed_ranking(self) -> None:
        """Every page of it, in its order, and no cell is a formula."""
        UserProfile.objects.filter(pk=self.volunteers[0].pk).update(first_name="=Vera")
        with mock.patch("ctj_api.desk.candidates.A_PAGE", 2):
            answer = self.client.get(candidates_url(self.listing, csv=1, meets_all="on", page=2))
        self.assertEqual(answer.headers["Content-Disposition"], 'attachment; filename="candidates.csv"')
        rows = list(csv.DictReader(StringIO(answer.content.decode("utf-8-sig"))))
        emails = {str(row.pk): row.email for row in self.volunteers}
        self.assertEqual([row["address"] for row in rows], [emails[pk] for pk in self.ranked(require_all="true")])
        first = next(row for row in rows if row["address"] == self.volunteers[0].email)
        self.assertEqual((first["name"], first["percent"], first["meetings fit"]), ("'=Vera", "100", "all"))
        self.assertEqual((first["skills"], first[FREE]), ("R&D + SQL 2/2, React 3/3", "Mon 18:00 to 20:00"))
        refused = self.client.get(candidates_url(self.listing, csv=1, min_percent="x"))
        self.assertContains(refused, "Enter a whole number.")

    def test_pm_user_looks_with_a_constant_number_of_queries(self) -> None:
        """However many candidates there are, on a page and in the file; nobody else looks."""
        urls = [candidates_url(self.listing), candidates_url(self.listing, csv=1, hours="on", meetings="all")]
        counts = [make.count_queries(partial(self.client.get, url)) for url in urls * 2][2:]
        for _ in range(30):
            make.make_regular_user({self.react: 3})
        self.client.get(urls[0])
        self.assertEqual([make.count_queries(partial(self.client.get, url)) for url in urls], counts)
        self.client.force_login(make.make_admin_user())
        self.assertEqual(self.client.get(urls[0]).status_code, 200)
        draft = make.make_opportunity(status="draft", created_by=self.pm)
        self.client.force_login(make.make_regular_user(is_staff=True))
        self.assertEqual(
            {self.client.get(candidates_url(row)).status_code for row in (self.listing, draft)}, {403, 404}
        )
