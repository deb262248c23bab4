"""What Prometheus reads, and who else."""

import os
import signal
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.conf import settings
from django.db import connection, transaction
from django.test import SimpleTestCase, TestCase, override_settings

from backend.environment import Rate
from ctj_api.tests.common import browser, wait_until

from .server import started

METRICS = "/metrics/"
TOKEN = "token-of-the-monitoring"
PROCESSES, REQUESTS = 2, 12
COUNTED = 'ctj_requests_total{method="GET",route="none",status="404"}'
INSIDE = (ip_network("10.0.0.0/8"),)


class MetricsPermissionTests(TestCase):
    """Denied by default, as if there were nothing."""

    def status(self, **options: Any) -> int:
        """Return the status of reading them."""
        return self.client.get(METRICS, **options).status_code

    def test_anonymous_gets_404_by_default(self) -> None:
        """Neither an empty token nor this machine's address gives access."""
        for header in ("", "Bearer ", "Bearer", "Bearer None"):
            self.assertEqual(self.status(headers={"authorization": header}), 404)

    @override_settings(METRICS_TOKEN="of-the-monitoring")
    def test_operator_with_the_token_reads_metrics(self) -> None:
        """The right token gives access with any Host, every other token gets 404."""
        right = {"authorization": "Bearer of-the-monitoring", "host": "10.1.2.3:8000"}
        self.assertEqual(self.status(headers=right), 200)
        for wrong in ("Bearer of-the-monitorin", "of-the-monitoring", "Basic of-the-monitoring", "Bearer \u00e9", ""):
            with self.subTest(wrong):
                self.assertEqual(self.status(headers={"authorization": wrong}), 404)

    @override_settings(METRICS_ALLOWED_NETWORKS=INSIDE)
    def test_operator_inside_reads_metrics(self) -> None:
        """The connection's address decides, not the address that a header claims."""
        self.assertEqual(self.status(REMOTE_ADDR="10.1.2.3"), 200)
        self.assertEqual(self.status(REMOTE_ADDR="192.0.2.1"), 404)
        self.assertEqual(self.status(REMOTE_ADDR="192.0.2.1", headers={"x-forwarded-for": "10.1.2.3"}), 404)

    @override_settings(METRICS_ALLOWED_NETWORKS=INSIDE)
    def test_client_of_a_proxy_gets_404(self) -> None:
        """A request with any header of a proxy counts as coming from outside."""
        for forwarded in ("192.0.2.1", "10.9.9.9", ""):
            with self.subTest(forwarded):
                self.assertEqual(self.status(REMOTE_ADDR="10.1.2.3", headers={"x-forwarded-for": forwarded}), 404)
        for name in ("forwarded", "via", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"):
            with self.subTest(name):
                self.assertEqual(self.status(REMOTE_ADDR="10.1.2.3", headers={name: "https"}), 404)
        with self.settings(TRUSTED_PROXIES=INSIDE):
            self.assertEqual(self.status(REMOTE_ADDR="10.1.2.3"), 404)

    @override_settings(METRICS_ALLOWED_NETWORKS=INSIDE)
    def test_operator_cannot_write_metrics(self) -> None:
        """GET and HEAD are allowed, POST is 405."""
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
        """Requests are counted with time and queries; unknown paths share one route."""
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

    def test_failed_queries_are_counted_by_kind(self) -> None:
        """A query that fails increases the counter of its exception."""

        def fail(*_: object) -> None:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")

        before = self.read()
        self.client.raise_request_exception = False
        with patch("ctj_api.views.SkillFilter.narrow", fail):
            self.client.get("/api/skills/")
        self.assertEqual(self.grown(before)['ctj_database_errors_total{kind="DataError"}'], 1)

    def test_requests_under_way_are_counted(self) -> None:
        """The gauge counts the asking request and none that has ended."""
        self.client.get("/api/skills/")
        self.assertEqual(self.read()["ctj_requests_in_progress"], 1)

    @override_settings(LOGIN_RATE=Rate(1, 900))
    def test_lockouts_are_counted(self) -> None:
        """Each refused sign-in increases the counter."""
        before, client = self.read(), browser()
        for _ in range(3):
            client.post("/api/auth/login/", {"email": "ana@example.org", "password": "x"})
        self.assertEqual(self.grown(before)['ctj_sign_in_lockouts_total{limit="login"}'], 2)


class SeveralProcessesTests(SimpleTestCase):
    """Real processes that share a port, as ``startServer.sh`` has them."""

    def setUp(self) -> None:
        """Start two, also where another server hands the folder of its own metrics down."""
        server = started(
            application="backend.asgi:application",
            METRICS_TOKEN=TOKEN,
            WEB_CONCURRENCY=str(PROCESSES),
            PROMETHEUS_MULTIPROC_DIR="/x",
        )
        self.server = self.enterContext(server)
        wait_until(lambda: self.sample("ctj_request_threads") == PROCESSES * settings.REQUEST_THREADS)

    def sample(self, name: str) -> float | None:
        """Return one of the metrics, where there is an answer that has it."""
        with suppress(OSError):
            for line in self.server.get(METRICS, Authorization=f"Bearer {TOKEN}").splitlines():
                if line.startswith(f"{name} "):
                    return float(line.removeprefix(name))
        return None

    def folders(self) -> list[Path]:
        """Return the folders of metrics that there are."""
        return list(self.server.folder.glob("ctj-metrics-*"))

    def test_one_answer_has_the_sum_of_all_processes(self) -> None:
        """A killed process' counts stay, its gauges go, and the folder goes with the server."""
        for _ in range(REQUESTS):
            self.server.get("/nowhere/")
        self.assertEqual(self.sample(COUNTED), REQUESTS)
        (folder,) = self.folders()
        processes = {path.stem.rsplit("_", 1)[1] for path in folder.glob("counter_*.db")}
        self.assertEqual(len(processes), PROCESSES)
        killed = int(min(processes))
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not list(folder.glob(f"gauge_live*_{killed}.db")))
        wait_until(lambda: self.sample("ctj_request_threads") == PROCESSES * settings.REQUEST_THREADS)
        self.assertEqual(self.sample(COUNTED), REQUESTS)
        self.assertEqual(self.sample("ctj_requests_in_progress"), 1)
        self.server.process.terminate()
        self.server.process.wait()
        self.assertEqual(self.folders(), [])
