"""The communities of practice."""

from rest_framework.test import APITestCase

from ctj_api.enums import PracticeArea

from .common import UNKNOWN_ID, error_of, make_cop

URL = "/api/communities-of-practice/"


class CommunityOfPracticeTests(APITestCase):
    """The five communities, which come with the migrations."""

    def setUp(self) -> None:
        """Look one of them up."""
        self.devops = make_cop("devops")

    def test_anonymous_list_returns_all_five(self) -> None:
        """All five are there without any further set-up, by practice area."""
        areas = [community["practice_area"] for community in self.client.get(URL).json()]
        self.assertEqual(areas, sorted(PracticeArea.values))

    def test_anonymous_detail_returns_the_shape(self) -> None:
        """A community has exactly the fields of the contract; an id that is nobody's is not found."""
        body = self.client.get(f"{URL}{self.devops.pk}/").json()
        self.assertEqual(set(body), {"id", "practice_area", "name", "description", "created_at", "updated_at"})
        self.assertEqual((body["practice_area"], body["name"]), ("devops", "DevOps"))
        self.assertEqual(error_of(self.client.get(f"{URL}{UNKNOWN_ID}/"))["code"], "not_found")
