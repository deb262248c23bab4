"""The records of users."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework.test import APITestCase

from ctj_api.models import SkillMatrix, UserProfile

from . import common

ME = "/api/users/me/"
NO_SLOT = {"timezone": "UTC", "slots": [None]}


class UserReadTests(APITestCase):
    """Everyone sees their own record, and nobody else's."""

    def setUp(self) -> None:
        """Make a volunteer who has filled in everything, and a project manager."""
        self.react, self.css, self.html = (common.make_skill(name=name) for name in ("React", "CSS", "HTML"))
        self.user = common.make_regular_user(
            levels={self.react: 2, self.html: 4, self.css: 4},
            email="ana@example.org",
            first_name="Ana",
            last_name="Reyes",
            community_of_practice=common.make_cop("engineering"),
            max_available_hours=8,
            meeting_availability=common.WEEK,
        )
        self.pm = common.make_pm_user()

    def test_authenticated_user_can_view_own_record(self) -> None:
        """The record has exactly the contract's fields; before the qualifier, no skill is rated."""
        self.client.force_authenticate(self.user)
        body = self.client.get(f"/api/users/{self.user.pk}/").json()
        self.assertEqual(self.client.get(ME).json(), body)
        self.assertEqual(body.pop("created_at")[-1], "Z")
        self.assertEqual(body.pop("updated_at")[-1], "Z")
        self.assertEqual(
            body,
            {
                "id": str(self.user.pk),
                "email": "ana@example.org",
                "first_name": "Ana",
                "last_name": "Reyes",
                "name": "Ana Reyes",
                "community_of_practice": str(common.make_cop("engineering").pk),
                "skills_learned_matrix": {str(self.react.pk): 2, str(self.html.pk): 4, str(self.css.pk): 4},
                "skills_learned": [
                    {"skill": str(self.css.pk), "name": "CSS", "level": 4},
                    {"skill": str(self.html.pk), "name": "HTML", "level": 4},
                    {"skill": str(self.react.pk), "name": "React", "level": 2},
                ],
                "max_available_hours": 8,
                "meeting_availability": common.WEEK,
                "is_project_manager": False,
            },
        )
        self.client.force_authenticate(self.pm)
        body = self.client.get(ME).json()
        self.assertEqual((body["skills_learned_matrix"], body["skills_learned"]), ({}, []))
        self.assertTrue(body["is_project_manager"])

    def test_authenticated_user_cannot_view_others_record(self) -> None:
        """Nor do project managers and administrators; only signed-in users learn of unknown ids."""
        for user, status, code in ((None, 403, "not_authenticated"), (common.make_pm_user(), 404, "not_found")):
            self.client.force_authenticate(user)
            response = self.client.get(f"/api/users/{common.UNKNOWN_ID}/")
            self.assertEqual((response.status_code, common.error_of(response)["code"]), (status, code))
        self.client.force_authenticate(common.make_pm_user(is_staff=True, is_superuser=True))
        response = self.client.get(f"/api/users/{self.user.pk}/")
        self.assertEqual((response.status_code, common.error_of(response)["code"]), (403, "permission_denied"))


class UserWriteTests(APITestCase):
    """The qualifier flow, step by step."""

    def setUp(self) -> None:
        """Sign a volunteer in, as a browser would."""
        self.react, self.css = common.make_skill(name="React"), common.make_skill(name="CSS")
        self.user = common.make_regular_user(email="ana@example.org")
        self.browser = common.browser(self.user)
        self.answers: dict[str, Any] = {
            "community_of_practice": str(common.make_cop("engineering").pk),
            "skills_learned_matrix": {str(self.react.pk): 3},
            "max_available_hours": 8,
            "meeting_availability": common.WEEK,
        }

    def saved(self) -> dict[str, Any]:
        """Return what is stored of the four answers."""
        body = self.browser.get(ME).json()
        return {name: body[name] for name in self.answers}

    def test_authenticated_user_can_save_step_by_step(self) -> None:
        """Each PATCH keeps the steps before, moves ``updated_at``, and gives the record, as GET does."""
        expected: dict[str, Any] = {**dict.fromkeys(self.answers), "skills_learned_matrix": {}}
        for name, value in self.answers.items():
            before = timezone.now()
            UserProfile.objects.update(updated_at=before - timedelta(days=1))
            response = self.browser.patch(ME, {name: value})
            expected[name] = value
            self.assertEqual((response.status_code, response.json()), (200, self.browser.get(ME).json()))
            self.assertEqual(self.saved(), expected)
            self.assertGreater(UserProfile.objects.get().updated_at, before)
        self.assertEqual(
            self.browser.get(ME).json()["skills_learned"], [{"skill": str(self.react.pk), "name": "React", "level": 3}]
        )

    def test_authenticated_user_can_go_back(self) -> None:
        """Answers may be changed and emptied in one matrix; a community has a key, and midnight is stored as 24:00."""
        put = self.browser.put(ME, self.answers)
        self.assertEqual(put.json(), self.browser.get(ME).json())
        self.browser.patch(ME, {"skills_learned_matrix": {str(self.css.pk).upper(): 5}})
        self.assertEqual(self.saved()["skills_learned_matrix"], {str(self.css.pk): 5})
        body = self.browser.patch(ME, {"community_of_practice": "ui_ux"}).json()
        self.assertEqual(body["community_of_practice"], str(common.make_cop("ui_ux").pk))
        emptied: dict[str, Any] = {**dict.fromkeys(self.answers), "skills_learned_matrix": {}}
        self.assertEqual(self.browser.put(ME, emptied).status_code, 200)
        self.assertEqual(self.saved(), emptied)
        self.assertEqual(SkillMatrix.objects.count(), 1)
        slots = [{"day": "mon", "start": "00:00", "end": end} for end in ("00:00", "24:00")]
        body = self.browser.patch(ME, {"meeting_availability": {**common.WEEK, "slots": slots[:1]}}).json()
        self.assertEqual(body["meeting_availability"], {**common.WEEK, "slots": slots[1:]})

    def test_authenticated_user_put_needs_all_four_answers(self) -> None:
        """One that is left out would be lost; each that is missing is named. A PATCH of nothing changes nothing."""
        self.browser.put(ME, self.answers)
        self.assertEqual(self.browser.patch(ME, {}).status_code, 200)
        response = self.browser.put(ME, {"max_available_hours": 3})
        self.assertEqual(
            common.error_of(response)["fields"],
            {name: ["This field is required."] for name in self.answers if name != "max_available_hours"},
        )
        self.assertEqual(self.saved(), self.answers)

    def test_authenticated_user_cannot_write_anything_else(self) -> None:
        """Rights, address and password stay, whatever is sent along."""
        forged = {
            "is_project_manager": True,
            "is_superuser": True,
            "is_staff": True,
            "is_active": False,
            "email": "eve@example.org",
            "password": "x",
            "id": common.UNKNOWN_ID,
            "skills_learned": [],
        }
        before = UserProfile.objects.values().get()
        for response in (self.browser.patch(ME, forged), self.browser.put(ME, {**self.answers, **forged})):
            self.assertEqual(response.status_code, 200)
        after = UserProfile.objects.values().get()
        changed = {name for name in before if before[name] != after[name]}
        self.assertLessEqual(
            changed - {"updated_at"}, {*self.answers, "community_of_practice_id", "skills_learned_matrix_id"}
        )

    def test_authenticated_user_corrects_the_own_name(self) -> None:
        """By PATCH alone, by PUT beside the answers; one that is left out stays, and it is one plain line."""
        self.assertEqual(
            self.browser.patch(ME, {"first_name": " Ana ", "last_name": "Reyes"}).json()["name"], "Ana Reyes"
        )
        self.assertEqual(self.browser.put(ME, {**self.answers, "last_name": ""}).json()["name"], "Ana")
        response = self.browser.patch(ME, {"first_name": "Ana\nhttps://evil.example", "last_name": None})
        self.assertEqual(set(common.error_of(response)["fields"]), {"first_name", "last_name"})
        self.assertEqual(self.browser.get(ME).json()["name"], "Ana")

    def test_authenticated_user_is_told_what_is_wrong(self) -> None:
        """Field by field, with the skill or the slot by name, and nothing is saved."""
        response = self.browser.patch(
            ME,
            {
                "community_of_practice": common.UNKNOWN_ID,
                "skills_learned_matrix": {str(self.react.pk): 6, str(self.css.pk): True, common.UNKNOWN_ID: 3},
                "max_available_hours": 169,
                "meeting_availability": {
                    "timezone": "Mars/Olympus",
                    "slots": [
                        {"day": "mon", "start": "18:00", "end": "20:00"},
                        {"day": "tue", "start": "20:00", "end": "18:00"},
                        {"day": "someday", "start": "18:00", "end": "25:00", "name": "Stand-up"},
                    ],
                },
            },
        )
        self.assertEqual(response.status_code, 400)
        self.assertEqual(
            common.error_of(response)["fields"],
            {
                "community_of_practice": ["There is no such community of practice. Choose another one."],
                "skills_learned_matrix": [
                    "React: the level must be a whole number from 1 to 5, not 6.",
                    "CSS: the level must be a whole number from 1 to 5, not true.",
                    f'There is no skill with the id "{common.UNKNOWN_ID}".',
                ],
                "max_available_hours": ["Give a whole number from 0 to 168."],
                "meeting_availability": [
                    'Choose a time zone such as "America/Los_Angeles".',
                    "slots[1].end: it must start before it ends, not 20:00 to 18:00.",
                    'slots[2]: it has an unknown part "name".',
                    "slots[2].day: the day must be one of mon, tue, wed, thu, fri, sat, sun.",
                    'slots[2].end: the end must be a time such as "20:00", at the latest "24:00".',
                ],
            },
        )
        self.assertEqual(SkillMatrix.objects.count(), 0)

    def test_authenticated_user_cannot_save_junk(self) -> None:
        """Each is a 400 that names the field; one good answer beside a bad one is not saved."""
        cop, hours = (
            common.make_cop(),
            ["10", " 10 ", "1_0", "\u0661\u0660", "x", "9" * 5000, 10.5, True, [10], -1, 10**30],
        )
        junk: dict[str, list[Any]] = {
            "community_of_practice": ["", "Engineering", 7, [], {}, True, "\x00", cop.pk.int, cop.pk.hex, cop.pk.urn],
            "skills_learned_matrix": [None, [], "x", 1, {"x": 1}, {"\x00": 1}, dict.fromkeys(map(str, range(251)), 1)],
            "max_available_hours": hours,
            "meeting_availability": [[], "x", {}, 1, {"timezone": "UTC"}, {"timezone": "\x00", "slots": []}, NO_SLOT],
        }
        for name, values in junk.items():
            good = {"max_available_hours": 5} if name != "max_available_hours" else {"community_of_practice": None}
            for value in values:
                with self.subTest(name=name, value=str(value)[:40]):
                    response = self.browser.patch(ME, {**good, name: value})
                    self.assertEqual((response.status_code, list(common.error_of(response)["fields"])), (400, [name]))
        self.assertIsNone(self.saved()["max_available_hours"])

    def test_authenticated_user_reads_and_writes_with_a_constant_number_of_queries(self) -> None:
        """However many skills are rated, read or written."""
        self.browser.patch(ME, {"skills_learned_matrix": {}, "max_available_hours": 1})
        for count in (1, 50):
            levels = {str(common.make_skill().pk): 3 for _ in range(count)}
            with self.subTest(skills=count):
                with self.assertNumQueries(10):
                    self.browser.patch(ME, {"skills_learned_matrix": levels})
                with self.assertNumQueries(4):
                    self.browser.get(ME)
