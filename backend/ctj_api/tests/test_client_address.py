"""Whose request it is, with and without proxies in front."""

from ipaddress import ip_network

from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, SimpleTestCase, override_settings

from ctj_api.accounts.client_address import ClientAddressMiddleware, address_key, client_address, is_inside

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1"))


@override_settings(TRUSTED_PROXIES=PROXIES)
class ClientAddressTests(SimpleTestCase):
    """What ``X-Forwarded-For`` is believed."""

    def test_stranger_cannot_say_who_it_is(self) -> None:
        """The header counts only from trusted proxies."""
        self.assertEqual(client_address("203.0.113.9", "198.51.100.7"), "203.0.113.9")

    @override_settings(TRUSTED_PROXIES=())
    def test_nobody_is_trusted_by_default(self) -> None:
        """Not even this machine."""
        self.assertEqual(client_address("127.0.0.1", "198.51.100.7"), "127.0.0.1")

    def test_client_behind_proxies_is_the_last_address_that_is_none_of_theirs(self) -> None:
        """What a client writes into the header stands further left."""
        cases = {
            "198.51.100.7": "198.51.100.7",
            "1.1.1.1, 198.51.100.7": "198.51.100.7",
            "10.1.1.1, 198.51.100.7, 10.2.2.2": "198.51.100.7",
            "198.51.100.7:5123": "198.51.100.7",
            "[2001:db8::1]:443": "2001:db8::1",
            "2001:db8::1": "2001:db8::1",
            "::ffff:198.51.100.7": "198.51.100.7",
            "2001:db8::1%eth0": "2001:db8::1",
        }
        for header, client in cases.items():
            with self.subTest(header):
                self.assertEqual(client_address("10.0.0.1", header), client)

    def test_malformed_header_ends_at_the_last_address_that_is_known(self) -> None:
        """Nothing left of it is believed."""
        for header in (
            "",
            "unknown",
            "1.1.1.1, unknown",
            "1.1.1.1,",
            "a" * 5000,
            "1.1.1.1 2.2.2.2",
            "\x00",
            "\uff11.1.1.1",
        ):
            with self.subTest(header):
                self.assertEqual(client_address("10.0.0.1", header), "10.0.0.1")
        self.assertEqual(client_address("10.0.0.1", "1.1.1.1, nonsense, 10.3.3.3"), "10.3.3.3")

    def test_proxy_that_speaks_for_itself_is_the_client(self) -> None:
        """All hops are trusted: the first of them asks."""
        self.assertEqual(client_address("10.0.0.1", "10.4.4.4, 10.5.5.5"), "10.4.4.4")

    def test_request_without_an_address_has_none(self) -> None:
        """As one that comes by a Unix socket."""
        self.assertEqual(client_address("", "198.51.100.7"), "")

    def test_middleware_replaces_the_address_of_the_proxy(self) -> None:
        """Whatever reads REMOTE_ADDR reads the client's."""
        seen: list[str] = []

        def view(request: HttpRequest) -> HttpResponse:
            seen.append(request.META["REMOTE_ADDR"])
            return HttpResponse()

        request = RequestFactory().get("/", REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="198.51.100.7")
        ClientAddressMiddleware(view)(request)
        self.assertEqual(seen, ["198.51.100.7"])


class AddressKeyTests(SimpleTestCase):
    """What limits count by."""

    def key(self, address: str) -> str:
        """Return the key of a request from there."""
        return address_key(RequestFactory().get("/", REMOTE_ADDR=address))

    def test_ipv6_owner_has_one_key(self) -> None:
        """Who has one address of a network has all of them."""
        self.assertEqual(self.key("2001:db8:0:1::1"), self.key("2001:db8:0:1:ffff::2"))
        self.assertNotEqual(self.key("2001:db8:0:1::1"), self.key("2001:db8:0:2::1"))

    def test_ipv4_address_is_its_own_key(self) -> None:
        """Neighbours are others."""
        self.assertNotEqual(self.key("198.51.100.7"), self.key("198.51.100.8"))
        self.assertEqual(self.key("::ffff:198.51.100.7"), self.key("198.51.100.7"))

    def test_address_is_inside_of_its_networks_only(self) -> None:
        """Nothing is inside of none."""
        inside, all_of_ipv6, everywhere = map(ip_network, ("10.0.0.0/8", "::/0", "0.0.0.0/0"))
        self.assertTrue(is_inside("10.1.2.3", [all_of_ipv6, inside]))
        self.assertFalse(is_inside("11.1.2.3", [inside, all_of_ipv6]))
        self.assertFalse(is_inside("", [everywhere]))
        self.assertFalse(is_inside("10.1.2.3", []))
