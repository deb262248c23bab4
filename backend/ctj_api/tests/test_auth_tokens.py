"""ID tokens on the API: which ones pass, what is answered to others, and where the keys come from."""

import hashlib
import hmac
import json
import logging
import time
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from django.conf import settings
from django.test import SimpleTestCase, override_settings
from jwt.utils import base64url_encode
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.test import APIClient, APITestCase

from ctj_api.accounts.linking import UNVERIFIED, Claims
from ctj_api.auth import verify_id_token
from ctj_api.clients.signing_keys import JOIN_SECONDS, SigningKeys
from ctj_api.exceptions import ServiceUnavailable

from .cognito import CLIENT, POOL, SUB, KeyServer, bearer, id_token, public_jwk, using_cognito
from .common import at_once, error_of, make_admin_user, make_regular_user, refresh_csrf_token, wait_until

ME, LISTINGS, SKILLS, LOGOUT = (f"/api/{name}/" for name in ("users/me", "opportunities", "skills", "auth/logout"))
REALM = 'Bearer realm="civictechjobs"'
INVALID = f'{REALM}, error="invalid_token"'
KEYS = SigningKeys.__module__
HOURS = {"max_available_hours": 5}
ANA = Claims(POOL, SUB, "ana@example.org", True, "Ana", "Reyes")


def encoded(part: object) -> str:
    """Return a part of a token."""
    return base64url_encode((part if isinstance(part, str) else json.dumps(part)).encode()).decode()


def refused_tokens() -> dict[str, str]:
    """Return what no client may send, by what is wrong with it; some no library makes."""
    now, issuer, claims = int(time.time()), settings.COGNITO_ISSUERS[0], id_token().split(".")[1]
    other, header = issuer.replace(POOL, "us-west-2_Others"), encoded({"alg": "RS256", "kid": "first"})
    hs256 = f"{encoded({'alg': 'HS256', 'kid': 'first'})}.{claims}"
    digest = hmac.digest(json.dumps(public_jwk("first")).encode(), hs256.encode(), hashlib.sha256)
    changes: list[dict[str, Any]] = [
        {"token_use": "access"}, {"aud": "other-client"}, {"aud": [CLIENT, "other-client"]}, {"iss": other},
        {"exp": now - 12}, {"nbf": now + 60}, {"iat": now + 60}, {"exp": float("inf"), "iat": float("nan")},
        *({name: None} for name in ("exp", "iat", "iss", "aud", "sub", "token_use")),
        *({"sub": sub} for sub in ("", "a\0", "\u00e9", "s" * 256)),
    ]  # fmt: skip
    return {
        **{str(claim)[:30]: id_token(**claim) for claim in changes},
        "no signature": id_token(algorithm="none"),
        "RS512": id_token(algorithm="RS512"),
        "HS256 with the public key": f"{hs256}.{base64url_encode(digest).decode()}",
        "extension": id_token(header={"crit": ["exp"]}),
        "address of keys": id_token("second", header={"jku": f"{other}/.well-known/jwks.json"}),
        "key within": id_token("second", header={"jwk": public_jwk("second")}),
        "signature by another key": id_token("second", header={"kid": "first"}),
        "unknown key": id_token("second"),
        "no key": id_token(None),
        "list of keys": f"{encoded({'alg': 'RS256', 'kid': ['first']})}.{claims}.e30",
        "other claims": f"{header}.{encoded({'iss': issuer, 'sub': SUB})}.{id_token().split('.')[2]}",
        "deeply nested": f"{header}.{encoded('[' * 5_000)}.e30",
        "lone surrogate": f"{header}.{encoded({'iss': chr(0xD800)})}.e30",
        "no object": f"{header}.{encoded([])}.e30",
        "two parts": f"{header}.{claims}",
        "one part": claims,
        "two tokens": f"{id_token()} {id_token()}",
        "two headers": f"{id_token()},Bearer {id_token()}",
        "9 KiB": id_token(padding="x" * 9_000),
        "nothing": "",
    }


class TokenTests(APITestCase):
    """What a bearer may do under ``cognito``."""

    def setUp(self) -> None:
        """Have a pool, and an account that is linked to it."""
        self.server = self.enterContext(using_cognito())
        self.user = make_regular_user(cognito_pool=POOL, cognito_sub=SUB)

    def assert_refused(self, response: Any, challenge: str = INVALID) -> None:
        """Fail unless it is a 401 in the envelope that says what is asked for."""
        code = "authentication_failed" if challenge == INVALID else "not_authenticated"
        self.assertEqual((response.status_code, error_of(response)["code"]), (401, code))
        self.assertEqual(response["WWW-Authenticate"], challenge)

    def test_attacker_with_bad_token_gets_401_and_no_log_quotes_it(self) -> None:
        """Whatever is wrong with it, on public and private addresses; made-up keys cause one fetch."""
        for wrong, token in refused_tokens().items():
            with self.subTest(wrong), self.assertLogs(level=logging.DEBUG) as logs:
                responses = [bearer(token).get(url) for url in (ME, LISTINGS)]
                told = "".join(str(vars(record)) for record in logs.records)
                for response in responses:
                    self.assert_refused(response)
                    told += response.content.decode()
                self.assertEqual([part for part in token.split(".") if len(part) > 5 and part in told], [])
        self.assertEqual(len(self.server.requests), 2)

    def test_client_with_good_token_gets_the_account(self) -> None:
        """By either issuer of the pool, within the leeway, and with keys from where the settings say."""
        now = int(time.time())
        tokens = (id_token(), id_token(iss=self.server.other_issuer), id_token(aud=[CLIENT], exp=now - 7, iat=now + 7))
        for header in (f"{scheme} {token}" for token in tokens for scheme in ("Bearer", "bearer ")):
            response = self.client.get(ME, headers={"Authorization": header})
            self.assertEqual((response.status_code, response.json().get("id")), (200, str(self.user.pk)))
        with override_settings(COGNITO_JWKS_URL=f"{self.server.issuer}/keys"):
            self.assertEqual(bearer(id_token()).get(ME).status_code, 200)
        self.assertEqual(len(self.server.requests), 3)

    def test_client_learns_what_the_token_says(self) -> None:
        """Only ``true`` verifies an address; what is no text, or none that can be stored, is not said."""
        unverified = (False, "false", "True", 1, "1", None, [True])
        cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"nonce": "n", "email_verified": "true"}, {"nonce": "n"}),
            ({"email": None, "given_name": "a\u200d"}, {"email": "", "first_name": "a\u200d"}),
            ({"nonce": 7, "given_name": "a\0", "family_name": chr(0xD800)}, {"first_name": "", "last_name": ""}),
            *(({"email_verified": value}, {"email_verified": False}) for value in unverified),
        ]
        for changes, expected in cases:
            with self.subTest(changes):
                self.assertEqual(verify_id_token(id_token(**changes), [CLIENT]), replace(ANA, **expected))
        for token, audiences in ((id_token(), []), (id_token(), ["admin-client"]), (chr(0xD800), [CLIENT])):
            with self.assertRaises(AuthenticationFailed):
                verify_id_token(token, audiences)

    def test_anonymous_and_inactive_user_get_401_and_stranger_403(self) -> None:
        """A new token wouldn't help a stranger; nobody without a session is asked for a token of CSRF."""
        client = APIClient(enforce_csrf_checks=True)
        for header in ("", "Basic YTpi", f"Token {id_token()}", id_token()):
            self.assert_refused(client.get(ME, headers={"Authorization": header}), REALM)
        for response in (client.patch(ME, HOURS), client.post(LISTINGS, {})):
            self.assert_refused(response, REALM)
        stranger = bearer(id_token(sub="stranger", email_verified=False)).get(ME)
        told = error_of(stranger)
        self.assertEqual((stranger.status_code, told["code"], told["message"]), (403, "permission_denied", UNVERIFIED))
        self.assertNotIn("WWW-Authenticate", stranger)
        self.user.is_active = False
        self.user.save()
        self.assert_refused(bearer(id_token()).get(ME))

    def test_authenticated_user_writes_with_token_alone_or_session_and_csrf(self) -> None:
        """A session needs its CSRF token, and doesn't help a bad bearer token; a good one counts before a session."""
        self.assertEqual(bearer(id_token()).patch(ME, HOURS).json()["max_available_hours"], 5)
        self.assertEqual(bearer(id_token()).post(LOGOUT, "x", content_type="text/plain").status_code, 415)
        client, administrator = APIClient(enforce_csrf_checks=True), make_admin_user()
        client.force_login(administrator, settings.BACKENDS_OF["cognito"][0])
        self.assertEqual(client.patch(ME, HOURS).status_code, 403)
        refresh_csrf_token(client)
        self.assertEqual(client.patch(ME, HOURS).json()["id"], str(administrator.pk))
        self.assert_refused(client.patch(ME, HOURS, headers={"Authorization": "Bearer bad"}))
        answer = client.patch(ME, HOURS, headers={"Authorization": f"Bearer {id_token()}"})
        self.assertEqual(answer.json()["id"], str(self.user.pk))

    def test_volunteer_with_token_is_counted_logged_and_not_cached(self) -> None:
        """As one with a session is; what depends on the user varies on the token, and nothing else does."""
        client = bearer(id_token())
        with self.settings(WRITE_RATE=(1, 60)):
            self.assertEqual([client.patch(ME, HOURS).status_code for _ in range(2)], [200, 429])
        with self.assertLogs("serving.request_log", "INFO") as logs:
            own, public = client.get(LISTINGS), self.client.get(LISTINGS)
        self.assertEqual([vars(record)["fields"].get("user_id") for record in logs.records], [str(self.user.pk), None])
        self.assertEqual((own["Cache-Control"], public["Cache-Control"]), ("private, no-store", "public, max-age=60"))
        for response in (own, public, client.get(ME), self.client.get(ME)):
            self.assertLessEqual({"Cookie", "Authorization"}, set(response["Vary"].split(", ")))
        self.assertNotIn("Authorization", client.get(SKILLS).get("Vary", ""))

    def test_everyone_under_local_is_unaware_of_tokens(self) -> None:
        """A bearer changes nothing, no key is fetched, and nothing varies on it."""
        with self.settings(IDENTITY_PROVIDER="local", AUTHENTICATION_BACKENDS=settings.BACKENDS_OF["local"]):
            anonymous, client = bearer(id_token()), bearer("bad")
            client.force_login(self.user)
            refused = anonymous.get(ME)
            self.assertEqual((refused.status_code, error_of(refused)["code"]), (403, "not_authenticated"))
            self.assertNotIn("WWW-Authenticate", refused)
            self.assertEqual(client.get(ME).json()["id"], str(self.user.pk))
            self.assertEqual([each.patch(ME, HOURS).status_code for each in (anonymous, client)], [403, 403])
            self.assertNotIn("Authorization", client.get(LISTINGS)["Vary"])
        self.assertEqual(len(self.server.requests), 0)

    def test_clients_get_503_while_nobody_knows_the_keys(self) -> None:
        """Eight at once within three seconds, of which one alone keeps its thread for longer than half a second."""
        self.server.mood, token = "hang", id_token()

        def ask() -> tuple[float, Any]:
            began = time.monotonic()
            answer = bearer(token).get(ME)
            return time.monotonic() - began, answer

        times, answers = zip(*at_once(*[ask] * 8), strict=True)
        self.assertLess(max(times), 3)
        self.assertLess(sorted(times)[-2], 1.5)
        self.assertEqual({answer.status_code for answer in answers}, {503})
        self.assertEqual({(a["Retry-After"], error_of(a)["code"]) for a in answers}, {("5", "service_unavailable")})
        self.assertEqual((len(self.server.requests), self.client.get(LISTINGS).status_code), (1, 200))


class SigningKeysTests(SimpleTestCase):
    """The keys that are kept."""

    def setUp(self) -> None:
        """Have a server, and know its first key."""
        self.server = self.enterContext(KeyServer())
        self.keys = SigningKeys(self.server.issuer)
        self.assertIsNotNone(self.keys.find("first"))

    def test_client_with_rotated_key_passes_at_once(self) -> None:
        """Although the keys are new; the former key goes, and isn't asked for again and again."""
        for kid in ("second", "third"):
            self.server.kids = [kid]
            self.assertIsNotNone(self.keys.find(kid))
        self.assertEqual([self.keys.find("first") for _ in range(9)], [None] * 9)
        self.assertEqual(len(self.server.requests), 4)

    def test_attacker_with_many_keys_causes_one_fetch(self) -> None:
        """In the ten seconds after a key that isn't there; known ones are found, and a new one is after that."""
        found = at_once(*[lambda: [self.keys.find(f"made up {number}") for number in range(125)]] * 8)
        self.assertEqual(({key for keys in found for key in keys}, len(self.server.requests)), ({None}, 2))
        self.server.kids.append("second")
        self.assertEqual([self.keys.find(kid) is None for kid in ("second", "first")], [True, False])
        with patch(f"{KEYS}.monotonic", lambda: time.monotonic() + 10):
            self.assertIsNotNone(self.keys.find("second"))

    def test_client_with_known_key_never_waits(self) -> None:
        """An hour old, it is used and refreshed meanwhile; while that fails, it is good for a day."""
        with patch(f"{KEYS}.REFRESH_AFTER_SECONDS", 0):
            self.server.kids.append("second")
            self.keys.find("first")
            wait_until(lambda: "second" in self.keys._known[0])
            self.server.mood = "hang"
            began = time.monotonic()
            self.assertTrue(all(self.keys.find("second") for _ in range(100)))
            self.assertLess(time.monotonic() - began, JOIN_SECONDS)
            wait_until(lambda: len(self.server.requests) == 3)
        with patch.multiple(KEYS, GOOD_FOR_SECONDS=0, JOIN_SECONDS=0), self.assertRaises(ServiceUnavailable):
            self.keys.find("first")

    def test_client_with_unknown_key_is_told_that_nobody_answers(self) -> None:
        """Whatever the server does instead, and by one fetch; what is known stays."""
        for mood in ("html", "list", "empty", "error", "redirect", "huge", "reset", "drip", "hang"):
            with self.subTest(mood), KeyServer() as server:
                warm, cold, away = map(SigningKeys, (server.issuer, server.issuer, "http://127.0.0.1:1/"))
                self.assertIsNotNone(warm.find("first"))
                server.mood = mood
                with self.assertLogs(KEYS, "WARNING"), patch(f"{KEYS}.FETCH_SECONDS", 0.5):
                    for keys in (warm, cold, away) * 2:
                        self.assertRaises(ServiceUnavailable, keys.find, "second")
                self.assertIsNotNone(warm.find("first"))
                self.assertLessEqual(len(server.requests), 3)

    def test_attacker_cannot_have_other_keys_taken(self) -> None:
        """Only public RSA keys of 2,048 bits or more for signatures are; the rest of the set does no harm."""
        small, symmetric = encoded("n" * 64), {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}
        wrong = ({"n": small}, {"n": "*"}, {"n": None}, {"use": "enc"}, {"alg": "RS512"}, symmetric)
        self.server.others = [public_jwk(str(changes), **changes) for changes in wrong] + [{}, None, []]
        keys = SigningKeys(self.server.issuer)
        self.assertIsNotNone(keys.find("first"))
        self.assertEqual(set(keys._known[0]), {"first"})
