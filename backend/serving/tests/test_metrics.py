"""What Prometheus reads, and who else."""

import os
import re
import signal
import sys
import unittest
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPConnection
from ipaddress import ip_network
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import yaml
from django.conf import settings
from django.db import transaction
from django.test import SimpleTestCase, TestCase, override_settings
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from backend import __version__
from ctj_api.models import Skill
from ctj_api.tests.common import browser, execute, wait_until
from ctj_api.tests.test_live_index import fresh_index
from serving.metrics import METHODS

from .server import PATIENCE_SECONDS, gunicorn_after, started

METRICS = "/metrics/"
TOKEN = "token-of-the-monitoring"
PROCESSES, REQUESTS = 2, 12
COUNTED = 'ctj_requests_total{method="GET",route="none",status="404"}'
INSIDE = (ip_network("10.0.0.0/8"),)
COMMIT = "0123abc"
ROUTES = ("/nowhere/", "/api/nowhere/", "/api/auth/csrf/")
# As on a full disk, no file may grow beyond so many bytes.
WITH_LITTLE_ROOM = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"
BACKEND = Path(settings.BASE_DIR)
ALERTS = [rule for group in yaml.safe_load((BACKEND / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def documented() -> list[tuple[str, str]]:
    """Return each metric of the documentation's table with its alerts."""
    page = (BACKEND.parent / "docs" / "deployment-infra.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(ctj_\w+(?:\{[\w,]+\})?)` \| .* \| (.*?) ?\|$", page, re.MULTILINE)


def described(family: Metric) -> str:
    """Return a metric's name and labels, as the documentation's table writes them."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    return f"{name}{{{','.join(sorted(labels))}}}" if labels else name


class MetricsPermissionTests(TestCase):
    """Denied by default, as if there were nothing."""

    def test_operator_with_the_token_or_inside_reads_metrics(self) -> None:
        """Everybody else gets 404, by the address of the connection, or for any header of a proxy."""
        token, inside = {"METRICS_TOKEN": "of-the-monitoring"}, {"METRICS_ALLOWED_NETWORKS": INSIDE}
        wrong = ("Bearer of-the-monitorin", "of-the-monitoring", "Basic of-the-monitoring", "Bearer \u00e9", "")
        proxies = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
        cases: list[tuple[dict[str, Any], str, dict[str, str], int]] = [
            *(({}, "10.1.2.3", {"authorization": header}, 404) for header in ("", "Bearer ", "Bearer", "Bearer None")),
            (token, "192.0.2.1", {"authorization": "Bearer of-the-monitoring", "host": "10.1.2.3:8000"}, 200),
            *((token, "192.0.2.1", {"authorization": header}, 404) for header in wrong),
            (inside, "10.1.2.3", {}, 200),
            (inside, "192.0.2.1", {}, 404),
            (inside, "192.0.2.1", {"x-forwarded-for": "10.1.2.3"}, 404),
            *((inside, "10.1.2.3", {name: value}, 404) for name in proxies for value in ("192.0.2.1", "10.9.9.9", "")),
            (inside | {"TRUSTED_PROXIES": INSIDE}, "10.1.2.3", {}, 404),
        ]
        for settings_, address, headers, status in cases:
            with self.subTest(headers, address=address, **settings_), self.settings(**settings_):
                statuses = {"GET": status, "HEAD": status, "POST": 405 if status == 200 else 404}
                for method, expected in statuses.items():
                    response = self.client.generic(method, METRICS, REMOTE_ADDR=address, headers=headers)
                    self.assertEqual(response.status_code, expected)


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
        """With time and queries; unknown paths share a route; machines are counted apart."""
        before = self.read()
        self.client.get("/api/skills/")
        for path in ("/api/x/", "/api/y/", "/z/"):
            self.client.get(path)
        self.client.generic("BREW", "/api/skills/")
        self.client.get("/api/healthcheck/")
        grown = self.grown(before)
        self.assertEqual(grown['ctj_requests_total{method="GET",route="skill-list",status="200"}'], 1)
        self.assertEqual(grown['ctj_request_duration_seconds_count{method="GET",route="skill-list"}'], 1)
        self.assertEqual(grown['ctj_requests_total{method="GET",route="none",status="404"}'], 1)
        self.assertEqual(grown['ctj_requests_total{method="GET",route="api-not-found",status="404"}'], 2)
        self.assertEqual(grown['ctj_requests_total{method="OTHER",route="skill-list",status="405"}'], 1)
        self.assertGreaterEqual(grown["ctj_database_queries_total"], 2)
        for route in ("healthcheck", "metrics"):
            self.assertEqual(grown[f'ctj_machine_requests_total{{route="{route}",status="200"}}'], 1)
            self.assertNotRegex(" ".join(grown), rf'ctj_requests?_\w+{{[^}}]*route="{route}"')

    @override_settings(LOGIN_RATE=(1, 900))
    def test_failed_queries_rebuilds_and_lockouts_are_counted(self) -> None:
        """Queries are counted by their exception, rebuilds by their index, and each lockout."""

        def fail(*_: object) -> None:
            with transaction.atomic():
                execute("SELECT 1 / 0")

        before, client = self.read(), browser()
        self.client.raise_request_exception = False
        with patch("ctj_api.views.SkillFilter.read", fail):
            self.client.get("/api/skills/")
        fresh_index().read(len)
        for _ in range(3):
            client.post("/api/auth/login/", {"email": "ana@example.org", "password": "x"})
        grown = self.grown(before)
        self.assertEqual(grown['ctj_database_errors_total{cause="DivisionByZero",kind="DataError"}'], 1)
        self.assertEqual(grown['ctj_index_rebuild_seconds_count{index="opportunity"}'], 1)
        self.assertEqual(grown['ctj_sign_in_lockouts_total{limit="login"}'], 2)

    def test_requests_under_way_are_counted(self) -> None:
        """The gauge counts a request of a user until its end, but not the scrape."""
        under_way = []

        def read(*_: object) -> SimpleNamespace:
            under_way.append(self.read()["ctj_requests_in_progress"])
            return SimpleNamespace(qs=Skill.objects.none())

        with patch("ctj_api.views.SkillFilter.read", read):
            self.client.get("/api/skills/")
        self.assertEqual((under_way, self.read()["ctj_requests_in_progress"]), ([1], 0))


class SeveralProcessesTests(SimpleTestCase):
    """Real processes that share a port, as ``startServer.sh`` has them."""

    def setUp(self) -> None:
        """Start two, also where another server hands the folder of its own metrics down."""
        environment: dict[str, Any] = {"WEB_CONCURRENCY": str(PROCESSES), "PROMETHEUS_MULTIPROC_DIR": "/x"}
        environment |= {"METRICS_TOKEN": TOKEN, "RELEASE_COMMIT": COMMIT}
        server = started(application="backend.asgi:application", **environment)
        self.server = self.enterContext(server)
        wait_until(lambda: self.sample("ctj_request_threads") == PROCESSES * settings.REQUEST_THREADS)

    def sample(self, name: str) -> float | None:
        """Return one of the metrics, where there is an answer that has it."""
        with suppress(OSError):
            for line in self.read().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.removeprefix(name))
        return None

    def read(self) -> str:
        """Return all of the metrics."""
        return self.server.get(METRICS, Authorization=f"Bearer {TOKEN}")

    def test_every_metric_is_documented_and_told_from_the_start(self) -> None:
        """The table names each metric with its labels and alerts, and none that is gone; alerts ask for these only."""
        limits = ("login", "login account", "login address")
        for name in (
            *(f'ctj_sign_in_lockouts_total{{limit="{limit}"}}' for limit in limits),
            'ctj_database_errors_total{cause="OperationalError",kind="OperationalError"}',
            'ctj_machine_requests_total{route="healthcheck",status="503"}',
            "ctj_overloaded_total",
        ):
            with self.subTest(name):
                self.assertEqual(self.sample(name), 0)
        self.assertEqual(self.sample(f'ctj_build_info{{version="{__version__}+{COMMIT}"}}'), 1)
        self.assertGreater(self.sample("ctj_memory_bytes") or 0, PROCESSES * 2**25)
        self.assertGreater(self.sample("ctj_open_files") or 0, PROCESSES * 8)
        self.server.get("/nowhere/")
        table = dict(documented())
        families = list(text_string_to_metric_families(self.read()))
        self.assertEqual(set(table), {described(family) for family in families})
        series = {sample.name for family in families for sample in family.samples} | {"up"}
        for alert in ALERTS:
            with self.subTest(alert["alert"]):
                asked = set(re.findall(r"\b(?:ctj_\w+|up)\b", alert["expr"]))
                self.assertTrue(asked)
                self.assertEqual(asked - series, set())
        named = re.findall(r"`(\w+)`", " ".join(table.values()))
        self.assertEqual(set(named), {alert["alert"] for alert in ALERTS} - {"ApiDown"})

    def test_one_answer_has_the_sum_of_all_processes(self) -> None:
        """A killed process' counts stay, its gauges go, and the folder goes with the server."""
        self.assertEqual(self.sample("ctj_process_starts_total"), PROCESSES)
        for _ in range(REQUESTS):
            self.server.get("/nowhere/")
        self.assertEqual(self.sample(COUNTED), REQUESTS)
        (folder,) = self.server.folder.glob("ctj-metrics-*")
        processes = {path.stem.rsplit("_", 1)[1] for path in folder.glob("counter_*.db")}
        self.assertEqual(len(processes), PROCESSES)
        killed = int(min(processes))
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not list(folder.glob(f"gauge_live*_{killed}.db")))
        wait_until(lambda: self.sample("ctj_request_threads") == PROCESSES * settings.REQUEST_THREADS)
        self.assertEqual(self.sample(COUNTED), REQUESTS)
        self.assertEqual(self.sample("ctj_requests_in_progress"), 0)
        self.assertEqual(self.sample("ctj_process_starts_total"), PROCESSES + 1)
        self.assertEqual(self.sample("ctj_processes"), PROCESSES)
        self.server.process.terminate()
        self.server.process.wait()
        self.assertFalse(folder.exists())


@unittest.skipUnless(sys.platform == "linux", "elsewhere no room is reserved")
class MetricFilesTests(SimpleTestCase):
    """A full temporary folder costs metrics, and nothing else."""

    def test_server_without_room_for_metrics_serves(self) -> None:
        """Be the disk full from the beginning or later, requests are answered, and one line in the log tells why."""
        for limit in (60_000, 70_000):
            launch = gunicorn_after(WITH_LITTLE_ROOM.format(limit))
            with self.subTest(limit), started(application="backend.asgi:application", launch=launch) as server:
                wait_until(partial(server.answers, "/nowhere/"))
                with closing(HTTPConnection(server.host, server.port, timeout=PATIENCE_SECONDS)) as client:
                    for route, method in product(ROUTES, (*METHODS, "BREW")):
                        client.request(method, route, headers={"Host": "localhost"})
                        with client.getresponse() as response:
                            response.read()
                            self.assertLess(response.status, 500)
                self.assertEqual(server.log.count("have no room"), 1)
                self.assertNotIn("was sent SIG", server.log)
