"""A full temporary folder costs metrics, and nothing else."""

from functools import partial

from django.test import SimpleTestCase

from ctj_api.tests.common import wait_until

from .server import started

WITHOUT_ROOM = """
import runpy, shutil
shutil.disk_usage = lambda path: shutil._ntuple_diskusage(2**30, 2**30 - 1, 1)
runpy.run_module("gunicorn", run_name="__main__")
"""


class MetricFilesTests(SimpleTestCase):
    """A real process."""

    def test_server_without_room_for_metrics_serves(self) -> None:
        """Requests are answered, and one line in the log tells why; a process has its own metrics still."""
        launch = ("-c", WITHOUT_ROOM)
        with started(application="backend.asgi:application", launch=launch, METRICS_TOKEN="t" * 20) as server:
            wait_until(partial(server.answers, "/nowhere/"))
            self.assertIn("ctj_requests_total", server.get("/metrics/", Authorization=f"Bearer {'t' * 20}"))
            self.assertEqual(server.log.count("have no room"), 1)
            self.assertEqual(list(server.folder.glob("ctj-metrics-*/*")), [])
