"""The projects."""

from rest_framework.test import APITestCase

from .common import UNKNOWN_ID, WEEK, error_of, make_project

URL = "/api/projects/"


class ProjectsTests(APITestCase):
    """The projects of Hack for LA."""

    def setUp(self) -> None:
        """Make a project with meetings and one without."""
        self.oasis = make_project(name="Food Oasis", meeting_times=WEEK)
        self.vrms = make_project(name="VRMS")

    def test_anonymous_list_returns_all_by_name(self) -> None:
        """The list is a plain array in the order of names."""
        self.assertEqual([project["name"] for project in self.client.get(URL).json()], ["Food Oasis", "VRMS"])

    def test_anonymous_detail_returns_the_shape(self) -> None:
        """A project has exactly the fields of the contract."""
        body = self.client.get(f"{URL}{self.oasis.pk}/").json()
        self.assertEqual(
            set(body), {"id", "name", "people_depot_project_id", "meeting_times", "created_at", "updated_at"}
        )
        self.assertEqual(
            (body["name"], body["people_depot_project_id"], body["meeting_times"]), ("Food Oasis", None, WEEK)
        )

    def test_anonymous_detail_of_unknown_id_returns_404(self) -> None:
        """An id that is nobody's is not found."""
        response = self.client.get(f"{URL}{UNKNOWN_ID}/")
        self.assertEqual((response.status_code, error_of(response)["code"]), (404, "not_found"))

    def test_anonymous_search_finds_names(self) -> None:
        """Text is found in any case."""
        projects = self.client.get(URL, {"search": "oASIS"}).json()
        self.assertEqual([project["name"] for project in projects], ["Food Oasis"])

    def test_anonymous_search_with_unusable_text_returns_400(self) -> None:
        """What PostgreSQL can't hold is refused."""
        response = self.client.get(URL, {"search": "\x00"})
        self.assertEqual((response.status_code, list(error_of(response)["fields"])), (400, ["search"]))

    def test_anonymous_list_takes_three_queries(self) -> None:
        """Projects, and twice the version, however many there are."""
        for _ in range(50):
            make_project()
        with self.assertNumQueries(3):
            self.client.get(URL)
