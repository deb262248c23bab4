"""Root routing: the admin, the API, and a JSON 404 for whatever else is asked under ``/api/``."""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny

from backend import views
from ctj_api.http.caching import public_cache

PUBLIC = {"authentication_classes": (), "permission_classes": (AllowAny,), "http_method_names": ["get", "head"]}

handler500 = views.server_error

urlpatterns = [
    path("admin/", admin.site.urls),
    path("metrics/", views.metrics, name="metrics"),
    path("api/healthcheck/", views.healthcheck, name="healthcheck"),
    path("api/schema/", public_cache(str, for_all=True)(SpectacularJSONAPIView.as_view(**PUBLIC)), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(**PUBLIC), name="docs"),
    path("api/", include("ctj_api.urls")),
    re_path(r"^api(?:/|$)", views.api_not_found, name="api-not-found"),
]
