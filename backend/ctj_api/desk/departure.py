"""What becomes of the listings and the history of somebody who leaves."""

from django.contrib import messages
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from ctj_api.accounts.password_reset import locked_if_unchanged
from ctj_api.accounts.sessions import end_sessions
from ctj_api.http.caching import require_match
from ctj_api.models import Opportunity, UserProfile
from ctj_api.querysets import LAST_ADMINISTRATOR, OpportunityQuerySet
from ctj_api.serializers import UserReadSerializer

from .display import name_of
from .history import change_of, log_changes, log_deletion, unattended_account

# Stands in the history for all who have deleted their accounts.
FORMER_USER = "somebody.who.has.left@users.invalid"


@transaction.atomic
def delete_account(confirmed: UserProfile, request: Request) -> None:
    """Delete the account but not its listings; raises a ``ValidationError`` for the last administrator."""
    # The listings are locked first, as by those who change them.
    listings = list(Opportunity.objects.select_for_update().filter(created_by=confirmed.pk).order_by("pk"))
    if confirmed.is_superuser and UserProfile.objects.has_no_administrator_but(confirmed):
        raise ValidationError(LAST_ADMINISTRATOR)
    owner = locked_if_unchanged(confirmed)
    require_match(request, UserReadSerializer(owner))
    # Django deletes what is logged with its author, so it is given to an account that nobody uses.
    somebody = unattended_account(FORMER_USER)
    log_changes(somebody, listings, ["owner, who has deleted their account"])
    log_deletion(somebody, owner)
    LogEntry.objects.filter(user=owner).update(user=somebody)
    of_account = LogEntry.objects.filter(content_type__model=UserProfile._meta.model_name, object_id=owner.pk)
    of_account.update(object_repr="a deleted account")
    end_sessions(owner)
    owner.delete()


def give_listings(request: HttpRequest, listings: OpportunityQuerySet, new_author: UserProfile) -> None:
    """Make ``new_author`` the author of these listings, log it, and say how many they are."""
    foreign = listings.exclude(created_by=new_author).values("pk")
    given = list(Opportunity.objects.select_for_update().filter(pk__in=foreign).order_by("pk"))
    for author in {listing.created_by_id for listing in given}:
        told = change_of(Opportunity, "created_by", author, new_author.pk)
        log_changes(request.user, [listing for listing in given if listing.created_by_id == author], [told])
    moved = Opportunity.objects.filter(pk__in=[listing.pk for listing in given])
    moved.update(created_by=new_author, updated_at=timezone.now())
    messages.success(request, f"{name_of(new_author)} has {len(given)} more to look after.")
