"""The roles."""

from rest_framework.test import APITestCase

from .common import UNKNOWN_ID, error_of, make_cop, make_role

URL = "/api/roles/"


class RoleTests(APITestCase):
    """The job titles of the communities."""

    def setUp(self) -> None:
        """Make the role that two communities have."""
        self.data = make_role(title="Data Engineer", community_of_practice=make_cop("data_science"))
        self.ops = make_role(title="Data Engineer", community_of_practice=make_cop("devops"))
        self.developer = make_role(title="Back End Developer", community_of_practice=make_cop("engineering"))

    def test_anonymous_list_returns_all_by_title_then_id(self) -> None:
        """Equal titles stand in the order of their ids."""
        expected = [self.developer.pk, *sorted([self.data.pk, self.ops.pk])]
        self.assertEqual([role["id"] for role in self.client.get(URL).json()], [str(pk) for pk in expected])

    def test_anonymous_detail_returns_the_shape(self) -> None:
        """A role has exactly the fields of the contract; an id that is nobody's is not found."""
        body = self.client.get(f"{URL}{self.ops.pk}/").json()
        self.assertEqual(set(body), {"id", "title", "community_of_practice", "created_at", "updated_at"})
        self.assertEqual(body["title"], "Data Engineer")
        self.assertEqual(body["community_of_practice"], str(self.ops.community_of_practice_id))
        self.assertEqual(error_of(self.client.get(f"{URL}{UNKNOWN_ID}/"))["code"], "not_found")

    def test_anonymous_list_of_community_returns_its_roles(self) -> None:
        """The community is given by id or by its practice area; one that does not exist is refused."""
        for community in (str(self.ops.community_of_practice_id), "devops"):
            roles = self.client.get(URL, {"community_of_practice": community}).json()
            self.assertEqual([role["id"] for role in roles], [str(self.ops.pk)])
        response = self.client.get(URL, {"community_of_practice": "gardening"})
        self.assertEqual((response.status_code, list(error_of(response)["fields"])), (400, ["community_of_practice"]))
