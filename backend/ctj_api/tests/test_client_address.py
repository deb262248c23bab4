"""Whose request it is, with and without proxies in front."""

from ipaddress import ip_network
from unittest.mock import patch

from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, SimpleTestCase, override_settings

from ctj_api.accounts.client_address import ClientAddressMiddleware, address_key, client_address, is_inside

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1"))
CLOCK = "ctj_api.accounts.client_address.time.monotonic"
LOGGER = "ctj_api.accounts.client_address"


@override_settings(TRUSTED_PROXIES=PROXIES)
class ClientAddressTests(SimpleTestCase):
    """How far ``X-Forwarded-For`` is believed, and what the operator is told of it."""

    def test_attacker_cannot_say_who_it_is(self) -> None:
        """The header counts only from trusted proxies, and by default not even this machine is one."""
        self.assertEqual(client_address("203.0.113.9", "198.51.100.7"), "203.0.113.9")
        with override_settings(TRUSTED_PROXIES=()):
            self.assertEqual(client_address("127.0.0.1", "198.51.100.7"), "127.0.0.1")

    def test_client_behind_proxies_is_the_last_address_that_is_none_of_theirs(self) -> None:
        """What a client writes stands further left, and nothing left of what can't be read is believed."""
        cases = {
            "198.51.100.7": "198.51.100.7",
            "1.1.1.1, 198.51.100.7": "198.51.100.7",
            "10.1.1.1, 198.51.100.7, 10.2.2.2": "198.51.100.7",
            "10.4.4.4, 10.5.5.5": "10.4.4.4",  # a proxy that asks for itself
            "198.51.100.7:5123": "198.51.100.7",
            "[2001:db8::1]:443": "2001:db8::1",
            "2001:db8::1": "2001:db8::1",
            "::ffff:198.51.100.7": "198.51.100.7",
            "2001:db8::1%eth0": "2001:db8::1",
            "1.1.1.1, nonsense, 10.3.3.3": "10.3.3.3",
        }
        malformed = ("", "unknown", "1.1.1.1, unknown", "1.1.1.1,", "1.1.1.1 2.2.2.2", "\uff11.1.1.1")
        for header, client in (cases | dict.fromkeys((*malformed, "a" * 5000, "\x00"), "10.0.0.1")).items():
            with self.subTest(header):
                self.assertEqual(client_address("10.0.0.1", header), client)
        self.assertEqual(client_address("", "198.51.100.7"), "")  # by a Unix socket

    def setUp(self) -> None:
        """Have a server whose clock stands still, and note the addresses that its view sees."""
        self.clock = self.enterContext(patch(CLOCK, return_value=1000.0))
        self.seen: list[str] = []
        self.middleware = ClientAddressMiddleware(self.view)

    def view(self, request: HttpRequest) -> HttpResponse:
        """Note the address."""
        self.seen.append(request.META["REMOTE_ADDR"])
        return HttpResponse()

    def ask(self, peer: str, **headers: str) -> None:
        """Send a request from there."""
        self.middleware(RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers))

    def test_operator_is_told_once_a_minute_of_an_untrusted_header(self) -> None:
        """Everything else reads the client's address; the log says where no proxy is trusted."""
        with self.assertNoLogs(LOGGER):
            self.ask("127.0.0.1", **{"x-forwarded-for": "198.51.100.7"})
            self.ask("203.0.113.9")
        with self.assertLogs(LOGGER, "WARNING") as logs:
            for seconds in (0, 1, 59, 60, 61, 119):
                self.clock.return_value = 1000.0 + seconds
                self.ask("203.0.113.9", **{"x-forwarded-for": "198.51.100.7"})
        self.assertEqual(len(logs.records), 2)
        self.assertIn("TRUSTED_PROXIES", logs.output[0])
        self.assertEqual(self.seen, ["198.51.100.7", *["203.0.113.9"] * 7])


class AddressKeyTests(SimpleTestCase):
    """What limits count by."""

    def key(self, address: str) -> str:
        """Return the key of a request from there."""
        return address_key(RequestFactory().get("/", REMOTE_ADDR=address))

    def test_owner_of_an_address_has_one_key(self) -> None:
        """Whoever has one address of an IPv6 network has all of them; IPv4 neighbours are others."""
        self.assertEqual(self.key("2001:db8:0:1::1"), self.key("2001:db8:0:1:ffff::2"))
        self.assertNotEqual(self.key("2001:db8:0:1::1"), self.key("2001:db8:0:2::1"))
        self.assertNotEqual(self.key("198.51.100.7"), self.key("198.51.100.8"))
        self.assertEqual(self.key("::ffff:198.51.100.7"), self.key("198.51.100.7"))

    def test_client_is_inside_of_its_networks_only(self) -> None:
        """Nothing is inside of none."""
        inside, all_of_ipv6, everywhere = map(ip_network, ("10.0.0.0/8", "::/0", "0.0.0.0/0"))
        self.assertTrue(is_inside("10.1.2.3", [all_of_ipv6, inside]))
        self.assertFalse(is_inside("11.1.2.3", [inside, all_of_ipv6]))
        self.assertFalse(is_inside("", [everywhere]))
        self.assertFalse(is_inside("10.1.2.3", []))
