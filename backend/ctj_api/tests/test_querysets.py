"""The rules of who sees and changes what, asked directly."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.test import TestCase

from ctj_api.enums import Status
from ctj_api.models import Opportunity, UserProfile
from ctj_api.querysets import Requester

from .common import make_admin_user, make_opportunity, make_pm_user, make_regular_user


class QuerySetTests(TestCase):
    """One listing of each status, seen by everyone; and how accounts are made and found."""

    def setUp(self) -> None:
        """Make the listings and the people."""
        self.creator = make_pm_user()
        self.listings = {status: make_opportunity(status=status, created_by=self.creator) for status in Status}
        inactive = make_pm_user(is_active=False)
        self.outsiders: list[Requester] = [AnonymousUser(), make_regular_user(), make_admin_user(), inactive]

    def test_pm_user_sees_everything_and_others_see_all_but_drafts(self) -> None:
        """Others are anonymous people, volunteers, administrators and project managers whose account is closed."""
        for manager in (self.creator, make_pm_user()):
            self.assertCountEqual(Opportunity.objects.visible_to(manager), self.listings.values())
        public = [row for status, row in self.listings.items() if status != Status.DRAFT]
        for user in self.outsiders:
            self.assertCountEqual(Opportunity.objects.visible_to(user), public)

    def test_creator_edits_their_own_while_a_project_manager(self) -> None:
        """Nobody else edits them, not even another project manager, nor the creator after that."""
        self.assertCountEqual(Opportunity.objects.editable_by(self.creator), self.listings.values())
        self.assertEqual(self.rights_of(self.creator), {True})
        self.creator.is_project_manager = False
        self.creator.save()
        for user in (make_pm_user(), self.creator, *self.outsiders):
            self.assertFalse(Opportunity.objects.editable_by(user).exists())
            self.assertEqual(self.rights_of(user), {False})

    def rights_of(self, user: Requester) -> set[bool]:
        """Return what rows tell of the right to edit them."""
        rows: Any = Opportunity.objects.with_rights_of(user)
        return {row.is_editable for row in rows}

    def test_owner_has_one_account_whatever_the_case(self) -> None:
        """Instance, row and lookups agree; nobody lacks an address; administrators are staff."""
        user = UserProfile.objects.create_user("Ana@Example.ORG")
        self.assertEqual(user.email, "ana@example.org")
        self.assertEqual(UserProfile.objects.get(email="ANA@example.org"), user)
        self.assertEqual(UserProfile.objects.get_by_natural_key("anA@example.org"), user)
        self.assertFalse(user.has_usable_password())
        self.assertRaises(ValueError, UserProfile.objects.create_user, "")
        administrator = UserProfile.objects.create_superuser("root@example.org", "a-long-passphrase")
        rights = (administrator.is_staff, administrator.is_superuser, administrator.is_project_manager)
        self.assertEqual(rights, (True, True, False))
