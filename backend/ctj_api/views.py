"""The endpoints. What needs less than full CRUD is a function whose method and permissions stand on top of it."""

from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib.auth import authenticate, login, logout
from django.db import router, transaction
from django.http import HttpResponseBase
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.decorators import method_decorator
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import api_view, authentication_classes, permission_classes, throttle_classes
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed
from rest_framework.permissions import SAFE_METHODS, AllowAny, IsAuthenticated, IsAuthenticatedOrReadOnly
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ModelViewSet

from .accounts.limits import PasswordResetThrottle, SignupThrottle
from .accounts.password_reset import change_password, send_reset_link
from .desk.history import log_addition, log_change, log_deletion, snapshot
from .filters import MatchForm, OpportunityFilter, OpportunityListFilter, ProjectFilter, RoleFilter, SkillFilter
from .http.caching import public_cache, revalidated, row_versions
from .http.pagination import HeaderPagination, MatchPagination, OpportunityPagination
from .models import CommunityOfPractice, Opportunity, Project, Role, Skill, UserProfile
from .parameters import (
    COMMUNITY,
    MATCH_LIST,
    MATCHED_FILTERS,
    NAME_SEARCH,
    OPPORTUNITY_LIST,
    PAGE_HEADERS,
    SEARCH,
    query_parameters,
)
from .permissions import IsProjectManagerPermission, OpportunityPermission, UserDetailPermission
from .querysets import OpportunityQuerySet
from .ranking.matches import OpportunityRanking, VolunteerRanking
from .ranking.row_changes import Kind, version_of
from .serializers import (
    CommunityOfPracticeReadSerializer,
    CsrfTokenReadSerializer,
    ForgotPasswordWriteSerializer,
    LoginWriteSerializer,
    OpportunityMatchReadSerializer,
    OpportunityReadSerializer,
    OpportunityWriteSerializer,
    ProjectReadSerializer,
    ResetPasswordWriteSerializer,
    RoleReadSerializer,
    SignupWriteSerializer,
    SkillReadSerializer,
    UserReadSerializer,
    UserWriteSerializer,
    VolunteerMatchReadSerializer,
)


@public_cache
@query_parameters(COMMUNITY, SEARCH)
@extend_schema(responses=SkillReadSerializer(many=True))
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([AllowAny])
def skill_list(request: Request) -> HttpResponseBase:
    """Return the skill catalog, by name."""
    skills = SkillFilter.narrow(request, Skill.objects.prefetch_related("communities_of_practice"))
    serializer = SkillReadSerializer(skills, many=True)
    tables = (Skill, Skill.communities_of_practice.through, CommunityOfPractice)
    return revalidated(request, lambda: row_versions(*tables), lambda: Response(serializer.data))


@public_cache
@extend_schema(responses=SkillReadSerializer)
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([AllowAny])
def skill_detail(request: Request, pk: UUID) -> Response:
    """Return one skill."""
    return Response(SkillReadSerializer(get_object_or_404(Skill, pk=pk)).data)


@public_cache
@extend_schema(responses=CommunityOfPracticeReadSerializer(many=True))
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([AllowAny])
def community_of_practice_list(request: Request) -> HttpResponseBase:
    """Return the five communities of practice, by practice area."""
    communities = CommunityOfPractice.objects.all()
    serializer = CommunityOfPracticeReadSerializer(communities, many=True)
    return revalidated(request, lambda: row_versions(CommunityOfPractice), lambda: Response(serializer.data))


@public_cache
@extend_schema(responses=CommunityOfPracticeReadSerializer)
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([AllowAny])
def community_of_practice_detail(request: Request, pk: UUID) -> Response:
    """Return one community of practice."""
    return Response(CommunityOfPracticeReadSerializer(get_object_or_404(CommunityOfPractice, pk=pk)).data)


@public_cache
@query_parameters(COMMUNITY)
@extend_schema(responses=RoleReadSerializer(many=True))
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([AllowAny])
def role_list(request: Request) -> HttpResponseBase:
    """Return the roles, by title, then by id."""
    roles = RoleFilter.narrow(request, Role.objects.all())
    serializer = RoleReadSerializer(roles, many=True)
    return revalidated(request, lambda: row_versions(Role, CommunityOfPractice), lambda: Response(serializer.data))


@public_cache
@extend_schema(responses=RoleReadSerializer)
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([AllowAny])
def role_detail(request: Request, pk: UUID) -> Response:
    """Return one role."""
    return Response(RoleReadSerializer(get_object_or_404(Role, pk=pk)).data)


@public_cache
@query_parameters(NAME_SEARCH)
@extend_schema(responses=ProjectReadSerializer(many=True))
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([AllowAny])
def project_list(request: Request) -> HttpResponseBase:
    """Return the projects, by name."""
    projects = ProjectFilter.narrow(request, Project.objects.all())
    serializer = ProjectReadSerializer(projects, many=True)
    return revalidated(request, lambda: row_versions(Project), lambda: Response(serializer.data))


@public_cache
@extend_schema(responses=ProjectReadSerializer)
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([AllowAny])
def project_detail(request: Request, pk: UUID) -> Response:
    """Return one project."""
    return Response(ProjectReadSerializer(get_object_or_404(Project, pk=pk)).data)


@extend_schema(responses=CsrfTokenReadSerializer)
@api_view(["GET", "HEAD"])
@permission_classes([AllowAny])
def auth_csrf(request: Request) -> Response:
    """Return a CSRF token and set the cookie that goes with it."""
    return Response(CsrfTokenReadSerializer({"csrf_token": get_token(request._request)}).data)


@extend_schema(request=SignupWriteSerializer, responses={201: UserReadSerializer})
@api_view(["POST"])
@permission_classes([AllowAny])
@throttle_classes([SignupThrottle])
def auth_signup(request: Request) -> Response:
    """Make an account and sign in to it."""
    serializer = SignupWriteSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    user = serializer.save()
    login(request._request, user)
    return Response(UserReadSerializer(user).data, status=status.HTTP_201_CREATED)


@extend_schema(request=LoginWriteSerializer, responses=UserReadSerializer)
@api_view(["POST"])
@permission_classes([AllowAny])
def auth_login(request: Request) -> Response:
    """Sign in with e-mail address and password."""
    serializer = LoginWriteSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    user = authenticate(request._request, **serializer.validated_data)
    if user is None:
        raise AuthenticationFailed("The e-mail address or the password is wrong.")
    login(request._request, user)
    return Response(UserReadSerializer(user).data)


@extend_schema(request=None, responses={204: None})
@api_view(["POST"])
@permission_classes([AllowAny])
def auth_logout(request: Request) -> Response:
    """Sign out; also fine for someone who is not signed in."""
    logout(request._request)
    return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(request=ForgotPasswordWriteSerializer, responses={204: None})
@api_view(["POST"])
@permission_classes([AllowAny])
@throttle_classes([PasswordResetThrottle])
def auth_forgot_password(request: Request) -> Response:
    """Mail a link for a new password to the account's owner; the answer doesn't tell whether there is an account."""
    serializer = ForgotPasswordWriteSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    send_reset_link(serializer.validated_data["email"])
    return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(request=ResetPasswordWriteSerializer, responses={204: None})
@api_view(["POST"])
@permission_classes([AllowAny])
@throttle_classes([PasswordResetThrottle])
def auth_reset_password(request: Request) -> Response:
    """Change the password by a mailed link, which ends all of the account's sessions; nobody is signed in by it."""
    with transaction.atomic():
        serializer = ResetPasswordWriteSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        change_password(serializer.validated_data["owner"], serializer.validated_data["password"], request._request)
    return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(methods=["GET"], description="Return the signed-in user's own record.", responses=UserReadSerializer)
@extend_schema(
    methods=["PUT"],
    description="Replace all that the qualifier flow asks the signed-in user, and return the record.",
    request=UserWriteSerializer,
    responses=UserReadSerializer,
)
@extend_schema(
    methods=["PATCH"],
    description="Save a step of the qualifier flow: what is left out stays. Return the record.",
    request=UserWriteSerializer,
    responses=UserReadSerializer,
)
@api_view(["GET", "HEAD", "PUT", "PATCH"])
@permission_classes([IsAuthenticated])
def user_me(request: Request) -> Response:
    """Return the signed-in user's own record, on PUT and PATCH after saving the qualifier's answers."""
    if request.method in SAFE_METHODS:
        user = get_object_or_404(UserProfile.objects.select_related("skills_learned_matrix"), pk=request.user.pk)
        return Response(UserReadSerializer(user).data)
    with transaction.atomic():
        user = get_object_or_404(UserProfile.objects.select_for_update(no_key=True), pk=request.user.pk)
        serializer = UserWriteSerializer(user, data=request.data, partial=request.method == "PATCH")
        serializer.is_valid(raise_exception=True)
        serializer.save()
    return Response(serializer.data)


@query_parameters(*MATCHED_FILTERS, *MATCH_LIST)
@extend_schema(responses=OpportunityMatchReadSerializer(many=True))
@api_view(["GET", "HEAD"])
@permission_classes([IsAuthenticated])
def user_me_matches(request: Request) -> Response:
    """Return the open opportunities that the signed-in user's skills overlap with, best first, and why."""
    opportunities = OpportunityFilter.narrow(request, Opportunity.objects.visible_to(request.user).open())
    ranking = OpportunityRanking(
        cast("UserProfile", request.user),
        opportunities,
        MatchForm.narrowing(request),
        timezone.now(),
        filtered=OpportunityFilter.is_asked(request),
    )
    pagination = MatchPagination()
    matches = pagination.paginate_queryset(ranking, request)
    return pagination.get_paginated_response(OpportunityMatchReadSerializer(matches, many=True).data)


@query_parameters(*MATCH_LIST)
@extend_schema(responses=VolunteerMatchReadSerializer(many=True))
@api_view(["GET", "HEAD"])
@permission_classes([IsAuthenticated, IsProjectManagerPermission])
def opportunity_matches(request: Request, pk: UUID) -> Response:
    """Return the volunteers whose skills overlap with what an opportunity requires, best first, and why."""
    opportunity = get_object_or_404(Opportunity.objects.visible_to(request.user).with_details(), pk=pk)
    ranking = VolunteerRanking(opportunity, MatchForm.narrowing(request), timezone.now())
    pagination = MatchPagination()
    matches = pagination.paginate_queryset(ranking, request)
    return pagination.get_paginated_response(VolunteerMatchReadSerializer(matches, many=True).data)


@extend_schema(responses=UserReadSerializer)
@api_view(["GET", "HEAD"])
@permission_classes([IsAuthenticated, UserDetailPermission])
def user_detail(request: Request, pk: UUID) -> Response:
    """Return a user's record, to that user only."""
    user = get_object_or_404(UserProfile.objects.select_related("skills_learned_matrix"), pk=pk)
    request.parser_context["view"].check_object_permissions(request, user)
    return Response(UserReadSerializer(user).data)


@extend_schema_view(
    list=extend_schema(
        description="Return the opportunities that the user may see, newest first, then by id.",
        parameters=[*OPPORTUNITY_LIST, *PAGE_HEADERS],
    ),
    retrieve=extend_schema(description="Return one opportunity; a draft is there for project managers only."),
    create=extend_schema(
        description="Post an opportunity, as a draft unless `status` says otherwise. Project managers only.",
        responses={201: OpportunityReadSerializer},
    ),
    update=extend_schema(responses=OpportunityReadSerializer),
)
@method_decorator(public_cache, name="dispatch")
class OpportunityViewSet(ModelViewSet[Opportunity]):
    """Opportunities: a public listing that project managers write."""

    permission_classes = (IsAuthenticatedOrReadOnly, OpportunityPermission)
    pagination_class = OpportunityPagination
    http_method_names = ["get", "head", "options", "post", "put", "delete"]  # noqa: RUF012 (a list by its type)
    lookup_value_converter = "uuid"
    query_parameters: ClassVar[dict[str, Any]] = {"list": OPPORTUNITY_LIST}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse a method that is not served before asking who may use it."""
        if not self.action or str(request.method).lower() not in self.http_method_names:
            raise MethodNotAllowed(str(request.method))
        super().initial(request, *args, **kwargs)

    def get_queryset(self) -> OpportunityQuerySet:
        """Return the opportunities that the user may see; one about to be written is locked, without its joins.

        PostgreSQL would drop a locked row whose joined columns another transaction has changed meanwhile.
        """
        opportunities = Opportunity.objects.visible_to(self.request.user)
        if self.action in {"update", "destroy"}:
            return opportunities.select_for_update()
        return opportunities if self.action == "list" else opportunities.with_details()

    def filter_queryset(self, queryset: OpportunityQuerySet) -> OpportunityQuerySet:  # type: ignore[override]
        """Return the opportunities of the listing that the request asks for."""
        return OpportunityListFilter.narrow(self.request, queryset) if self.action == "list" else queryset

    def list(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        """Return a page of the listing; 304 where no listing has changed since an anonymous reader's copy."""
        opportunities = self.filter_queryset(self.get_queryset())
        cast("HeaderPagination", self.paginator).read_parameters(request)
        return revalidated(request, lambda: self._version(request), lambda: self._page(opportunities))

    def _version(self, request: Request) -> str | None:
        return None if request.user.is_authenticated else version_of(Kind.LISTING, router.db_for_read(Opportunity))

    def _page(self, opportunities: OpportunityQuerySet) -> Response:
        page = self.paginate_queryset(opportunities)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def get_serializer_class(self) -> type[BaseSerializer[Opportunity]]:
        """Return the read shape for reads and the write shape for writes."""
        if self.action in ("list", "retrieve"):
            return OpportunityReadSerializer
        return OpportunityWriteSerializer

    @transaction.atomic
    def perform_create(self, serializer: BaseSerializer[Opportunity]) -> None:
        """Stamp the listing with who posts it."""
        log_addition(self.request.user, serializer.save(created_by=self.request.user))

    def perform_update(self, serializer: BaseSerializer[Opportunity]) -> None:
        """Save the listing, and log what is different."""
        before = snapshot(cast("Opportunity", serializer.instance))
        log_change(self.request.user, serializer.save(), before)

    def perform_destroy(self, instance: Opportunity) -> None:
        """Delete the listing, and log who did."""
        log_deletion(self.request.user, instance)
        instance.delete()

    @transaction.atomic
    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Replace an opportunity of one's own; an optional field that is left out keeps its value."""
        return super().update(request, *args, **kwargs)

    @transaction.atomic
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete an opportunity. Any project manager may."""
        return super().destroy(request, *args, **kwargs)
