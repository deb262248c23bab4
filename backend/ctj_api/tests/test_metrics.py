"""What Prometheus reads, and who else."""

from ipaddress import ip_network
from typing import Any

from django.test import TestCase, override_settings

from backend.rates import Rate

from .common import browser

METRICS = "/metrics/"
INSIDE = (ip_network("10.0.0.0/8"),)


class MetricsPermissionTests(TestCase):
    """Denied by default, as if there were nothing."""

    def status(self, **options: Any) -> int:
        """Return the status of reading them."""
        return self.client.get(METRICS, **options).status_code

    def test_nobody_reads_them_by_default(self) -> None:
        """Neither with an empty token nor from this machine."""
        for header in ("", "Bearer ", "Bearer", "Bearer None"):
            self.assertEqual(self.status(headers={"authorization": header}), 404)

    @override_settings(METRICS_TOKEN="of-the-monitoring")
    def test_who_has_the_token_reads_them(self) -> None:
        """Nobody else does, and any Host will do."""
        right = {"authorization": "Bearer of-the-monitoring", "host": "10.1.2.3:8000"}
        self.assertEqual(self.status(headers=right), 200)
        for wrong in ("Bearer of-the-monitorin", "of-the-monitoring", "Basic of-the-monitoring", "Bearer \u00e9", ""):
            with self.subTest(wrong):
                self.assertEqual(self.status(headers={"authorization": wrong}), 404)

    @override_settings(METRICS_ALLOWED_NETWORKS=INSIDE)
    def test_who_is_inside_reads_them(self) -> None:
        """By the connection's address, not by what a header claims."""
        self.assertEqual(self.status(REMOTE_ADDR="10.1.2.3"), 200)
        self.assertEqual(self.status(REMOTE_ADDR="192.0.2.1"), 404)
        self.assertEqual(self.status(REMOTE_ADDR="192.0.2.1", headers={"x-forwarded-for": "10.1.2.3"}), 404)

    @override_settings(METRICS_ALLOWED_NETWORKS=INSIDE)
    def test_they_are_only_read(self) -> None:
        """HEAD is reading, too."""
        self.assertEqual(self.client.head(METRICS, REMOTE_ADDR="10.1.2.3").status_code, 200)
        self.assertEqual(self.client.post(METRICS, REMOTE_ADDR="10.1.2.3").status_code, 405)


@override_settings(METRICS_ALLOWED_NETWORKS=INSIDE)
class MetricsTests(TestCase):
    """What they say."""

    def read(self) -> dict[str, float]:
        """Return each sample with its value."""
        response = self.client.get(METRICS, REMOTE_ADDR="10.1.2.3")
        self.assertEqual(response["Cache-Control"], "private, no-store")
        lines = [line for line in response.content.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def grown(self, before: dict[str, float]) -> dict[str, float]:
        """Return what has been counted since."""
        differences = {name: value - before.get(name, 0) for name, value in self.read().items()}
        return {name: difference for name, difference in differences.items() if difference}

    def test_requests_are_counted_by_method_route_and_status(self) -> None:
        """With their time and their queries; paths that nobody knows are one route."""
        before = self.read()
        self.client.get("/api/skills/")
        for path in ("/api/x/", "/api/y/", "/z/"):
            self.client.get(path)
        self.client.generic("BREW", "/api/skills/")
        grown = self.grown(before)
        self.assertEqual(grown['ctj_requests_total{method="GET",route="skill-list",status="200"}'], 1)
        self.assertEqual(grown['ctj_request_duration_seconds_count{method="GET",route="skill-list"}'], 1)
        self.assertEqual(grown['ctj_requests_total{method="GET",route="none",status="404"}'], 1)
        self.assertEqual(grown['ctj_requests_total{method="GET",route="api-not-found",status="404"}'], 2)
        self.assertEqual(grown['ctj_requests_total{method="OTHER",route="skill-list",status="405"}'], 1)
        self.assertGreaterEqual(grown["ctj_database_queries_total"], 2)

    @override_settings(LOGIN_RATE=Rate(1, 900))
    def test_lockouts_are_counted(self) -> None:
        """An attack shows."""
        before, client = self.read(), browser()
        for _ in range(3):
            client.post("/api/auth/login/", {"email": "ana@example.org", "password": "x"})
        self.assertEqual(self.grown(before)['ctj_sign_in_lockouts_total{limit="login"}'], 2)
