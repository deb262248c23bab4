"""The versions of what is written, by which nobody undoes in silence what somebody else has done."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.admin.models import LogEntry
from rest_framework.test import APIClient, APITestCase

from ctj_api.models import Opportunity, Project, Skill, SkillMatrix, UserProfile

from . import common

URL, ME = "/api/opportunities/", "/api/users/me/"
OTHER = '"another"'
NO_LISTS = ("", " ", ",", "garbage", "'a'", '"a', 'a"', '"a" "b"', '"a";"b"', 'w/"a"', 'W/ "a"', '*, "a"', '"\x7f"')


class VersionTests(APITestCase):
    """A listing and an account, whose owner has them open in two tabs."""

    def setUp(self) -> None:
        """Sign a project manager in, who has a matrix and a listing."""
        self.skills = [common.make_skill() for _ in range(3)]
        levels = dict.fromkeys(self.skills, 3)
        self.pm = common.make_pm_user(levels=levels, email="ana@example.org", meeting_availability=common.WEEK)
        self.listing = common.make_opportunity(levels, created_by=self.pm)
        self.url = f"{URL}{self.listing.pk}/"
        self.client.force_login(self.pm)
        matrix = {str(skill.pk): 4 for skill in sorted(self.skills, key=lambda skill: str(skill.pk), reverse=True)}
        self.payload = common.opportunity_payload(skills_required_matrix=matrix)
        self.answers: dict[str, Any] = {
            "community_of_practice": None,
            "skills_learned_matrix": matrix,
            "max_available_hours": 8,
            "meeting_availability": dict(reversed(common.WEEK.items())),
        }
        self.writes: list[tuple[str, str, dict[str, Any]]] = [
            ("put", self.url, self.payload),
            ("patch", ME, {"skills_learned_matrix": matrix, "first_name": "Ana"}),
            ("put", ME, self.answers),
            ("delete", self.url, {}),
            ("delete", ME, {"password": common.PASSWORD}),
        ]

    def send(self, method: str, url: str, body: dict[str, Any], known: str | None = None) -> Any:
        """Send a write, with the versions that the client knows."""
        headers = {} if known is None else {"If-Match": known}
        return getattr(self.client, method)(url, body, format="json", headers=headers)

    def tag(self, url: str) -> str:
        """Return the present version."""
        tag: str = self.client.get(url)["ETag"]
        return tag

    def stored(self) -> list[Any]:
        """Return all that a write could have changed."""
        models = (Opportunity, UserProfile, SkillMatrix, LogEntry)
        return [list(model._default_manager.order_by("pk").values()) for model in models]

    def test_everyone_reads_the_same_strong_tag_and_gets_304_for_it(self) -> None:
        """Whoever asks, by GET and by HEAD; other tags get the row."""
        anonymous, volunteer = APIClient(), APIClient()
        volunteer.force_login(common.make_regular_user())
        readers = [(client, self.url) for client in (anonymous, volunteer, self.client)]
        readers += [(self.client, ME), (self.client, f"/api/users/{self.pm.pk}/")]
        tags = set()
        for client, url in readers:
            for read in (client.get, client.head):
                first = read(url)
                tags.add(first["ETag"])
                again = read(url, headers={"If-None-Match": f"{OTHER}, {first['ETag']}"})
                with self.subTest(url=url):
                    self.assertRegex(first["ETag"], r'^"[0-9a-f]{64}"$')
                    self.assertEqual((again.status_code, again.content), (304, b""))
                    for name in ("ETag", "Cache-Control", "Vary"):
                        self.assertEqual(again[name], first[name])
                    self.assertEqual(read(url, headers={"If-None-Match": OTHER}).status_code, 200)
        self.assertEqual(len(tags), 2)
        refused = self.client.get(self.url, headers={"If-Match": OTHER})
        self.assertEqual((refused.status_code, common.error_of(refused)["code"]), (412, "precondition_failed"))

    def test_pm_user_gets_the_new_tag_from_each_write(self) -> None:
        """It is that of the next read; a write that changes nothing keeps it, whatever the order of keys."""
        created = self.send("post", URL, self.payload)
        self.assertEqual(created["ETag"], self.tag(f"{URL}{created.json()['id']}/"))
        for method, url, body in self.writes[:3]:
            with self.subTest(method=method, url=url):
                before = self.tag(url)
                written = self.send(method, url, body, before)
                self.assertEqual((written.status_code, written["ETag"]), (200, self.tag(url)))
                self.assertNotEqual(written["ETag"], before)
                again = self.send(method, url, body, written["ETag"])
                self.assertEqual((again["ETag"], again.json()), (written["ETag"], written.json()))

    def test_everyone_sees_another_tag_after_any_change(self) -> None:
        """Of the row, and of the names that are told with it, whatever has written them."""
        skill = Skill.objects.filter(pk=self.skills[0].pk)
        changes: list[tuple[str, Callable[[], object]]] = [
            (self.url, lambda: Opportunity.objects.update(status="filled")),
            (self.url, lambda: Project.objects.filter(opportunities=self.listing).update(name="Another")),
            (ME, lambda: UserProfile.objects.update(is_project_manager=False)),
            (ME, lambda: skill.update(name="Another")),
        ]
        for url, change in changes:
            before = self.tag(url)
            change()
            self.assertNotEqual(self.tag(url), before)

    def test_pm_user_with_another_version_or_no_version_writes_nothing(self) -> None:
        """Another and a weak tag are 412, what is no list of tags, or too long a one, is 400."""
        before = self.stored()
        for method, url, body in self.writes:
            refused = [(412, "precondition_failed", known) for known in (OTHER, f"W/{self.tag(url)}")]
            refused += [(400, "bad_request", known) for known in (*NO_LISTS, f'"{"x" * 9_000}"')]
            for status, code, known in refused:
                with self.subTest(method=method, url=url, known=known[:40]):
                    response = self.send(method, url, body, known)
                    self.assertEqual((response.status_code, common.error_of(response)["code"]), (status, code))
        self.assertEqual(self.stored(), before)

    def test_pm_user_with_the_present_version_or_any_writes(self) -> None:
        """One of several tags will do, from one header line or from two, whose values come joined by a comma."""
        for method, url, body in self.writes:
            lists = ("{}", f"{OTHER},{{}}", ' ,"a,b" ,\t, W/"", {},', "*")
            for known in lists if method != "delete" else lists[1:2]:
                with self.subTest(method=method, url=url, known=known):
                    self.assertLess(self.send(method, url, body, known.format(self.tag(url))).status_code, 300)

    def test_pm_user_is_told_first_what_is_not_theirs(self) -> None:
        """A version is compared after the rights: 403 and 404 come before 412."""
        gone, other = f"{URL}{common.UNKNOWN_ID}/", f"{URL}{common.make_opportunity().pk}/"
        for method, url, status in (("put", gone, 404), ("delete", gone, 404), ("put", other, 403)):
            for known in (None, OTHER):
                self.assertEqual(self.send(method, url, self.payload, known).status_code, status)
        self.client.logout()
        for method, url, body in self.writes:
            self.assertEqual(self.send(method, url, body, OTHER).status_code, 403)

    def test_pm_user_naming_a_version_costs_no_query_more(self) -> None:
        """What the comparison reads, the answer needs, too."""
        for method, url, body in self.writes[:2]:
            matrix = "skills_required_matrix" if url == self.url else "skills_learned_matrix"
            self.send(method, url, body)
            counts = []
            for level, names_version in ((1, False), (2, True)):
                known = self.tag(url) if names_version else None
                sent = {**body, matrix: {str(self.skills[0].pk): level}}
                counts.append(common.count_queries(partial(self.send, method, url, sent, known)))
            with self.subTest(url):
                self.assertEqual(counts[0], counts[1])
