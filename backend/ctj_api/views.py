"""The endpoints. What needs less than full CRUD is a function whose method and permissions stand on top of it."""

from typing import Any
from uuid import UUID

from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.db import transaction
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.decorators import method_decorator
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import api_view, permission_classes, throttle_classes
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed
from rest_framework.permissions import SAFE_METHODS, AllowAny, IsAuthenticated, IsAuthenticatedOrReadOnly
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ModelViewSet

from . import serializers
from .accounts.limits import require_from_address
from .accounts.password_reset import change_password, locked_if_unchanged, send_reset_link
from .catalog.source import hold_off_synchronisation
from .desk.deleted import keep_deleted
from .desk.departure import delete_account
from .desk.history import log_addition, log_change, log_deletion, snapshot
from .filters import MatchFilter, OpportunityListFilter, OpportunityMatchFilter, ProjectFilter, RoleFilter, SkillFilter
from .http.caching import public_cache, public_read, require_match, versioned
from .http.pagination import paged_response, ranking_response
from .http.query_parameters import described
from .http.serializer_fields import all_skill_names
from .models import CommunityOfPractice, Opportunity, Project, Role, Skill, UserProfile
from .permissions import IsProjectManagerPermission, LocalAccountPermission, OpportunityPermission, UserDetailPermission
from .querysets import OpportunityQuerySet
from .ranking.matches import OpportunityRanking, VolunteerRanking, match_of
from .ranking.row_changes import LISTING_VERSION

SKILL_TABLES = (Skill, Skill.communities_of_practice.through, CommunityOfPractice)


@public_read(serializers.SkillReadSerializer(many=True), *SKILL_TABLES, filters=SkillFilter)
@api_view(["GET", "HEAD"])
@permission_classes([AllowAny])
def skill_list(request: Request) -> Response:
    """Return the skill catalog, by name."""
    skills = SkillFilter.read(request, Skill.objects.current().prefetch_related("communities_of_practice")).qs
    return Response(serializers.SkillReadSerializer(skills, many=True).data)


@public_read(serializers.SkillReadSerializer, *SKILL_TABLES)
@api_view(["GET", "HEAD"])
@permission_classes([AllowAny])
def skill_detail(request: Request, pk: UUID) -> Response:
    """Return one skill."""
    return Response(serializers.SkillReadSerializer(get_object_or_404(Skill, pk=pk)).data)


@public_read(serializers.CommunityOfPracticeReadSerializer(many=True), CommunityOfPractice)
@api_view(["GET", "HEAD"])
@permission_classes([AllowAny])
def community_of_practice_list(request: Request) -> Response:
    """Return the five communities of practice, by practice area."""
    return Response(serializers.CommunityOfPracticeReadSerializer(CommunityOfPractice.objects.all(), many=True).data)


@public_read(serializers.CommunityOfPracticeReadSerializer, CommunityOfPractice)
@api_view(["GET", "HEAD"])
@permission_classes([AllowAny])
def community_of_practice_detail(request: Request, pk: UUID) -> Response:
    """Return one community of practice."""
    return Response(serializers.CommunityOfPracticeReadSerializer(get_object_or_404(CommunityOfPractice, pk=pk)).data)


@public_read(serializers.RoleReadSerializer(many=True), Role, CommunityOfPractice, filters=RoleFilter)
@api_view(["GET", "HEAD"])
@permission_classes([AllowAny])
def role_list(request: Request) -> Response:
    """Return the roles, by title, then by id."""
    roles = RoleFilter.read(request, Role.objects.all().current()).qs
    return Response(serializers.RoleReadSerializer(roles, many=True).data)


@public_read(serializers.RoleReadSerializer, Role)
@api_view(["GET", "HEAD"])
@permission_classes([AllowAny])
def role_detail(request: Request, pk: UUID) -> Response:
    """Return one role."""
    role = get_object_or_404(Role.objects.exclude(community_of_practice=None), pk=pk)
    return Response(serializers.RoleReadSerializer(role).data)


@public_read(serializers.ProjectReadSerializer(many=True), Project, filters=ProjectFilter)
@api_view(["GET", "HEAD"])
@permission_classes([AllowAny])
def project_list(request: Request) -> Response:
    """Return the projects, by name."""
    projects = ProjectFilter.read(request, Project.objects.current()).qs
    return Response(serializers.ProjectReadSerializer(projects, many=True).data)


@public_read(serializers.ProjectReadSerializer, Project)
@api_view(["GET", "HEAD"])
@permission_classes([AllowAny])
def project_detail(request: Request, pk: UUID) -> Response:
    """Return one project."""
    return Response(serializers.ProjectReadSerializer(get_object_or_404(Project, pk=pk)).data)


@extend_schema(responses=serializers.CsrfTokenReadSerializer)
@api_view(["GET", "HEAD"])
@permission_classes([AllowAny])
def auth_csrf(request: Request) -> Response:
    """Return a CSRF token and set the cookie that goes with it."""
    return Response(serializers.CsrfTokenReadSerializer({"csrf_token": get_token(request._request)}).data)


@extend_schema(request=serializers.SignupWriteSerializer, responses={201: serializers.UserReadSerializer})
@api_view(["POST"])
@permission_classes([AllowAny, LocalAccountPermission])
def auth_signup(request: Request) -> Response:
    """Make an account and sign in to it."""
    serializer = serializers.SignupWriteSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    require_from_address("SIGNUP_RATE", request._request)
    user = serializer.save()
    login(request._request, user)
    return Response(serializers.UserReadSerializer(user).data, status=status.HTTP_201_CREATED)


@extend_schema(request=serializers.LoginWriteSerializer, responses=serializers.UserReadSerializer)
@api_view(["POST"])
@permission_classes([AllowAny, LocalAccountPermission])
def auth_login(request: Request) -> Response:
    """Sign in with e-mail address and password."""
    serializer = serializers.LoginWriteSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    user = authenticate(request._request, **serializer.validated_data)
    if user is None:
        raise AuthenticationFailed("The e-mail address or the password is wrong.")
    login(request._request, user)
    return Response(serializers.UserReadSerializer(user).data)


@extend_schema(request=None, responses={204: None})
@api_view(["POST"])
@permission_classes([AllowAny])
@throttle_classes([])
def auth_logout(request: Request) -> Response:
    """Sign out; also fine for someone who is not signed in."""
    logout(request._request)
    return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(request=serializers.ForgotPasswordWriteSerializer, responses={204: None})
@api_view(["POST"])
@permission_classes([AllowAny, LocalAccountPermission])
def auth_forgot_password(request: Request) -> Response:
    """Mail a link for a new password to the account's owner; the answer doesn't tell whether there is an account."""
    require_from_address("PASSWORD_RESET_RATE", request._request)
    serializer = serializers.ForgotPasswordWriteSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    send_reset_link(serializer.validated_data["email"])
    return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(request=serializers.ResetPasswordWriteSerializer, responses={204: None})
@api_view(["POST"])
@permission_classes([AllowAny, LocalAccountPermission])
def auth_reset_password(request: Request) -> Response:
    """Change the password by a mailed link, which ends all of the account's sessions; nobody is signed in by it."""
    require_from_address("PASSWORD_RESET_RATE", request._request)
    with transaction.atomic():
        serializer = serializers.ResetPasswordWriteSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        change_password(serializer.validated_data["owner"], serializer.validated_data["password"], request._request)
    return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(request=serializers.ChangePasswordWriteSerializer, responses={204: None})
@api_view(["POST"])
@permission_classes([LocalAccountPermission, IsAuthenticated])
def auth_change_password(request: Request) -> Response:
    """Change the signed-in user's password, which ends all of the account's other sessions."""
    serializer = serializers.ChangePasswordWriteSerializer(data=request.data, context={"request": request})
    serializer.is_valid(raise_exception=True)
    with transaction.atomic():
        owner = locked_if_unchanged(serializer.validated_data["current_password"])
        change_password(owner, serializer.validated_data["new_password"], request._request)
    update_session_auth_hash(request._request, owner)
    return Response(status=status.HTTP_204_NO_CONTENT)


@versioned
@extend_schema(methods=["GET"], responses=serializers.UserReadSerializer)
@extend_schema(
    methods=["PUT", "PATCH"], request=serializers.UserWriteSerializer, responses=serializers.UserReadSerializer
)
@extend_schema(methods=["DELETE"], request=serializers.AccountDeletionWriteSerializer, responses={204: None})
@api_view(["GET", "HEAD", "PUT", "PATCH", "DELETE"])
@permission_classes([IsAuthenticated])
def user_me(request: Request) -> Response:
    """Return the signed-in user's own record, on PUT and PATCH after saving what they say; delete it on DELETE."""
    if request.method == "DELETE":
        proof = serializers.AccountDeletionWriteSerializer(data=request.data, context={"request": request})
        proof.is_valid(raise_exception=True)
        delete_account(proof.validated_data["password"], request)
        logout(request._request)
        return Response(status=status.HTTP_204_NO_CONTENT)
    if request.method in SAFE_METHODS:
        user = get_object_or_404(UserProfile.objects.select_related("skills_learned_matrix"), pk=request.user.pk)
        return Response(serializers.UserReadSerializer(user).data)
    known: Any = request.user
    serializer = serializers.UserWriteSerializer(known, data=request.data, partial=request.method == "PATCH")
    serializer.is_valid(raise_exception=True)
    with transaction.atomic():
        hold_off_synchronisation()
        serializer.take_locked(get_object_or_404(UserProfile.objects.select_for_update(no_key=True), pk=known.pk))
        require_match(request, serializer)
        serializer.save()
        return Response(serializer.data)


@described(serializers.OpportunityMatchReadSerializer(many=True), OpportunityMatchFilter)
@api_view(["GET", "HEAD"])
@permission_classes([IsAuthenticated])
def user_me_matches(request: Request) -> Response:
    """Return the open opportunities that the signed-in user's skills overlap with, best first, and why."""
    filters = OpportunityMatchFilter.read(request, Opportunity.objects.visible_to(request.user).open())
    opportunities: Any = filters.qs
    volunteer: Any = request.user
    ranking = OpportunityRanking(
        volunteer, opportunities, filters.narrowing, timezone.now(), filtered=filters.is_filtered
    )
    response = ranking_response(request, ranking, filters.page, serializers.OpportunityMatchReadSerializer)
    if not ranking:
        response["X-Match-Note"] = ranking.why_empty()
    return response


@described(serializers.OpportunityMatchReadSerializer)
@api_view(["GET", "HEAD"])
@permission_classes([IsAuthenticated])
def user_me_match(request: Request, pk: UUID) -> Response:
    """Return the signed-in user's match with one opportunity, in any status, also where nothing overlaps."""
    volunteer: Any = request.user
    opportunity = get_object_or_404(Opportunity.objects.visible_to(volunteer).with_details(), pk=pk)
    match = match_of(opportunity, volunteer, timezone.now())
    return Response(serializers.OpportunityMatchReadSerializer(match).data)


@described(serializers.VolunteerMatchReadSerializer(many=True), MatchFilter)
@api_view(["GET", "HEAD"])
@permission_classes([IsAuthenticated, IsProjectManagerPermission])
def opportunity_matches(request: Request, pk: UUID) -> Response:
    """Return the volunteers whose skills overlap with what an opportunity requires, best first, and why."""
    opportunities = Opportunity.objects.visible_to(request.user)
    filters = MatchFilter.read(request, opportunities)
    opportunity = get_object_or_404(opportunities.with_details(), pk=pk)
    ranking = VolunteerRanking(opportunity, filters.narrowing, timezone.now())
    return ranking_response(request, ranking, filters.page, serializers.VolunteerMatchReadSerializer)


@versioned
@extend_schema(responses=serializers.UserReadSerializer)
@api_view(["GET", "HEAD"])
@permission_classes([IsAuthenticated, UserDetailPermission])
def user_detail(request: Request, pk: UUID) -> Response:
    """Return a user's record, to that user only."""
    user = get_object_or_404(UserProfile.objects.select_related("skills_learned_matrix"), pk=pk)
    request.parser_context["view"].check_object_permissions(request, user)
    return Response(serializers.UserReadSerializer(user).data)


@extend_schema_view(
    list=extend_schema(parameters=OpportunityListFilter.documented()),
    create=extend_schema(responses={201: serializers.OpportunityReadSerializer}),
    update=extend_schema(responses=serializers.OpportunityReadSerializer),
)
@method_decorator([public_cache(LISTING_VERSION.read), versioned], name="dispatch")
class OpportunityViewSet(ModelViewSet[Opportunity]):
    """Opportunities: a public listing that project managers write."""

    permission_classes = (IsAuthenticatedOrReadOnly, OpportunityPermission)
    http_method_names = ["get", "head", "options", "post", "put", "delete"]  # noqa: RUF012 (a list by its type)
    lookup_value_converter = "uuid"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse a method that is not served before asking who may use it."""
        if not self.action or str(request.method).lower() not in self.http_method_names:
            raise MethodNotAllowed(str(request.method))
        super().initial(request, *args, **kwargs)

    def get_queryset(self) -> OpportunityQuerySet:
        """Return the opportunities that the user may see."""
        opportunities = Opportunity.objects.visible_to(self.request.user)
        return opportunities if self.action == "list" else opportunities.with_details()

    def get_object(self) -> Opportunity:
        """Return the opportunity, where the user may do with it what the request asks for."""
        opportunities = self.get_queryset()
        if self.action == "update":
            opportunities = opportunities.with_rights_of(self.request.user)
        opportunity = get_object_or_404(opportunities, pk=self.kwargs["pk"])
        self.check_object_permissions(self.request, opportunity)
        return opportunity

    def get_locked_object(self) -> Opportunity:
        """Return the opportunity after locking it.

        The lock is a query of its own: with joins PostgreSQL drops a row that another transaction changed meanwhile.
        """
        Opportunity.objects.select_for_update().filter(pk=self.kwargs["pk"]).values_list("pk").first()
        return self.get_object()

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return a page of the listing."""
        filters = OpportunityListFilter.read(request, self.get_queryset())
        count, rows = filters.read_page(serializers.OpportunityReadSerializer.columns.values())
        return paged_response(request, filters.page, count, self.get_serializer(rows, many=True).data)

    def get_serializer_class(self) -> type[BaseSerializer[Opportunity]]:
        """Return the read shape for reads and the write shape for writes."""
        if self.action in {"list", "retrieve"}:
            return serializers.OpportunityReadSerializer
        return serializers.OpportunityWriteSerializer

    @transaction.atomic
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Store a listing, stamped with who posts it."""
        hold_off_synchronisation()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        log_addition(request.user, serializer.save(created_by=request.user))
        return Response(serializer.data, status=status.HTTP_201_CREATED)

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Replace an opportunity of one's own; an optional field that is left out keeps its value."""
        serializer: Any = self.get_serializer(self.get_object(), data=request.data)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            hold_off_synchronisation()
            listing = self.get_locked_object()
            serializer.take_locked(listing)
            require_match(request, serializer)
            before, names = snapshot(listing), _names_in(listing)
            changed = serializer.save(created_by=request.user)
            skills = all_skill_names(serializer.context)
            log_change(request.user, changed, before, {**names, **_names_in(changed), **skills})
            return Response(serializer.data)

    @transaction.atomic
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete an opportunity. Any project manager may."""
        listing = self.get_locked_object()
        require_match(request, self.get_serializer(listing))
        log_deletion(request.user, listing)
        keep_deleted(request.user, [listing])
        listing.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


def _names_in(listing: Opportunity) -> dict[Any, str]:
    """Return id → name of the rows that a listing refers to, as far as its history tells of them."""
    return {listing.project_id: str(listing.project), listing.role_id: str(listing.role)}
