"""The opportunities."""

from datetime import timedelta
from typing import Any

from django.contrib.admin.models import LogEntry
from django.utils import timezone
from rest_framework.test import APITestCase

from ctj_api.models import Opportunity, SkillMatrix

from .common import (
    UNKNOWN_ID,
    WEEK,
    browser,
    error_of,
    make_cop,
    make_opportunity,
    make_pm_user,
    make_project,
    make_regular_user,
    make_role,
    make_skill,
    opportunity_payload,
)

URL = "/api/opportunities/"


class OpportunityReadTests(APITestCase):
    """What the world sees."""

    def setUp(self) -> None:
        """Make a project manager with a draft and an open listing."""
        self.pm = make_pm_user(email="pm@example.org")
        self.react, self.css = make_skill(name="React"), make_skill(name="CSS")
        self.community, project = make_cop("ui_ux"), make_project(meeting_times=WEEK)
        role = make_role(community_of_practice=self.community)
        self.opened = make_opportunity({self.react: 3, self.css: 3}, created_by=self.pm, project=project, role=role)
        self.draft = make_opportunity(status="draft", created_by=self.pm)

    def ids(self, url: str = URL) -> list[str]:
        """Return the ids of the list, in its order."""
        return [opportunity["id"] for opportunity in self.client.get(url).json()]

    def test_anonymous_detail_returns_the_shape(self) -> None:
        """An opportunity has exactly the fields of the contract."""
        body = self.client.get(f"{URL}{self.opened.pk}/").json()
        self.assertEqual(body.pop("created_at")[-1], "Z")
        self.assertEqual(body.pop("updated_at")[-1], "Z")
        self.assertEqual(
            body,
            {
                "id": str(self.opened.pk),
                "project": str(self.opened.project_id),
                "project_name": self.opened.project.name,
                "role": str(self.opened.role_id),
                "role_title": self.opened.role.title,
                "community_of_practice": str(self.opened.role.community_of_practice_id),
                "community_of_practice_name": self.community.name,
                "body": "Help us to build it.",
                "min_experience_required": "",
                "min_hours_required": 0,
                "work_environment": "remote",
                "meeting_times": None,
                "project_meeting_times": WEEK,
                "skills_required_matrix": {str(self.react.pk): 3, str(self.css.pk): 3},
                "skills_required": [
                    {"skill": str(self.css.pk), "name": "CSS", "level": 3},
                    {"skill": str(self.react.pk), "name": "React", "level": 3},
                ],
                "status": "open",
                "created_by": "pm@example.org",
            },
        )
        self.assertLessEqual(body.items(), self.client.get(URL).json()[0].items())

    def test_regular_user_and_administrator_cannot_view_drafts_and_pm_user_can(self) -> None:
        """Drafts, and no other status, are for project managers, who see those of all, in lists and by id."""
        others = [make_opportunity(status=status) for status in ("on_hold", "filled", "closed")]
        for user in (None, make_regular_user(), make_regular_user(is_staff=True, is_superuser=True)):
            self.client.force_authenticate(user)
            self.assertEqual(set(self.ids()), {str(row.pk) for row in (self.opened, *others)})
            self.assertEqual(error_of(self.client.get(f"{URL}{self.draft.pk}/"))["code"], "not_found")
        self.client.force_authenticate(make_pm_user())
        self.assertIn(str(self.draft.pk), self.ids())
        self.assertEqual(self.client.get(f"{URL}{self.draft.pk}/").json()["status"], "draft")

    def test_anonymous_list_takes_limit_and_offset(self) -> None:
        """The newest first, then by id; the headers tell total, neighbours and the way back."""
        now = timezone.now() + timedelta(days=1)
        newer = [make_opportunity(created_at=now + timedelta(days=number // 2)) for number in range(4)]
        everything = self.ids()
        expected = sorted(newer, key=lambda row: (-row.created_at.timestamp(), row.pk))
        self.assertEqual(everything, [str(row.pk) for row in (*expected, self.opened)])
        for offset, links in (
            (0, {"first": 0, "last": 4, "next": 2}),
            (1, {"first": 0, "last": 3, "prev": 0, "next": 3}),
            (2, {"first": 0, "last": 4, "prev": 0, "next": 4}),
            (4, {"first": 0, "last": 4, "prev": 2}),
            (1000, {"first": 0, "last": 4, "prev": 4}),
        ):
            response = self.client.get(URL, {"limit": 2, "offset": offset})
            with self.subTest(offset=offset):
                self.assertEqual([row["id"] for row in response.json()], everything[offset : offset + 2])
                self.assertEqual(response["X-Total-Count"], "5")
                told = {f'<{URL}?limit=2&offset={to}>; rel="{rel}"' for rel, to in links.items()}
                self.assertEqual(set(response["Link"].split(", ")), told)

    def test_anonymous_list_takes_a_constant_number_of_queries(self) -> None:
        """The version, the count, the page and the names of skills: the same for one row and for fifty."""
        for rows in (0, 50):
            for _ in range(rows):
                make_opportunity({self.react: 2, make_skill(): 4}, created_by=self.pm)
            with self.assertNumQueries(4):
                self.assertEqual(len(self.client.get(URL).json()), rows + 1)


class OpportunityWriteTests(APITestCase):
    """What project managers do."""

    def setUp(self) -> None:
        """Sign a project manager in; make two skills and a listing of theirs."""
        self.pm = make_pm_user(email="pm@example.org")
        self.react, self.css = make_skill(name="React"), make_skill(name="CSS")
        self.mine = make_opportunity({self.react: 3}, created_by=self.pm)
        self.url = f"{URL}{self.mine.pk}/"
        self.client.force_authenticate(self.pm)

    def test_pm_user_can_create_update_and_delete_with_session_and_token(self) -> None:
        """The whole life of a listing through a real session with CSRF tokens."""
        client = browser(self.pm)
        created = client.post(URL, opportunity_payload(skills_required_matrix={str(self.css.pk): 2}))
        self.assertEqual(created.status_code, 201)
        url = f"{URL}{created.json()['id']}/"
        updated = client.put(url, opportunity_payload(status="closed"))
        self.assertEqual((updated.status_code, updated.json()["status"]), (200, "closed"))
        self.assertEqual(client.delete(url).status_code, 204)
        self.assertEqual(client.get(url).status_code, 404)
        self.assertEqual(SkillMatrix.objects.get(), self.mine.skills_required_matrix)

    def test_pm_user_can_create_opportunity(self) -> None:
        """The answer is the read shape with who posted it, and the contract's defaults."""
        payload = opportunity_payload(skills_required_matrix={str(self.react.pk).upper(): 5, str(self.css.pk): 1})
        response = self.client.post(URL, {**payload, "created_by": "someone@example.org", "id": UNKNOWN_ID})
        self.assertEqual(response.status_code, 201)
        self.assertEqual(response.json()["created_by"], "pm@example.org")
        self.assertEqual(response.json()["skills_required_matrix"], {str(self.react.pk): 5, str(self.css.pk): 1})
        self.assertEqual(self.client.get(f"{URL}{response.json()['id']}/").json(), response.json())
        self.assertEqual(
            {name: response.json()[name] for name in payload if name != "skills_required_matrix"},
            {name: payload[name] for name in payload if name != "skills_required_matrix"},
        )
        body = self.client.post(URL, {name: payload[name] for name in ("project", "role", "body")}).json()
        self.assertEqual(
            (body["status"], body["min_experience_required"], body["min_hours_required"], body["skills_required"]),
            ("draft", "", 0, []),
        )

    def test_pm_user_sending_other_line_ends_changes_nothing(self) -> None:
        """CR and CRLF are stored as LF; a body that differs in them alone moves no time and is no change."""
        payload = opportunity_payload(body="One\r\nTwo\rThree", skills_required_matrix={str(self.css.pk): 4})
        body = self.client.put(self.url, payload).json()
        self.assertEqual(body["body"], "One\nTwo\nThree")
        entries = LogEntry.objects.count()
        for text in ("One\nTwo\r\nThree", payload["body"]):
            self.assertEqual(self.client.put(self.url, {**payload, "body": text}).json(), body)
        self.assertEqual(LogEntry.objects.count(), entries)
        self.assertGreater(self.client.put(self.url, {**payload, "body": "x"}).json()["updated_at"], body["updated_at"])

    def test_pm_user_can_update_own_opportunity(self) -> None:
        """The matrix is replaced in place: its row stays the only one; nothing that is left out is lost."""
        late = {"day": "mon", "start": "22:00", "end": "00:00", "name": "Sync"}
        payload = opportunity_payload(
            skills_required_matrix={str(self.css.pk): 4}, body="New words.", meeting_times={**WEEK, "slots": [late]}
        )
        body = self.client.put(self.url, payload).json()
        self.assertEqual((body["body"], body["skills_required_matrix"]), ("New words.", {str(self.css.pk): 4}))
        self.assertEqual(body["created_at"], self.client.get(self.url).json()["created_at"])
        self.assertGreater(body["updated_at"], body["created_at"])
        self.assertEqual(SkillMatrix.objects.count(), 1)
        del payload["skills_required_matrix"], payload["status"], payload["meeting_times"]
        body = self.client.put(self.url, payload).json()
        self.assertEqual((body["skills_required_matrix"], body["status"]), ({str(self.css.pk): 4}, "open"))
        self.assertEqual(body["meeting_times"], {**WEEK, "slots": [{**late, "end": "24:00"}]})
        self.assertIsNone(self.client.put(self.url, {**payload, "meeting_times": None}).json()["meeting_times"])

    def test_former_pm_cannot_write_own_draft(self) -> None:
        """The right to edit ends with the role: every write is a 403, and the draft can't be read."""
        draft = make_opportunity(status="draft", created_by=make_regular_user())
        url = f"{URL}{draft.pk}/"
        self.client.force_authenticate(draft.created_by)
        for response in (self.client.put(url, opportunity_payload(status="draft")), self.client.delete(url)):
            self.assertEqual((response.status_code, error_of(response)["code"]), (403, "permission_denied"))
        self.assertEqual(self.client.get(url).status_code, 404)

    def test_pm_user_write_with_bad_field_returns_400_and_writes_nothing(self) -> None:
        """Each wrong value is named, on create and on update, and nothing is half-written."""
        before = self.client.get(self.url).json()
        for field, value in bad_values(self.react.pk, self.css.pk):
            for send, url in ((self.client.post, URL), (self.client.put, self.url)):
                with self.subTest(field=field, value=str(value)[:60], method=send.__name__):
                    response = send(url, opportunity_payload(**{field: value}))
                    self.assertEqual((response.status_code, list(error_of(response)["fields"])), (400, [field]))
        self.assertEqual((Opportunity.objects.count(), SkillMatrix.objects.count()), (1, 1))
        self.assertEqual(self.client.get(self.url).json(), before)

    def test_pm_user_leaving_choices_open_is_asked_to_choose(self) -> None:
        """In the words of a form, whatever it sends for nothing."""
        asked = {"project": ["Choose a project."], "role": ["Choose a role."]}
        for nothing in ("", None, "x", 5):
            response = self.client.post(URL, opportunity_payload(project=nothing, role=nothing))
            self.assertEqual(error_of(response)["fields"], asked)

    def test_pm_user_writes_take_a_constant_number_of_queries(self) -> None:
        """A creation takes 9 and an update 11, savepoints included, however many skills, whatever is changed."""
        self.client.post(URL, opportunity_payload())  # the first entry of the log asks for the content type
        for skills in (1, 50):
            levels = {str(make_skill().pk): 3 for _ in range(skills)}
            for send, url, queries in ((self.client.post, URL, 9), (self.client.put, self.url, 12)):
                payload = opportunity_payload(skills_required_matrix=levels, status="closed")
                with self.subTest(skills=skills, method=send.__name__), self.assertNumQueries(queries):
                    send(url, payload)


def bad_values(first: Any, second: Any) -> list[tuple[str, Any]]:
    """Return field → value pairs that no write may accept."""
    one, two = str(first), str(second)
    choice: list[Any] = ["x", None, 1, ["open"], {"a": 1}]
    reference: list[Any] = ["x", UNKNOWN_ID, None, True, 5, 10**50, [], {}]
    levels: list[Any] = [True, 0, 6, -1, 3.0, "3", None, [], {}, 10**20]
    ids: list[Any] = [UNKNOWN_ID, "x", "", "\x00", one.replace("-", "")]
    twice, one_bad, too_many = {one: 3, one.upper(): 3}, {one: 3, two: 9}, {str(number): 1 for number in range(251)}
    no_matrices: list[Any] = [None, [], "x", 3, twice, one_bad, too_many]
    values: dict[str, list[Any]] = {
        "status": choice,
        "work_environment": choice,
        "min_experience_required": choice,
        "project": reference,
        "role": reference,
        "min_hours_required": [-1, 169, 10**20, "x", "5", "1_0", None, True, 1.5, []],
        "body": ["", " ", None, "a\x00b", "x" * 20_001, [], {}, 0, True],
        "meeting_times": [[], "x", {}, {**WEEK, "timezone": "Mars/Olympus"}, {**WEEK, "slots": [{"day": "mon"}]}],
        "skills_required_matrix": [*no_matrices, *({one: level} for level in levels), *({id_: 3} for id_ in ids)],
    }
    return [(field, value) for field, bad in values.items() for value in bad]
