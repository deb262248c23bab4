"""The opportunities."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APITestCase

from ctj_api.models import Opportunity, SkillMatrix

from .common import (
    UNKNOWN_ID,
    browser,
    error_of,
    make_opportunity,
    make_pm_user,
    make_regular_user,
    make_skill,
    opportunity_payload,
    refresh_csrf_token,
)

URL = "/api/opportunities/"


class OpportunitiesReadTests(APITestCase):
    """What the world sees."""

    def setUp(self) -> None:
        """Make a project manager with a draft and an open listing."""
        self.pm = make_pm_user(email="pm@example.org")
        self.react, self.css = make_skill(name="React"), make_skill(name="CSS")
        self.opened = make_opportunity({self.react: 3, self.css: 3}, created_by=self.pm)
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
                "body": "Help us to build it.",
                "min_experience_required": "",
                "min_hours_required": 0,
                "work_environment": "remote",
                "skills_required_matrix": {str(self.react.pk): 3, str(self.css.pk): 3},
                "skills_required": [
                    {"skill": str(self.css.pk), "name": "CSS", "level": 3},
                    {"skill": str(self.react.pk), "name": "React", "level": 3},
                ],
                "status": "open",
                "created_by": "pm@example.org",
            },
        )
        self.assertEqual(self.client.get(URL).json()[0]["skills_required"], body["skills_required"])

    def test_anonymous_list_leaves_out_drafts_only(self) -> None:
        """Every status but a draft's is public."""
        others = [make_opportunity(status=status) for status in ("on_hold", "filled", "closed")]
        self.assertEqual(set(self.ids()), {str(row.pk) for row in (self.opened, *others)})

    def test_regular_user_and_administrator_cannot_view_drafts(self) -> None:
        """Drafts are for project managers, in lists and by id."""
        for user in (make_regular_user(), make_regular_user(is_staff=True, is_superuser=True)):
            self.client.force_authenticate(user)
            self.assertEqual(self.ids(), [str(self.opened.pk)])
            response = self.client.get(f"{URL}{self.draft.pk}/")
            self.assertEqual((response.status_code, error_of(response)["code"]), (404, "not_found"))

    def test_pm_user_can_view_drafts(self) -> None:
        """Any project manager sees all drafts."""
        self.client.force_authenticate(make_pm_user())
        self.assertIn(str(self.draft.pk), self.ids())
        self.assertEqual(self.client.get(f"{URL}{self.draft.pk}/").json()["status"], "draft")

    def test_anonymous_list_is_newest_first_then_by_id(self) -> None:
        """The order is total."""
        now = timezone.now() + timedelta(days=1)
        twins = [make_opportunity(created_at=now) for _ in range(2)]
        self.assertEqual(self.ids(), [*sorted(str(twin.pk) for twin in twins), str(self.opened.pk)])

    def test_anonymous_view_after_author_left_shows_no_author(self) -> None:
        """A listing outlives the account that posted it."""
        self.pm.delete()
        self.assertIsNone(self.client.get(f"{URL}{self.opened.pk}/").json()["created_by"])

    def test_anonymous_list_takes_limit_and_offset(self) -> None:
        """The pages tile the list, and the headers tell the total and the neighbours."""
        for _ in range(4):
            make_opportunity()
        everything = self.ids()
        response = self.client.get(URL, {"limit": 2, "offset": 2})
        self.assertEqual([row["id"] for row in response.json()], everything[2:4])
        self.assertEqual(response["X-Total-Count"], "5")
        links = {
            rel: f'<http://testserver{URL}?limit=2&offset={offset}>; rel="{rel}"'
            for rel, offset in (("first", 0), ("last", 4), ("prev", 0), ("next", 4))
        }
        self.assertEqual(set(response["Link"].split(", ")), set(links.values()))
        shifted = self.client.get(URL, {"limit": 2, "offset": 1})["Link"]
        self.assertIn(f'<http://testserver{URL}?limit=2&offset=3>; rel="last"', shifted)
        last = self.client.get(URL, {"limit": 2, "offset": 4})
        self.assertEqual([row["id"] for row in last.json()], everything[4:])
        self.assertNotIn('rel="next"', last["Link"])

    def test_anonymous_list_beyond_the_end_is_empty(self) -> None:
        """An offset past the last row gives an empty page with the total, and leads back to the last one."""
        for _ in range(2):
            make_opportunity()
        response = self.client.get(URL, {"limit": 2, "offset": 1000})
        self.assertEqual((response.json(), response["X-Total-Count"]), ([], "3"))
        links = {
            f'<http://testserver{URL}?limit=2&offset={offset}>; rel="{rel}"'
            for rel, offset in (("first", 0), ("last", 2), ("prev", 2))
        }
        self.assertEqual(set(response["Link"].split(", ")), links)

    def test_anonymous_list_with_unusable_page_returns_400(self) -> None:
        """A page that can't be is refused and named."""
        for name, value in (
            ("limit", "0"),
            ("limit", "501"),
            ("limit", "-1"),
            ("limit", "9" * 20),
            ("limit", "ten"),
            ("limit", ""),
            ("limit", "\x00"),
            ("limit", "1.5"),
            ("offset", "-1"),
            ("offset", "9" * 20),
            ("offset", "\u0661"),
        ):
            with self.subTest(name=name, value=value):
                response = self.client.get(URL, {name: value})
                self.assertEqual((response.status_code, list(error_of(response)["fields"])), (400, [name]))

    def test_anonymous_list_takes_a_constant_number_of_queries(self) -> None:
        """The version, the count, the page and the names of skills: the same for one row and for fifty."""
        counts = []
        for rows in (0, 50):
            for _ in range(rows):
                make_opportunity({self.react: 2, make_skill(): 4}, created_by=self.pm)
            with CaptureQueriesContext(connection) as queries:
                self.assertEqual(len(self.client.get(URL).json()), rows + 1)
            counts.append(len(queries))
        self.assertEqual(counts, [4, 4])


class OpportunitiesWriteTests(APITestCase):
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
        client = browser()
        client.force_login(self.pm)
        refresh_csrf_token(client)
        created = client.post(URL, opportunity_payload(skills_required_matrix={str(self.css.pk): 2}))
        self.assertEqual(created.status_code, 201)
        url = f"{URL}{created.json()['id']}/"
        updated = client.put(url, opportunity_payload(status="closed"))
        self.assertEqual((updated.status_code, updated.json()["status"]), (200, "closed"))
        self.assertEqual(client.delete(url).status_code, 204)
        self.assertEqual(client.get(url).status_code, 404)

    def test_pm_user_unsafe_request_without_token_returns_403(self) -> None:
        """A session alone changes nothing."""
        client = browser()
        client.force_login(self.pm)
        client.credentials()
        for response in (
            client.post(URL, opportunity_payload()),
            client.put(self.url, opportunity_payload()),
            client.delete(self.url),
        ):
            self.assertEqual((response.status_code, error_of(response)["code"]), (403, "permission_denied"))
        self.assertEqual(Opportunity.objects.count(), 1)

    def test_pm_user_can_create_opportunity(self) -> None:
        """The answer is the read shape, stamped with who posted it; skill ids count in any case."""
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

    def test_pm_user_create_with_only_required_fields_makes_a_draft(self) -> None:
        """What is left out has the defaults of the contract."""
        required = {name: opportunity_payload()[name] for name in ("project", "role", "body")}
        body = self.client.post(URL, required).json()
        self.assertEqual(
            (body["status"], body["min_experience_required"], body["min_hours_required"], body["skills_required"]),
            ("draft", "", 0, []),
        )

    def test_anonymous_and_regular_user_cannot_write(self) -> None:
        """Nobody but project managers creates or deletes, and nobody updates what another has posted."""
        for who, code in ((None, "not_authenticated"), (make_regular_user(), "permission_denied")):
            self.client.force_authenticate(who)
            for response in (
                self.client.post(URL, opportunity_payload()),
                self.client.put(self.url, opportunity_payload()),
                self.client.delete(self.url),
            ):
                self.assertEqual((response.status_code, error_of(response)["code"]), (403, code))
        self.assertEqual(Opportunity.objects.count(), 1)

    def test_pm_user_can_update_own_opportunity(self) -> None:
        """The matrix is replaced in place: its row stays the only one."""
        payload = opportunity_payload(skills_required_matrix={str(self.css.pk): 4}, body="New words.")
        body = self.client.put(self.url, payload).json()
        self.assertEqual((body["body"], body["skills_required_matrix"]), ("New words.", {str(self.css.pk): 4}))
        self.assertEqual(body["created_at"], self.client.get(self.url).json()["created_at"])
        self.assertGreater(body["updated_at"], body["created_at"])
        self.assertEqual(SkillMatrix.objects.count(), 1)

    def test_pm_user_update_without_optional_field_keeps_it(self) -> None:
        """Nothing that is left out is lost."""
        payload = opportunity_payload()
        del payload["skills_required_matrix"], payload["status"]
        body = self.client.put(self.url, payload).json()
        self.assertEqual((body["skills_required_matrix"], body["status"]), ({str(self.react.pk): 3}, "open"))

    def test_pm_user_cannot_update_others_opportunity(self) -> None:
        """Only the creator updates."""
        self.client.force_authenticate(make_pm_user())
        response = self.client.put(self.url, opportunity_payload())
        self.assertEqual((response.status_code, error_of(response)["code"]), (403, "permission_denied"))

    def test_pm_user_can_delete_others_opportunity(self) -> None:
        """Any project manager deletes, and the matrix goes along."""
        self.client.force_authenticate(make_pm_user())
        self.assertEqual(self.client.delete(self.url).status_code, 204)
        self.assertEqual((Opportunity.objects.count(), SkillMatrix.objects.count()), (0, 0))

    def test_former_pm_can_update_own_opportunity_only(self) -> None:
        """The creator updates; creating, deleting and drafts are for project managers."""
        draft = make_opportunity(status="draft", created_by=self.pm)
        self.pm.is_project_manager = False
        self.pm.save()
        self.assertEqual(self.client.put(self.url, opportunity_payload()).status_code, 200)
        self.assertEqual(self.client.put(f"{URL}{draft.pk}/", opportunity_payload()).status_code, 404)
        for response in (self.client.post(URL, opportunity_payload()), self.client.delete(self.url)):
            self.assertEqual(error_of(response)["code"], "permission_denied")

    def test_anyone_patch_returns_405(self) -> None:
        """A listing is replaced as a whole."""
        for user in (None, self.pm):
            self.client.force_authenticate(user)
            response = self.client.patch(self.url, {"status": "closed"})
            self.assertEqual((response.status_code, error_of(response)["code"]), (405, "method_not_allowed"))

    def test_pm_user_write_to_unknown_id_returns_404(self) -> None:
        """What is gone can't be changed."""
        for response in (
            self.client.put(f"{URL}{UNKNOWN_ID}/", opportunity_payload()),
            self.client.delete(f"{URL}{UNKNOWN_ID}/"),
        ):
            self.assertEqual((response.status_code, error_of(response)["code"]), (404, "not_found"))

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

    def test_pm_user_write_with_bad_level_names_the_skill(self) -> None:
        """The message says which skill and what is wrong with it, in words."""
        response = self.client.post(URL, opportunity_payload(skills_required_matrix={str(self.react.pk): 6}))
        self.assertEqual(
            error_of(response)["fields"]["skills_required_matrix"],
            ["React: the level must be a whole number from 1 to 5, not 6."],
        )

    def test_pm_user_create_takes_a_constant_number_of_queries(self) -> None:
        """However many skills are required; the first entry of a log asks for the content type, which is kept."""
        self.client.post(URL, opportunity_payload())
        counts = []
        for skills in (1, 50):
            payload = opportunity_payload(skills_required_matrix={str(make_skill().pk): 3 for _ in range(skills)})
            with CaptureQueriesContext(connection) as queries:
                self.assertEqual(self.client.post(URL, payload).status_code, 201)
            counts.append(len(queries))
        self.assertEqual(counts[0], counts[1])


def bad_values(first: Any, second: Any) -> list[tuple[str, Any]]:
    """Return field → value pairs that no write may accept."""
    one, two = str(first), str(second)
    choice: list[Any] = ["x", None, 1, ["open"], {"a": 1}]
    reference: list[Any] = ["x", UNKNOWN_ID, None, True, 5, 10**50, [], {}]
    levels: list[Any] = [True, 0, 6, -1, 3.0, "3", None, [], {}, 10**20]
    ids: list[Any] = [UNKNOWN_ID, "x", "", "\x00", one.replace("-", "")]
    values: dict[str, list[Any]] = {
        "status": choice,
        "work_environment": choice,
        "min_experience_required": choice,
        "project": reference,
        "role": reference,
        "min_hours_required": [-1, 169, 10**20, "x", "5", "1_0", None, True, 1.5, []],
        "body": ["", " ", None, "a\x00b", "x" * 20_001, [], {}, 0, True],
        "skills_required_matrix": [
            None,
            [],
            "x",
            3,
            {one: 3, one.upper(): 3},
            {one: 3, two: 9},
            *({one: level} for level in levels),
            *({id_: 3} for id_ in ids),
            {str(number): 1 for number in range(251)},
        ],
    }
    return [(field, value) for field, bad in values.items() for value in bad]
