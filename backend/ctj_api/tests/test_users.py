"""The records of users."""

from rest_framework.test import APITestCase

from .common import UNKNOWN_ID, WEEK, browser, error_of, make_cop, make_pm_user, make_regular_user, make_skill

ME = "/api/users/me/"


class UsersTests(APITestCase):
    """Everyone sees their own record, and nobody else's."""

    def setUp(self) -> None:
        """Make a volunteer who has filled in everything, and a project manager."""
        self.react, self.css, self.html = make_skill(name="React"), make_skill(name="CSS"), make_skill(name="HTML")
        self.user = make_regular_user(
            levels={self.react: 2, self.html: 4, self.css: 4},
            email="ana@example.org",
            first_name="Ana",
            last_name="Reyes",
            community_of_practice=make_cop("engineering"),
            max_available_hours=8,
            meeting_availability=WEEK,
        )
        self.pm = make_pm_user()

    def test_anonymous_cannot_view_any_record(self) -> None:
        """Without a session there is no record, existing or not."""
        for url in (ME, f"/api/users/{self.user.pk}/", f"/api/users/{UNKNOWN_ID}/"):
            response = self.client.get(url)
            self.assertEqual((response.status_code, error_of(response)["code"]), (403, "not_authenticated"))

    def test_authenticated_user_can_view_own_record(self) -> None:
        """The record has exactly the fields of the contract, by id and as ``me``."""
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
                "community_of_practice": str(make_cop("engineering").pk),
                "skills_learned_matrix": {str(self.react.pk): 2, str(self.html.pk): 4, str(self.css.pk): 4},
                "skills_learned": [
                    {"skill": str(self.css.pk), "name": "CSS", "level": 4},
                    {"skill": str(self.html.pk), "name": "HTML", "level": 4},
                    {"skill": str(self.react.pk), "name": "React", "level": 2},
                ],
                "max_available_hours": 8,
                "meeting_availability": WEEK,
                "is_project_manager": False,
            },
        )

    def test_authenticated_user_without_matrix_sees_an_empty_one(self) -> None:
        """Before the qualifier flow there is nothing rated."""
        self.client.force_authenticate(self.pm)
        body = self.client.get(ME).json()
        self.assertEqual((body["skills_learned_matrix"], body["skills_learned"]), ({}, []))
        self.assertTrue(body["is_project_manager"])

    def test_authenticated_user_cannot_view_others_record(self) -> None:
        """Another's record is refused, to project managers and administrators as well."""
        self.client.force_authenticate(make_pm_user(is_staff=True, is_superuser=True))
        response = self.client.get(f"/api/users/{self.user.pk}/")
        self.assertEqual((response.status_code, error_of(response)["code"]), (403, "permission_denied"))

    def test_authenticated_user_view_of_unknown_id_returns_404(self) -> None:
        """An id that is nobody's is not found."""
        self.client.force_authenticate(self.user)
        response = self.client.get(f"/api/users/{UNKNOWN_ID}/")
        self.assertEqual((response.status_code, error_of(response)["code"]), (404, "not_found"))

    def test_inactive_user_cannot_view_own_record(self) -> None:
        """A session ends with the account."""
        client = browser()
        client.force_login(self.user)
        self.assertEqual(client.get(ME).status_code, 200)
        self.user.is_active = False
        self.user.save()
        self.assertEqual(error_of(client.get(ME))["code"], "not_authenticated")

    def test_authenticated_user_view_takes_a_constant_number_of_queries(self) -> None:
        """Session, user, matrix and names, however many skills are rated."""
        for skills in (1, 50):
            client = browser()
            client.force_login(make_regular_user(levels={make_skill(): 3 for _ in range(skills)}))
            with self.subTest(skills=skills), self.assertNumQueries(4):
                client.get(ME)
