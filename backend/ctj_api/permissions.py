"""Who may use which endpoint. Whose an opportunity is to edit, its queryset has told: ``with_rights_of``."""

from django.conf import settings
from rest_framework import permissions
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.views import APIView

from .models import Opportunity, UserProfile
from .querysets import is_project_manager

KEPT_BY_COGNITO = "Accounts are kept by Hack for LA's Cognito. Sign up and sign in there, and send its ID token."


class LocalAccountPermission(permissions.BasePermission):
    """Nobody while accounts are Cognito's."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Let anyone at local accounts; raises ``NotFound``, which says who keeps the others."""
        if settings.IDENTITY_PROVIDER == "cognito":
            raise NotFound(KEPT_BY_COGNITO)
        return True


class OpportunityPermission(permissions.BasePermission):
    """Anyone reads; project managers create, delete any, and update their own."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Let anyone read, and project managers write."""
        if request.method in permissions.SAFE_METHODS:
            return True
        if request.method in {"POST", "PUT", "DELETE"} and is_project_manager(request.user):
            return True
        return False

    def has_object_permission(self, request: Request, view: APIView, obj: Opportunity) -> bool:
        """Let anyone read, the creator update, and any project manager delete."""
        if request.method in permissions.SAFE_METHODS:
            return True
        if request.method == "PUT" and getattr(obj, "is_editable", False):
            return True
        if request.method == "DELETE" and is_project_manager(request.user):
            return True
        return False


class IsProjectManagerPermission(permissions.BasePermission):
    """Project managers only; stack ``IsAuthenticated`` in front."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Let project managers at anything."""
        if is_project_manager(request.user):
            return True
        return False


class UserDetailPermission(permissions.BasePermission):
    """An account's record is for its owner only; stack ``IsAuthenticated`` in front."""

    def has_object_permission(self, request: Request, view: APIView, obj: UserProfile) -> bool:
        """Let a user at their own record, whatever the method."""
        if obj.pk == request.user.pk:
            return True
        return False
