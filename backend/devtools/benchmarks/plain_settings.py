"""A plain Django project around the plain viewsets: no logs, metrics or limits, served by Gunicorn's threads."""

from backend.settings import *  # noqa: F403 (models, database and packages are the same)

ROOT_URLCONF = "devtools.benchmarks.plain"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    *(name for name in MIDDLEWARE if name.startswith("django.")),  # noqa: F405
]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
}
