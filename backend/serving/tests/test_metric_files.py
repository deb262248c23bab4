"""A full temporary folder costs metrics, and nothing else."""

import sys
import unittest
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from itertools import product

from django.test import SimpleTestCase

from ctj_api.tests.common import wait_until
from serving.metrics import METHODS

from .server import PATIENCE_SECONDS, started

# As on a full disk, no file may grow beyond so many bytes.
WITH_LITTLE_ROOM = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
runpy.run_module("gunicorn", run_name="__main__")
"""
ROUTES = ("/nowhere/", "/api/nowhere/", "/api/auth/csrf/")


@unittest.skipUnless(sys.platform == "linux", "elsewhere no room is reserved")
class MetricFilesTests(SimpleTestCase):
    """Real processes."""

    def test_server_without_room_for_metrics_serves(self) -> None:
        """Be the disk full from the beginning or later, requests are answered, and one line in the log tells why."""
        for limit in (60_000, 70_000):
            launch = ("-c", WITH_LITTLE_ROOM.format(limit))
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
