"""The project's routes, and those that only benchmarks ask."""

import os

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from .references.plain import PlainOpportunityViewSet

router = SimpleRouter()
router.register("opportunities", PlainOpportunityViewSet)


@api_view(["GET"])
@permission_classes([AllowAny])
def empty(request: Request) -> Response:  # noqa: ARG001 (a view takes the request)
    """Return an empty object."""
    return Response({})


def process(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 (a view takes the request)
    """Return the id of the process that answers."""
    return HttpResponse(str(os.getpid()))


urlpatterns = [
    path("benchmarks/process/", process),
    path("benchmarks/empty/", empty),
    path("benchmarks/", include(router.urls)),
    path("", include("backend.urls")),
]
