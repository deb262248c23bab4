"""Who may use which endpoint. The rules of opportunities stand in their queryset; these classes ask it."""

from rest_framework import permissions
from rest_framework.request import Request
from rest_framework.views import APIView

from .models import Opportunity, UserProfile
from .querysets import is_project_manager


class OpportunityPermission(permissions.BasePermission):
    """Anyone reads; project managers create, and delete any; the creator updates."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Let anyone read, project managers create and delete, and leave updates to the check of the object."""
        if request.method in permissions.SAFE_METHODS:
            return True
        if request.method in {"POST", "DELETE"}:
            return is_project_manager(request.user)
        if request.method == "PUT":
            return True
        return False

    def has_object_permission(self, request: Request, view: APIView, obj: Opportunity) -> bool:
        """Let anyone read, the creator update, and any project manager delete."""
        if request.method in permissions.SAFE_METHODS:
            return True
        if request.method == "PUT":
            return Opportunity.objects.editable_by(request.user).filter(pk=obj.pk).exists()
        if request.method == "DELETE":
            return Opportunity.objects.deletable_by(request.user).filter(pk=obj.pk).exists()
        return False


class IsProjectManagerPermission(permissions.BasePermission):
    """Project managers only; stack ``IsAuthenticated`` in front."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Let project managers at anything."""
        return is_project_manager(request.user)


class UserDetailPermission(permissions.BasePermission):
    """An account's record is for its owner only; stack ``IsAuthenticated`` in front."""

    def has_object_permission(self, request: Request, view: APIView, obj: UserProfile) -> bool:
        """Let a user at their own record, whatever the method."""
        if obj.pk == request.user.pk:
            return True
        return False
