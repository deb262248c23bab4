"""The ranked lists: opportunities for a volunteer, and volunteers for an opportunity."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from django.utils import timezone
from rest_framework.test import APITestCase

from ctj_api.models import Opportunity, Skill, SkillMatrix, UserProfile
from ctj_api.ranking.matches import Narrowing, OpportunityRanking, VolunteerRanking
from ctj_api.serializers import OpportunityMatchReadSerializer

from . import common

MY_MATCHES = "/api/users/me/matches/"
PACIFIC, BERLIN = "America/Los_Angeles", "Europe/Berlin"
(MONDAY,) = common.WEEK["slots"]
BUSY: dict[str, Any] = {"timezone": PACIFIC, "slots": [{"day": "tue", "start": "18:00", "end": "20:00"}]}


def matches_of(opportunity: Opportunity) -> str:
    """Return the address of the volunteers ranked for an opportunity."""
    return f"/api/opportunities/{opportunity.pk}/matches/"


def slot(text: str, **more: str) -> dict[str, str]:
    """Return a slot that is given as ``mon 18:00-20:00``."""
    return {"day": text[:3], "start": text[4:9], "end": text[10:], **more}


def told(posted: Any, zone: str, local: str = "", fits: bool | None = True) -> dict[str, Any]:
    """Return a meeting as matches tell of it, ``local`` on a clock of Los Angeles where that is another one."""
    clock = slot(local) if local else {key: posted[key] for key in ("day", "start", "end")}
    on_clock = None if fits is None else {**clock, "timezone": PACIFIC}
    return {"name": "", **posted, "timezone": zone, "local": on_clock, "fits": fits}


class MatchAssertions(APITestCase):
    """What both directions share."""

    def setUp(self) -> None:
        """Make three skills, a volunteer with two of them, and a project that meets on Mondays."""
        self.react, self.css, self.sql = (common.make_skill(name=name) for name in ("React", "CSS", "SQL"))
        self.project = common.make_project(name="Food Oasis", meeting_times=common.WEEK)
        self.volunteer = common.make_regular_user(
            {self.react: 3, self.css: 2},
            email="ana@example.org",
            first_name="Ana",
            last_name="Reyes",
            community_of_practice=common.make_cop("engineering"),
            max_available_hours=6,
            meeting_availability=common.WEEK,
        )
        self.pm = common.make_pm_user()

    def opportunity(self, levels: dict[Skill, int], **fields: Any) -> Opportunity:
        """Return an open opportunity of the project."""
        return common.make_opportunity(levels, **{"project": self.project, "min_hours_required": 6, **fields})

    def listed(self, url: str, user: UserProfile, **query: Any) -> list[dict[str, Any]]:
        """Return the matches that a user sees."""
        self.client.force_authenticate(user)
        response = self.client.get(url, query)
        self.assertEqual(response.status_code, 200, response.content)
        matches: list[dict[str, Any]] = response.json()
        return matches


class OpportunityMatchReadTests(MatchAssertions):
    """The open opportunities, ranked for the signed-in volunteer."""

    def mine(self, **query: Any) -> list[dict[str, Any]]:
        """Return the volunteer's matches."""
        return self.listed(MY_MATCHES, self.volunteer, **query)

    def ids(self, **query: Any) -> list[str]:
        """Return the ids of the volunteer's opportunities, best first."""
        return [match["opportunity"]["id"] for match in self.mine(**query)]

    def test_authenticated_user_sees_each_match_explained(self) -> None:
        """Score, counts, and each required skill with what is there of it: unmet first, by gap, then by name."""
        opportunity = self.opportunity({self.react: 3, self.css: 4, self.sql: 2})
        (match,) = self.mine()
        self.assertEqual(match.pop("opportunity"), self.client.get(f"/api/opportunities/{opportunity.pk}/").json())
        self.assertEqual(
            match,
            {
                "score": 0.5556,
                "met_count": 1,
                "required_count": 3,
                "skills": [
                    {"skill": str(self.css.pk), "name": "CSS", "required": 4, "have": 2, "status": "below"},
                    {"skill": str(self.sql.pk), "name": "SQL", "required": 2, "have": 0, "status": "missing"},
                    {"skill": str(self.react.pk), "name": "React", "required": 3, "have": 3, "status": "met"},
                ],
                "fits_hours": True,
                "fits_meetings": True,
                "fits_all_meetings": True,
                "meetings": [told(MONDAY, PACIFIC)],
            },
        )

    def test_authenticated_user_sees_the_best_first(self) -> None:
        """By score, then fewer unmet skills, then the fuller requirement, then the newest, then by id."""
        now = timezone.now() + timedelta(days=1)
        older = self.opportunity({self.react: 3}, created_at=now - timedelta(days=1))
        twins = [self.opportunity({self.react: 3}, created_at=now) for _ in range(2)]
        fuller = self.opportunity({self.react: 3, self.css: 2}, created_at=now - timedelta(days=3))
        one_gap = self.opportunity({self.react: 3, self.sql: 3}, created_at=now)
        two_gaps = self.opportunity({self.react: 5, self.sql: 1}, created_at=now)
        self.opportunity({self.sql: 1})
        self.opportunity({})
        expected = [fuller, *sorted(twins, key=lambda twin: twin.pk), older, one_gap, two_gaps]
        self.assertEqual(self.ids(), [str(row.pk) for row in expected])
        self.assertEqual([match["score"] for match in self.mine()], [1, 1, 1, 1, 0.5, 0.5])

    def test_authenticated_user_sees_open_opportunities_only(self) -> None:
        """Neither drafts, even own ones, nor ended listings."""
        opened = self.opportunity({self.react: 3})
        for status in ("draft", "on_hold", "filled", "closed"):
            self.opportunity({self.react: 3}, status=status, created_by=self.pm)
        self.assertEqual(self.ids(), [str(opened.pk)])
        UserProfile.objects.filter(pk=self.volunteer.pk).update(is_project_manager=True)
        self.volunteer.refresh_from_db()
        self.assertEqual(self.ids(), [str(opened.pk)])

    def test_authenticated_user_sees_what_fits(self) -> None:
        """Hours and meetings, each true, false or unknown; ``fits=true`` leaves out what is false."""
        elsewhere = common.make_project(meeting_times=BUSY)
        unknown = common.make_project()
        for fields, fits_hours, fits_meetings in (
            ({}, True, True),
            ({"min_hours_required": 7}, False, True),
            ({"project": elsewhere}, True, False),
            ({"project": unknown}, True, None),
            ({"project": unknown, "min_hours_required": 7}, False, None),
        ):
            with self.subTest(fields):
                opportunity = self.opportunity({self.react: 3}, **fields)
                (match,) = self.mine()
                self.assertEqual((match["fits_hours"], match["fits_meetings"]), (fits_hours, fits_meetings))
                fits = False not in (fits_hours, fits_meetings)
                self.assertEqual(self.ids(fits="true"), [str(opportunity.pk)] if fits else [])
                self.assertEqual(self.ids(fits="false"), [str(opportunity.pk)])
                opportunity.delete()
        self.opportunity({self.react: 3})
        UserProfile.objects.filter(pk=self.volunteer.pk).update(max_available_hours=None, meeting_availability=None)
        self.volunteer.refresh_from_db()
        (match,) = self.mine(fits="all")
        self.assertEqual((match["fits_hours"], match["fits_meetings"], match["fits_all_meetings"]), (None, None, None))
        self.assertEqual(match["meetings"], [told(MONDAY, PACIFIC, fits=None)])

    def test_authenticated_user_sees_which_meetings_of_a_role_fit(self) -> None:
        """As posted, and on their own clock; those of the project count where the listing names none of its own."""
        late = {"timezone": PACIFIC, "slots": [MONDAY, slot("mon 22:00-24:00"), slot("tue 00:00-02:00")]}
        UserProfile.objects.filter(pk=self.volunteer.pk).update(meeting_availability=late)
        self.volunteer.refresh_from_db()
        sync, retro = slot("mon 18:00-19:00", name="Sync"), slot("thu 12:00-13:00", name="Retro")
        early, dawn, noon = (slot(f"tue {hours}") for hours in ("08:00-09:00", "08:30-09:30", "12:00-13:00"))
        client = common.browser(self.pm)
        payload = common.opportunity_payload(
            project=str(common.make_project(meeting_times=BUSY).pk), skills_required_matrix={str(self.react.pk): 3}
        )
        url = f"/api/opportunities/{client.post('/api/opportunities/', payload).json()['id']}/"
        for zone, slots, expected, some, every in (
            (PACIFIC, [sync], [told(sync, PACIFIC)], True, True),
            (PACIFIC, [retro, sync], [told(retro, PACIFIC, fits=False), told(sync, PACIFIC)], True, False),
            (PACIFIC, [retro], [told(retro, PACIFIC, fits=False)], False, False),
            (BERLIN, [noon], [told(noon, BERLIN, "tue 03:00-04:00", fits=False)], False, False),
            (BERLIN, [dawn], [told(dawn, BERLIN, "mon 23:30-00:30")], True, True),
            (BERLIN, [early], [told(early, BERLIN, "mon 23:00-24:00")], True, True),
            (PACIFIC, [], [], None, None),
            (None, None, [told(BUSY["slots"][0], PACIFIC, fits=False)], False, False),
        ):
            payload["meeting_times"] = zone and {"timezone": zone, "slots": slots}
            self.assertEqual(client.put(url, payload).json()["meeting_times"], payload["meeting_times"])
            with (
                self.subTest(zone=zone, slots=slots),
                patch("ctj_api.views.timezone.now", return_value=datetime(2026, 1, 14, tzinfo=UTC)),
            ):
                for matches, user in ((MY_MATCHES, self.volunteer), (f"{url}matches/", self.pm)):
                    (match,) = self.listed(matches, user)
                    self.assertEqual(match["meetings"], expected)
                    self.assertEqual((match["fits_meetings"], match["fits_all_meetings"]), (some, every))
                    self.assertEqual(len(self.listed(matches, user, fits="true")), some is not False)
                    self.assertEqual(len(self.listed(matches, user, fits="all")), every is not False)

    def test_authenticated_user_can_narrow_by_score_and_to_what_is_met(self) -> None:
        """The exact score counts, neither rounded to places nor to a float; ``require_all`` leaves nothing unmet."""
        partly = self.opportunity({self.react: 3, self.sql: 5, self.css: 1})
        whole = self.opportunity({self.react: 3})
        both = [str(whole.pk), str(partly.pk)]
        self.assertEqual([match["score"] for match in self.mine()], [1.0, 0.4444])
        for minimum in ("0", "0.4444", "0.44444444444444", "4e-1"):
            self.assertEqual(self.ids(min_score=minimum), both)
        for minimum in ("0.4445", "1", "1.0"):
            self.assertEqual(self.ids(min_score=minimum), [str(whole.pk)])
        self.assertEqual(self.ids(require_all="true"), [str(whole.pk)])
        self.assertEqual(self.ids(require_all="false"), both)
        Opportunity.objects.all().delete()
        exact = self.opportunity({self.react: 1, self.sql: 2})
        self.assertEqual(self.ids(min_score="0.33333333333333333333"), [str(exact.pk)])
        self.assertEqual(self.ids(min_score="0.33333333333333333334"), [])

    def test_authenticated_user_can_use_the_filters_of_the_listing(self) -> None:
        """Each finds one of two."""
        role = common.make_role(title="UI/UX Designer", community_of_practice=common.make_cop("ui_ux"))
        wanted = self.opportunity(
            {self.react: 3, self.css: 1},
            role=role,
            project=common.make_project(name="Expunge Assist"),
            body="Design forms that people finish.",
            work_environment="in_person",
            min_experience_required="senior",
            min_hours_required=2,
        )
        self.opportunity({self.react: 3})
        for name, value in (
            ("work_environment", "in_person"),
            ("min_experience_required", "senior"),
            ("project", wanted.project_id),
            ("role", role.pk),
            ("community_of_practice", "ui_ux"),
            ("skill", self.css.pk),
            ("max_hours", 2),
            ("search", "designer forms"),
        ):
            with self.subTest(name):
                self.assertEqual(self.ids(**{name: value}), [str(wanted.pk)])
        response = self.client.get(MY_MATCHES, {"work_environment": "nonsense"})
        self.assertEqual(list(common.error_of(response)["fields"]), ["work_environment"])

    def one(self, opportunity: Opportunity, user: UserProfile | None = None) -> Any:
        """Return the response with the match of a user, else the volunteer's, and one opportunity."""
        self.client.force_authenticate(user or self.volunteer)
        return self.client.get(f"{MY_MATCHES}{opportunity.pk}/")

    def test_authenticated_user_sees_the_match_with_one_opportunity(self) -> None:
        """As the list has it, also with other statuses and where nothing overlaps; drafts are for project managers."""
        open_, filled = (self.opportunity({self.react: 3, self.sql: 1}, status=status) for status in ("open", "filled"))
        (listed,) = self.mine()
        self.assertEqual(self.one(open_).json(), listed)
        self.assertEqual(self.one(open_)["Cache-Control"], "private, no-store")
        detail = self.client.get(f"/api/opportunities/{filled.pk}/").json()
        self.assertEqual(self.one(filled).json(), {**listed, "opportunity": detail})
        newcomer = common.make_regular_user()
        for levels, user, missing in (({self.sql: 2}, None, 1), ({}, None, 0), ({self.react: 3}, newcomer, 1)):
            with self.subTest(levels=levels, user=user):
                body = self.one(self.opportunity(levels, status="closed"), user).json()
                self.assertEqual((body["score"], body["met_count"], body["required_count"]), (0, 0, missing))
                self.assertEqual([skill["status"] for skill in body["skills"]], ["missing"] * missing)
        draft = self.opportunity({self.react: 3}, status="draft")
        self.assertEqual(self.one(draft, self.pm).json()["fits_hours"], None)
        for response in (self.one(draft), self.client.get(f"{MY_MATCHES}{common.UNKNOWN_ID}/")):
            self.assertEqual((response.status_code, common.error_of(response)["code"]), (404, "not_found"))

    def test_authenticated_user_without_matches_is_told_why(self) -> None:
        """Nothing was rated, nothing is open, nothing overlaps, or the query leaves nothing; only then."""

        def note(query: str = "", user: UserProfile | None = None) -> str | None:
            self.client.force_authenticate(user or self.volunteer)
            return self.client.get(MY_MATCHES + query).get("X-Match-Note")

        self.opportunity({self.react: 3}, status="filled")
        self.assertEqual(note("?search=nothing"), "none-open")
        self.opportunity({self.sql: 3})
        self.assertEqual([note(), note("?limit=1&offset=9")], ["none-overlap"] * 2)
        for user in (common.make_regular_user(), common.make_regular_user({})):
            self.assertEqual(note(user=user), "no-skills-rated")
        self.opportunity({self.react: 5}, min_hours_required=9)
        for query in ("?search=nothing", "?min_score=0.7", "?require_all=true", "?fits=true", "?max_hours=1"):
            self.assertEqual((query, note(query)), (query, "none-left"))
        self.assertEqual([note(), note("?offset=9")], [None, None])

    def test_authenticated_user_sees_pages(self) -> None:
        """Twenty unless asked otherwise, which no cache keeps; the pages tile the ranking."""
        for _ in range(23):
            self.opportunity({self.react: 3})
        self.client.force_authenticate(self.volunteer)
        response = self.client.get(MY_MATCHES)
        self.assertEqual((len(response.json()), response["X-Total-Count"]), (20, "23"))
        self.assertEqual(response["Cache-Control"], "private, no-store")
        self.assertIn(f'<{MY_MATCHES}?limit=20&offset=20>; rel="next"', response["Link"])
        everything = self.ids(limit=100)
        self.assertEqual(self.ids(limit=10) + self.ids(limit=10, offset=10) + self.ids(limit=10, offset=20), everything)
        self.assertEqual(self.ids(offset=23), [])


class VolunteerMatchReadTests(MatchAssertions):
    """The volunteers, ranked for an opportunity, as project managers see them."""

    def setUp(self) -> None:
        """Make an opportunity that wants three skills."""
        super().setUp()
        self.wanted = self.opportunity({self.react: 3, self.css: 4, self.sql: 2}, created_by=self.pm)
        self.url = matches_of(self.wanted)

    def ranked(self, **query: Any) -> list[str]:
        """Return the e-mail addresses of the volunteers that a project manager sees, best first."""
        return [match["volunteer"]["email"] for match in self.listed(self.url, self.pm, **query)]

    def test_pm_user_sees_each_match_explained(self) -> None:
        """Who it is, and the same score and explanation that the volunteer sees."""
        (match,) = self.listed(self.url, self.pm)
        (seen_by_volunteer,) = self.listed(MY_MATCHES, self.volunteer)
        self.assertEqual(
            match.pop("volunteer"),
            {
                "id": str(self.volunteer.pk),
                "name": "Ana Reyes",
                "email": "ana@example.org",
                "community_of_practice": str(common.make_cop("engineering").pk),
                "max_available_hours": 6,
            },
        )
        seen_by_volunteer.pop("opportunity")
        self.assertEqual(match, seen_by_volunteer)

    def test_pm_user_sees_active_users_who_have_rated_skills(self) -> None:
        """Project managers among them, but nobody inactive; for any listing, drafts of others included."""
        common.make_pm_user(levels={self.react: 3, self.css: 4, self.sql: 2}, email="pm@example.org")
        self.assertEqual(self.ranked(), ["pm@example.org", "ana@example.org"])
        for status in ("draft", "open", "on_hold", "filled", "closed"):
            listing = self.opportunity({self.react: 3}, status=status, created_by=common.make_pm_user())
            self.assertEqual(len(self.listed(matches_of(listing), self.pm)), 2)
        self.assertEqual(self.listed(matches_of(self.opportunity({})), self.pm), [])
        UserProfile.objects.filter(pk=self.volunteer.pk).update(is_active=False)
        self.assertEqual(self.ranked(), ["pm@example.org"])

    def test_pm_user_can_narrow_and_turn_pages(self) -> None:
        """By score, to what is met, to who has the time; the headers tell how many there are."""
        common.make_regular_user({self.sql: 2}, email="bo@example.org", max_available_hours=5)
        common.make_regular_user({self.sql: 1, self.css: 1}, email="cy@example.org", meeting_availability=BUSY)
        whole = {self.react: 3, self.css: 4, self.sql: 2}
        common.make_regular_user(whole, email="di@example.org")
        self.assertEqual(self.ranked(), [f"{name}@example.org" for name in ("di", "ana", "bo", "cy")])
        self.assertEqual(self.ranked(min_score="0.5"), ["di@example.org", "ana@example.org"])
        self.assertEqual(self.ranked(require_all="true"), ["di@example.org"])
        self.assertEqual(self.ranked(fits="true"), ["di@example.org", "ana@example.org"])
        self.assertEqual(self.ranked(fits="true", require_all="true", min_score="1"), ["di@example.org"])
        response = self.client.get(f"{self.url}?limit=1&offset=2&min_score=0.1")
        self.assertEqual([match["volunteer"]["email"] for match in response.json()], ["bo@example.org"])
        self.assertEqual(response["X-Total-Count"], "4")

    def test_anyone_else_cannot_see_volunteers(self) -> None:
        """Inactive project managers are refused, and who is none isn't told which listings there are."""
        unknown = f"/api/opportunities/{common.UNKNOWN_ID}/matches/"
        inactive = common.make_pm_user(is_active=False)
        cases = [(inactive, self.url, 403, "permission_denied"), (self.volunteer, unknown, 403, "permission_denied")]
        for user, url, status, code in (*cases, (self.pm, unknown, 404, "not_found")):
            self.client.force_authenticate(user)
            response = self.client.get(url)
            self.assertEqual((response.status_code, common.error_of(response)["code"]), (status, code))

    def test_anyone_else_is_told_no_address_of_a_volunteer(self) -> None:
        """Whoever asks for whatever: only the volunteer, and project managers here."""
        urls = [f"/api/{name}/" for name in ("skills", "roles", "projects", "communities-of-practice", "opportunities")]
        for user in (None, common.make_regular_user({self.react: 1}), self.pm):
            self.client.force_authenticate(user)
            for url in [*urls, "/api/users/me/", MY_MATCHES, f"/api/users/{self.volunteer.pk}/"]:
                with self.subTest(user=user, url=url):
                    self.assertNotIn("ana@example.org", self.client.get(url).content.decode())


class MatchReadTests(MatchAssertions):
    """What holds in both directions: strict parameters, changes between one query and the next, clocks."""

    def test_authenticated_users_with_unusable_parameter_get_400(self) -> None:
        """The parameter is named; the listing's filters say nothing of volunteers, and the score is the order."""
        scores = ["-0.1", "1.1", "x", "nan", "inf", "", "1e999999999", "1e-999999999", "½", "0.5_0", " 0.5", ".5"]
        bad = {
            "min_score": [*scores, "0." + "1" * 30],
            "require_all": ["True", "1", "yes", ""],
            "fits": ["False", "0", "", "ALL"],
            "limit": ["0", "101", "x", ""],
            "offset": ["-1", "x", ""],
            "ordering": ["created_at"],
            "created_by": ["me"],
            "status": ["open"],
            "nonsense": ["1"],
        }
        cases = [(MY_MATCHES, self.volunteer, bad)]
        cases.append((matches_of(self.opportunity({self.react: 3})), self.pm, {**bad, "search": ["react"]}))
        for url, user, wrong in cases:
            self.client.force_authenticate(user)
            for name, value in ((name, value) for name, values in wrong.items() for value in values):
                with self.subTest(url=url, name=name, value=value):
                    response = self.client.get(url, {name: value})
                    self.assertEqual((response.status_code, list(common.error_of(response)["fields"])), (400, [name]))

    def test_authenticated_users_cost_a_constant_number_of_queries(self) -> None:
        """Session, user, what changed, those rows, the page, names, and what is ranked for; ``fits`` asks for times."""
        wanted, with_times = self.opportunity({self.react: 3}), "?fits=true&limit=100"
        for user, url, costs in (
            (self.volunteer, MY_MATCHES, {"": 7, with_times: 9, f"{wanted.pk}/": 5}),
            (self.pm, matches_of(wanted), {"": 7, with_times: 8}),
        ):
            client = common.browser(user)
            for rows in (1, 50):
                for _ in range(rows):
                    self.opportunity({self.react: 3}, project=common.make_project(meeting_times=common.WEEK))
                    common.make_regular_user({self.react: 3}, meeting_availability=common.WEEK)
                for query, queries in costs.items():
                    with self.subTest(url=url, rows=rows, query=query), self.assertNumQueries(queries):
                        client.get(url + query)

    def test_everyone_is_shown_what_still_matches(self) -> None:
        """What has other skills by now, was closed or made inactive, is left out of the page."""
        kept, changed, closed = (self.opportunity({self.react: 3}) for _ in range(3))
        opportunities = OpportunityRanking(self.volunteer, Opportunity.objects.open(), Narrowing(), timezone.now())
        unsure, inactive = (common.make_regular_user({self.react: 3}) for _ in range(2))
        volunteers = VolunteerRanking(kept, Narrowing(), timezone.now())
        self.assertEqual((len(opportunities), len(volunteers)), (3, 3))
        SkillMatrix.objects.store({str(self.sql.pk): 3}, into=changed.skills_required_matrix)
        Opportunity.objects.filter(pk=closed.pk).update(status="closed")
        SkillMatrix.objects.store({}, into=unsure.skills_learned_matrix)
        UserProfile.objects.filter(pk=inactive.pk).update(is_active=False)
        self.assertEqual([match.opportunity for match in opportunities[:3]], [kept])
        self.assertEqual([match.volunteer for match in volunteers[:3]], [self.volunteer])

    def test_volunteer_is_shown_a_skill_deleted_meanwhile_without_its_name(self) -> None:
        """The page was read before the names; the explanation still goes with the score."""
        opportunity = self.opportunity({self.react: 3, self.sql: 3})
        ranking = OpportunityRanking(self.volunteer, Opportunity.objects.open(), Narrowing(), timezone.now())
        page = ranking[:1]
        SkillMatrix.objects.store({str(self.react.pk): 3}, into=Opportunity.objects.get().skills_required_matrix)
        id_ = str(self.sql.pk)
        self.sql.delete()
        (match,) = OpportunityMatchReadSerializer(page, many=True).data
        self.assertEqual((match["opportunity"]["id"], match["required_count"]), (opportunity.pk, 2))
        (missing, _) = match["skills"]
        self.assertEqual((missing["skill"], missing["name"], missing["status"]), (id_, "", "missing"))

    def test_everyone_sees_meetings_compared_on_the_clocks_of_the_week_that_begins_today(self) -> None:
        """Los Angeles changes its clocks three weeks before London, so that 18:00 is 01:00 there, and 02:00 again."""
        night = {"timezone": "Europe/London", "slots": [{"day": "tue", "start": "01:00", "end": "03:00"}]}
        londoner = common.make_regular_user({self.react: 3}, meeting_availability=night)
        self.volunteer.delete()
        opportunity = self.opportunity({self.react: 3})
        for month, day, fits in ((2, 10, False), (3, 10, True), (3, 31, False)):
            now = datetime(2026, month, day, tzinfo=UTC)
            for url, user in ((MY_MATCHES, londoner), (matches_of(opportunity), self.pm)):
                with self.subTest(now=now, url=url), patch("ctj_api.views.timezone.now", return_value=now):
                    self.assertEqual([match["fits_meetings"] for match in self.listed(url, user)], [fits])
                    self.assertEqual(len(self.listed(url, user, fits="true")), int(fits))
