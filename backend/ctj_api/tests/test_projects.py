"""The projects."""

from rest_framework.test import APITestCase

from .common import UNKNOWN_ID, WEEK, error_of, make_project

URL = "/api/projects/"


class ProjectTests(APITestCase):
    """The projects of Hack for LA."""

    def setUp(self) -> None:
        """Make a project with meetings and one without."""
        self.oasis = make_project(name="Food Oasis", meeting_times=WEEK)
        self.vrms = make_project(name="VRMS")

    def test_anonymous_list_returns_all_by_name(self) -> None:
        """The list is a plain array in the order of names."""
        self.assertEqual([project["name"] for project in self.client.get(URL).json()], ["Food Oasis", "VRMS"])

    def test_anonymous_detail_returns_the_shape(self) -> None:
        """A project has exactly the fields of the contract; an id that is nobody's is not found."""
        body = self.client.get(f"{URL}{self.oasis.pk}/").json()
        self.assertEqual(
            set(body), {"id", "name", "people_depot_project_id", "meeting_times", "created_at", "updated_at"}
        )
        self.assertEqual(
            (body["name"], body["people_depot_project_id"], body["meeting_times"]), ("Food Oasis", None, WEEK)
        )
        self.assertEqual(error_of(self.client.get(f"{URL}{UNKNOWN_ID}/"))["code"], "not_found")
