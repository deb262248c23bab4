"""ID tokens on the API: which ones pass, what is answered to others, and where the keys come from."""

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import boto3
from django.conf import settings
from django.test import SimpleTestCase, override_settings
from moto.server import ThreadedMotoServer
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.test import APIClient, APITestCase

from ctj_api.auth import Claims, verify_id_token
from ctj_api.clients import signing_keys
from ctj_api.clients.signing_keys import SigningKeys
from ctj_api.exceptions import ServiceUnavailable

from .cognito import CLIENT, POOL, SUB, bearer, cognito, id_token, key_server, public_jwk
from .common import error_of, make_admin_user, make_regular_user, refresh_csrf_token, wait_until
from .test_concurrency import at_once

ME, LISTINGS, SKILLS = "/api/users/me/", "/api/opportunities/", "/api/skills/"
REALM = 'Bearer realm="civictechjobs"'
INVALID = f'{REALM}, error="invalid_token"'
HOURS = {"max_available_hours": 5}


def encoded(part: Any) -> str:
    """Return a part of a token."""
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unsafe_tokens() -> dict[str, str]:
    """Return tokens that are made by hand, since no library makes them."""
    _, claims, _ = id_token().split(".")
    signed = f"{encoded({'alg': 'HS256', 'kid': 'first'})}.{claims}"
    secret = json.dumps(public_jwk("first")).encode()
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).decode().rstrip("=")
    header = encoded({"alg": "RS256", "kid": "first"})
    return {
        "HS256 with the public key": f"{signed}.{signature}",
        "deeply nested": f"{header}.{encoded('[' * 5_000)}.e30",
        "a lone surrogate": f"{header}.{encoded({'iss': chr(0xD800)})}.e30",
        "a list of issuers": f"{header}.{encoded({'iss': settings.COGNITO_ISSUERS})}.e30",
        "a list of key ids": f"{encoded({'alg': 'RS256', 'kid': ['first']})}.{claims}.e30",
        "no object": f"{header}.{encoded([])}.e30",
        "other claims": f"{header}.{encoded({'iss': settings.COGNITO_ISSUERS[0], 'sub': 'root'})}.{'A' * 342}",
        "two parts": f"{header}.{claims}",
        "no token": "abcdefg",
    }


def refused_tokens() -> dict[str, str]:
    """Return what no client may send, by what is wrong with it."""
    now = int(time.time())
    pool = settings.COGNITO_ISSUERS[0].replace(POOL, "us-west-2_Others")
    return {
        "an access token": id_token(token_use="access"),
        "another client's": id_token(aud="other-client"),
        "a token of several clients": id_token(aud=[CLIENT, "other-client"]),
        "another pool's": id_token(iss=pool),
        "without a signature": id_token(algorithm="none"),
        "another algorithm": id_token(algorithm="RS512"),
        "an extension": id_token(header={"crit": ["exp"]}),
        "an address of keys": id_token(header={"jku": f"{pool}/.well-known/jwks.json"}),
        "a key within": id_token("second", header={"jwk": public_jwk("second")}),
        "another key's signature": id_token("second", header={"kid": "first"}),
        "an unknown key": id_token("second"),
        "no key": id_token(None),
        "expired": id_token(exp=now - 12),
        "not yet valid": id_token(nbf=now + 60),
        "not yet made": id_token(iat=now + 60),
        "an endless time": id_token(exp=float("inf"), iat=float("nan")),
        **{f"without {name}": id_token(**{name: None}) for name in ("exp", "iat", "iss", "aud", "sub", "token_use")},
        **{f"subject {sub!r:.9}": id_token(sub=sub) for sub in ("", "a\0", "\u00e9", "s" * 256)},
        **unsafe_tokens(),
    }


class TokenTests(APITestCase):
    """What a bearer may do under ``cognito``."""

    def setUp(self) -> None:
        """Have a pool, and an account that is linked to it."""
        self.server = self.enterContext(key_server())
        self.enterContext(cognito(self.server))
        self.user = make_regular_user(cognito_pool=POOL, cognito_sub=SUB)

    def assert_refused(self, response: Any, challenge: str = INVALID) -> None:
        """Fail unless it is a 401 in the envelope that says what is asked for."""
        code = "authentication_failed" if challenge == INVALID else "not_authenticated"
        self.assertEqual((response.status_code, error_of(response)["code"]), (401, code))
        self.assertEqual(response["WWW-Authenticate"], challenge)

    def test_attacker_with_bad_token_gets_401_and_no_log_quotes_it(self) -> None:
        """Whatever is wrong with it, on public and private addresses, by a word that tells nothing of it."""
        for wrong, token in refused_tokens().items():
            with self.subTest(wrong), self.assertLogs(level=logging.DEBUG) as logs:
                for url in (ME, LISTINGS):
                    response = bearer(token).get(url)
                    self.assert_refused(response)
                    self.assertNotIn(token, response.content.decode())
                told = " ".join(str(vars(record)) for record in logs.records)
                for part in token.split("."):
                    self.assertFalse(len(part) > 5 and part in told)
        self.assertLessEqual(self.server.fetches, 2)

    def test_client_with_malformed_header_gets_401(self) -> None:
        """A bearer is followed by one token of at most 8 KiB; any other scheme is as good as no header."""
        token = id_token()
        long = id_token(padding="x" * 9_000)
        for header in (
            "Bearer",
            "Bearer ",
            f"Bearer {token} {token}",
            f"Bearer {token},Bearer {token}",
            f"bearer {long}",
        ):
            with self.subTest(header[:20]):
                self.assert_refused(self.client.get(ME, headers={"Authorization": header}))
        for header in ("", "Basic YTpi", f"Token {token}", token):
            with self.subTest(header[:20]):
                self.assert_refused(self.client.get(ME, headers={"Authorization": header}), REALM)

    def test_client_with_good_token_gets_the_account(self) -> None:
        """By either issuer of the pool, within the leeway, and however the header writes the scheme."""
        now = int(time.time())
        tokens = (
            id_token(),
            id_token(iss=self.server.other_issuer),
            id_token(aud=[CLIENT]),
            id_token(exp=now - 7, iat=now + 7, nbf=now + 7),
        )
        for token in tokens:
            for scheme in ("Bearer ", "bearer  "):
                response = self.client.get(ME, headers={"Authorization": scheme + token})
                self.assertEqual((response.status_code, response.json().get("id")), (200, str(self.user.pk)))
        self.assertEqual(self.server.fetches, 2)  # one for each issuer
        url = f"{self.server.issuer}/keys"
        with override_settings(COGNITO_JWKS_URL=url):
            self.assertEqual(bearer(id_token()).get(ME).status_code, 200)
        self.assertIn(url, signing_keys._KEYS)

    def test_client_with_moto_token_gets_the_account(self) -> None:
        """What a pool of moto gives for a password is one; its access token is none."""
        moto = ThreadedMotoServer("127.0.0.1", port=0)
        moto.start()
        self.addCleanup(moto.stop)
        host, port = moto.get_host_and_port()
        names = {"region_name": "us-west-2", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
        cognito_idp = boto3.client("cognito-idp", endpoint_url=f"http://{host}:{port}", **names)
        pool = cognito_idp.create_user_pool(PoolName="volunteers")["UserPool"]["Id"]
        made = cognito_idp.create_user_pool_client(UserPoolId=pool, ClientName="app", ReadAttributes=["email"])
        client = made["UserPoolClient"]["ClientId"]
        who = {"UserPoolId": pool, "Username": "ana"}
        cognito_idp.admin_create_user(**who, UserAttributes=[{"Name": "email", "Value": "ana@example.org"}])
        cognito_idp.admin_set_user_password(**who, Password="Passw0rd!", Permanent=True)
        given = cognito_idp.initiate_auth(
            ClientId=client,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": "ana", "PASSWORD": "Passw0rd!"},
        )["AuthenticationResult"]
        changes = {
            "COGNITO_USER_POOL": pool,
            "COGNITO_APP_CLIENT_ID": [client],
            "COGNITO_ISSUERS": [f"https://cognito-idp.us-west-2.amazonaws.com/{pool}"],
            "COGNITO_JWKS_URL": f"http://{host}:{port}/{pool}/.well-known/jwks.json",
        }
        with override_settings(**changes):
            claims = verify_id_token(given["IdToken"], [client])
            self.assertEqual((claims.pool, claims.email), (pool, "ana@example.org"))
            make_regular_user(cognito_pool=pool, cognito_sub=claims.sub)
            self.assertEqual(bearer(given["IdToken"]).get(ME).status_code, 200)
            self.assert_refused(bearer(given["AccessToken"]).get(ME))

    def test_client_learns_what_the_token_says(self) -> None:
        """Only ``true`` verifies an address; what is no text, or none that can be stored, is not said."""
        cases: tuple[tuple[Mapping[str, Any], Claims], ...] = (
            ({"nonce": "n"}, Claims(POOL, SUB, "ana@example.org", True, "Ana", "Reyes", "n")),
            (
                {"email_verified": "true", "given_name": "a\0", "family_name": chr(0xD800), "nonce": 7},
                Claims(POOL, SUB, "ana@example.org", True),
            ),
            *(
                ({"email_verified": value, "given_name": None, "family_name": []}, Claims(POOL, SUB, "ana@example.org"))
                for value in (False, "false", "True", 1, "1", None, [True])
            ),
            (
                {"email": None, "given_name": "\u0d9a\u0dca\u200d"},
                Claims(POOL, SUB, "", True, "\u0d9a\u0dca\u200d", "Reyes"),
            ),
        )
        for changes, claims in cases:
            with self.subTest(changes):
                self.assertEqual(verify_id_token(id_token(**changes), [CLIENT]), claims)
        for audiences in ((), ("admin-client",)):
            with self.subTest(audiences), self.assertRaises(AuthenticationFailed):
                verify_id_token(id_token(), audiences)
        with self.assertRaises(AuthenticationFailed):
            verify_id_token(chr(0xD800), [CLIENT])

    def test_anonymous_without_token_gets_401(self) -> None:
        """Reads and writes alike, and no token of CSRF is asked for."""
        client = APIClient(enforce_csrf_checks=True)
        for response in (client.get(ME), client.patch(ME, HOURS), client.post(LISTINGS, {})):
            self.assert_refused(response, REALM)
        self.assertEqual(client.get(LISTINGS).status_code, 200)

    def test_inactive_user_gets_401_and_stranger_403(self) -> None:
        """A new token would help neither, so that the second is told apart."""
        stranger = bearer(id_token(sub="stranger", email_verified=False)).get(ME)
        self.assertEqual((stranger.status_code, error_of(stranger)["code"]), (403, "permission_denied"))
        self.assertNotIn("WWW-Authenticate", stranger)
        self.user.is_active = False
        self.user.save()
        self.assert_refused(bearer(id_token()).get(ME))

    def test_authenticated_user_writes_with_token_alone_or_session_and_csrf(self) -> None:
        """A session needs its CSRF token, and doesn't help a bad bearer token; a good one counts before a session."""
        self.assertEqual(bearer(id_token()).patch(ME, HOURS).json()["max_available_hours"], 5)
        with_session = APIClient(enforce_csrf_checks=True)
        administrator = make_admin_user()
        with_session.force_login(administrator, settings.BACKENDS_OF["cognito"][0])
        self.assertEqual(with_session.patch(ME, HOURS).status_code, 403)
        refresh_csrf_token(with_session)
        self.assertEqual(with_session.patch(ME, HOURS).json()["id"], str(administrator.pk))
        self.assert_refused(with_session.patch(ME, HOURS, headers={"Authorization": "Bearer bad"}))
        answer = with_session.patch(ME, HOURS, headers={"Authorization": f"Bearer {id_token()}"})
        self.assertEqual(answer.json()["id"], str(self.user.pk))
        refused = bearer(id_token()).patch(ME, "hours", content_type="text/plain")
        self.assertEqual((refused.status_code, error_of(refused)["code"]), (415, "unsupported_media_type"))

    def test_volunteer_with_token_is_counted_logged_and_not_cached(self) -> None:
        """As one with a session is; what depends on the user varies on the token, and nothing else does."""
        client = bearer(id_token())
        with self.settings(WRITE_RATE=(1, 60)):
            self.assertEqual([client.patch(ME, HOURS).status_code for _ in range(2)], [200, 429])
        with self.assertLogs("serving.request_log", "INFO") as logs:
            own = client.get(LISTINGS)
        self.assertEqual(vars(logs.records[0])["fields"]["user_id"], str(self.user.pk))
        public = self.client.get(LISTINGS)
        self.assertEqual((own["Cache-Control"], public["Cache-Control"]), ("private, no-store", "public, max-age=60"))
        for response in (own, public, client.get(ME), self.client.get(ME)):
            self.assertTrue({"Cookie", "Authorization"} <= set(response["Vary"].split(", ")))
        self.assertNotIn("Authorization", client.get(SKILLS).get("Vary", ""))

    def test_everyone_under_local_is_unaware_of_tokens(self) -> None:
        """A bearer changes nothing, no key is fetched, and nothing varies on it."""
        client = APIClient(enforce_csrf_checks=True)
        with self.settings(IDENTITY_PROVIDER="local", AUTHENTICATION_BACKENDS=settings.BACKENDS_OF["local"]):
            client.force_login(self.user)
            for token in (id_token(), "bad"):
                sent = {"Authorization": f"Bearer {token}"}
                refused = self.client.get(ME, headers=sent)
                self.assertEqual((refused.status_code, error_of(refused)["code"]), (403, "not_authenticated"))
                self.assertNotIn("WWW-Authenticate", refused)
                self.assertEqual(client.get(ME, headers=sent).json()["id"], str(self.user.pk))
                self.assertEqual(APIClient(enforce_csrf_checks=True).patch(ME, HOURS, headers=sent).status_code, 403)
                self.assertNotIn("Authorization", self.client.get(LISTINGS, headers=sent)["Vary"])
        self.assertEqual(self.server.fetches, 0)

    def test_clients_get_503_while_nobody_knows_the_keys(self) -> None:
        """Eight at once within three seconds, while anonymous readers are served."""
        self.server.mood = "hang"
        token = id_token()
        began = time.monotonic()
        answers = at_once(*[lambda: bearer(token).get(ME)] * 8, lambda: self.client.get("/api/healthcheck/"))
        self.assertLess(time.monotonic() - began, 3)
        self.assertEqual([answer.status_code for answer in answers], [503] * 8 + [200])
        self.assertEqual({answer.get("Retry-After") for answer in answers[:8]}, {"5"})
        self.assertEqual({error_of(answer)["code"] for answer in answers[:8]}, {"service_unavailable"})
        self.assertEqual((self.server.fetches, self.client.get(LISTINGS).status_code), (1, 200))


class SigningKeysTests(SimpleTestCase):
    """The keys that are kept."""

    def setUp(self) -> None:
        """Have a server, and know its first key."""
        self.server = self.enterContext(key_server())
        self.keys = SigningKeys(self.server.issuer)
        self.assertIsNotNone(self.keys.find("first"))

    def change(self, **values: float) -> Any:
        """Return a patch of the times that the cache goes by."""
        return patch.multiple(signing_keys, **values)

    def test_client_with_rotated_key_passes_at_once(self) -> None:
        """Although the keys are new; the former key goes, and a key that is no longer there is not asked for again."""
        for kid in ("second", "third"):
            self.server.kids = [kid]
            self.assertIsNotNone(self.keys.find(kid))
        for _ in range(2):
            self.assertIsNone(self.keys.find("first"))
        self.assertEqual(self.server.fetches, 4)

    def test_attacker_with_many_keys_causes_one_fetch(self) -> None:
        """In the ten seconds after a key that isn't there; known ones are found, and a new one is after that."""
        found = at_once(*[lambda: [self.keys.find(f"made up {number}") for number in range(125)]] * 8)
        self.assertEqual({key for keys in found for key in keys}, {None})
        self.assertEqual(self.server.fetches, 2)
        self.server.kids.append("second")
        self.assertIsNone(self.keys.find("second"))
        self.assertIsNotNone(self.keys.find("first"))
        self.keys._rests_until = time.monotonic()
        self.assertIsNotNone(self.keys.find("second"))

    def test_client_with_known_key_never_waits(self) -> None:
        """An hour old, it is used and refreshed meanwhile; while that fails, it is good for a day."""
        with self.change(REFRESH_AFTER_SECONDS=0):
            self.server.kids.append("second")
            self.keys.find("first")
            wait_until(lambda: "second" in self.keys._known[0])
            self.server.mood = "hang"
            began = time.monotonic()
            self.assertTrue(all(self.keys.find("second") for _ in range(100)))
            self.assertLess(time.monotonic() - began, 0.1)
            wait_until(lambda: self.server.fetches == 3)
        with self.change(GOOD_FOR_SECONDS=0, WAIT_SECONDS=0.1), self.assertRaises(ServiceUnavailable):
            self.keys.find("first")

    def test_client_with_unknown_key_is_told_that_nobody_answers(self) -> None:
        """Whatever the server does instead; what was known stays, and the next fetch comes later."""
        for mood in ("html", "empty", "redirect", "huge", "reset", "drip", "hang", "away"):
            with self.subTest(mood), key_server() as server:
                keys = SigningKeys(server.issuer)
                keys.find("first")
                server.mood = mood
                cold = SigningKeys(server.issuer if mood != "away" else "http://127.0.0.1:1/")
                with self.change(FETCH_SECONDS=0.3), self.assertLogs(signing_keys.__name__, "WARNING"):
                    for kept, _ in ((cold, 1), (cold, 2), *(((keys, 1), (keys, 2)) if mood != "away" else ())):
                        with self.assertRaises(ServiceUnavailable):
                            kept.find("second")
                self.assertIsNotNone(keys.find("first"))
                self.assertEqual(server.fetches, 1 if mood == "away" else 3)

    def test_attacker_cannot_have_other_keys_taken(self) -> None:
        """Only RSA keys for signatures of 2,048 bits or more are; the rest of the set is as good."""
        few = public_jwk("short", n=encoded("n" * 64))
        self.server.others = [
            few, public_jwk("use", use="enc"), public_jwk("alg", alg="RS512"), public_jwk("n", n="*"),
            public_jwk("kty", kty="oct", k="c2VjcmV0"), public_jwk("no", n=None), {"kid": "none"}, {}, None, [],
        ]  # fmt: skip
        keys = SigningKeys(self.server.issuer)
        self.assertIsNotNone(keys.find("first"))
        self.assertEqual(set(keys._known[0]), {"first"})
