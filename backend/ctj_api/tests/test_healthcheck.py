"""The health check."""

from threading import Event
from unittest.mock import patch

from django.db import OperationalError
from django.test import override_settings
from rest_framework.test import APITestCase

from .common import error_of

URL = "/api/healthcheck/"


class HealthcheckTests(APITestCase):
    """What load balancers and operators see."""

    @override_settings(RELEASE="1.2.3+abc")
    def test_anonymous_healthcheck_returns_200(self) -> None:
        """It tells version, uptime and the state of the database, whatever ``Host`` a load balancer sends."""
        body = self.client.get(URL, HTTP_HOST="10.0.0.7").json()
        self.assertEqual(
            body | {"uptime_seconds": 0},
            {"status": "ok", "version": "1.2.3+abc", "uptime_seconds": 0, "database": "ok"},
        )
        self.assertGreaterEqual(body["uptime_seconds"], 0)

    def test_anonymous_healthcheck_without_database_returns_503(self) -> None:
        """Also where it takes the connection and says nothing; the envelope comes with a time to retry."""
        is_over = Event()
        self.addCleanup(is_over.set)

        def stall() -> None:
            is_over.wait()
            raise OperationalError("cut")

        for failure in (OperationalError("gone"), stall):
            with patch("backend.views.PROBE_SECONDS", 0.05), patch("backend.views.connection") as connection:
                connection.cursor.side_effect = failure
                response = self.client.get(URL)
            self.assertEqual((response.status_code, error_of(response)["code"]), (503, "service_unavailable"))
            self.assertGreater(int(response["Retry-After"]), 0)
