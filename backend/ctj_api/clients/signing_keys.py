"""The public keys that issuers sign tokens with, kept so that no request waits for a known one."""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from math import inf
from threading import Lock
from time import monotonic
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWTError
from jwt.algorithms import RSAAlgorithm

from ctj_api.exceptions import ServiceUnavailable

from .download import FAILURES, download

logger = logging.getLogger(__name__)

REFRESH_AFTER_SECONDS = 3600
GOOD_FOR_SECONDS = 24 * 3600
COOL_DOWN_SECONDS = 10
# A request waits no longer than this for a fetch, counted from the beginning of the fetch.
WAIT_SECONDS = 2
FETCH_SECONDS = 5
MIN_KEY_BITS = 2048

type Keys = Mapping[str, RSAPublicKey]


class SigningKeys:
    """The keys at one address, by their ids; fetched in a thread of its own, one fetch at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="signing-keys")
        self._known: tuple[Keys, float] = ({}, -inf)  # and when they were fetched
        self._fetch: Future[Keys] = Future()
        self._fetch.set_result({})
        self._began_at = self._rests_until = -inf

    def find(self, kid: str) -> RSAPublicKey | None:
        """Return the key, or ``None`` where there is no such one; raises ``ServiceUnavailable`` where nobody says."""
        keys, fetched_at = self._known
        age = monotonic() - fetched_at
        key = keys.get(kid) if age < GOOD_FOR_SECONDS else None
        if key is None:
            return self._newest(kid).get(kid)
        if age > REFRESH_AFTER_SECONDS:
            self._begin_fetch(kid)
        return key

    def _newest(self, kid: str) -> Keys:
        """Wait for a fetch and return its keys, or those of the last one while none may begin."""
        fetch, began_at = self._begin_fetch(kid)
        with suppress(TimeoutError):
            if not fetch.exception(max(0, began_at + WAIT_SECONDS - monotonic())):
                return fetch.result()
        raise ServiceUnavailable

    def _begin_fetch(self, kid: str) -> tuple[Future[Keys], float]:
        """Begin a fetch unless one runs or the last was in vain, and return the last one and when it began."""
        with self._lock:
            if self._fetch.done() and monotonic() >= self._rests_until:
                self._began_at = monotonic()
                self._fetch = self._thread.submit(self._fetch_keys, kid)
            return self._fetch, self._began_at

    def _fetch_keys(self, kid: str) -> Keys:
        """Fetch the keys; where ``kid`` is not among them, or nobody answers, the next fetch comes later."""
        keys: Keys = {}
        try:
            keys = _read(asyncio.run(download("GET", self._url, FETCH_SECONDS)))
            self._known = keys, monotonic()
        except FAILURES as error:
            logger.warning("No signing keys from %s: %s %s", self._url, type(error).__name__, error)
            raise
        finally:
            if kid not in keys:
                self._rests_until = monotonic() + COOL_DOWN_SECONDS
        return keys


_KEYS: dict[str, SigningKeys] = {}


def signing_keys(url: str) -> SigningKeys:
    """Return this process's keys of that address."""
    return _KEYS.get(url) or _KEYS.setdefault(url, SigningKeys(url))


def _read(document: dict[str, Any]) -> Keys:
    """Return the RSA keys for signatures; raises ``ValueError`` where there are none, as a pool always has some."""
    entries = document.get("keys")
    keys = {}
    for entry in entries if isinstance(entries, list) else ():
        if key := _rsa_key(entry):
            keys[entry["kid"]] = key
    if not keys:
        raise ValueError("no keys")
    return keys


def _rsa_key(entry: Any) -> RSAPublicKey | None:
    """Return a key that RS256 tokens may be signed with, or ``None`` for all other entries of a set."""
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        return None
    if entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
        return None
    try:
        key = RSAAlgorithm.from_jwk(entry)
    except (PyJWTError, ValueError, TypeError):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size >= MIN_KEY_BITS else None
