"""The routes under ``/api/``: kebab-case, plural for collections, always with a trailing slash."""

from django.urls import include, path
from rest_framework.routers import DefaultRouter

from . import views

router = DefaultRouter(use_regex_path=False)
router.include_root_view = False
router.include_format_suffixes = False
router.register("opportunities", views.OpportunityViewSet, basename="opportunity")

urlpatterns = [
    path("auth/csrf/", views.auth_csrf, name="auth-csrf"),
    path("auth/signup/", views.auth_signup, name="auth-signup"),
    path("auth/login/", views.auth_login, name="auth-login"),
    path("auth/logout/", views.auth_logout, name="auth-logout"),
    path("auth/forgot-password/", views.auth_forgot_password, name="auth-forgot-password"),
    path("auth/reset-password/", views.auth_reset_password, name="auth-reset-password"),
    path("auth/change-password/", views.auth_change_password, name="auth-change-password"),
    path("skills/", views.skill_list, name="skill-list"),
    path("skills/<uuid:pk>/", views.skill_detail, name="skill-detail"),
    path("communities-of-practice/", views.community_of_practice_list, name="community-of-practice-list"),
    path("communities-of-practice/<uuid:pk>/", views.community_of_practice_detail, name="community-of-practice-detail"),
    path("roles/", views.role_list, name="role-list"),
    path("roles/<uuid:pk>/", views.role_detail, name="role-detail"),
    path("projects/", views.project_list, name="project-list"),
    path("projects/<uuid:pk>/", views.project_detail, name="project-detail"),
    path("users/me/", views.user_me, name="user-me"),
    path("users/me/matches/", views.user_me_matches, name="user-me-matches"),
    path("users/me/matches/<uuid:pk>/", views.user_me_match, name="user-me-match"),
    path("users/<uuid:pk>/", views.user_detail, name="user-detail"),
    path("opportunities/<uuid:pk>/matches/", views.opportunity_matches, name="opportunity-matches"),
    path("", include(router.urls)),
]
