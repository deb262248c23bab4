"""The public keys that issuers sign tokens with, kept so that no request waits for a known one."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from math import inf
from threading import Lock
from time import monotonic

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWKSet, PyJWTError

from ctj_api.exceptions import ServiceUnavailable

from .download import FAILURES, download

logger = logging.getLogger(__name__)

REFRESH_AFTER_SECONDS = 3600
GOOD_FOR_SECONDS = 24 * 3600
COOL_DOWN_SECONDS = 10
# From the beginning of a fetch, the request that began it waits so long, and others less: their threads are needed.
WAIT_SECONDS = 2
JOIN_SECONDS = 0.5
FETCH_SECONDS = 5
MIN_KEY_BITS = 2048
# A set that is none has PyJWT raise what it doesn't declare.
UNANSWERED = (*FAILURES, PyJWTError, AttributeError)

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
        if kid in keys and age < GOOD_FOR_SECONDS:
            if age > REFRESH_AFTER_SECONDS:
                self._begin_fetch(kid)
            return keys[kid]
        fetch, deadline = self._begin_fetch(kid)
        wait([fetch], max(0, deadline - monotonic()))
        if not fetch.done() or fetch.exception():
            raise ServiceUnavailable
        return fetch.result().get(kid)

    def _begin_fetch(self, kid: str) -> tuple[Future[Keys], float]:
        """Begin a fetch unless one runs or the last was in vain; return the last one, and until when to wait for it."""
        with self._lock:
            if not self._fetch.done() or monotonic() < self._rests_until:
                return self._fetch, self._began_at + JOIN_SECONDS
            self._began_at = monotonic()
            self._fetch = self._thread.submit(self._fetch_keys, kid)
            return self._fetch, self._began_at + WAIT_SECONDS

    def _fetch_keys(self, kid: str) -> Keys:
        """Fetch the keys; where ``kid`` is not among them, or nobody answers, the next fetch comes later."""
        keys: Keys = {}
        try:
            keys = _usable(PyJWKSet.from_dict(asyncio.run(download("GET", self._url, FETCH_SECONDS))).keys)
            self._known = keys, monotonic()
        except UNANSWERED as error:
            logger.warning("No signing keys from %s: %s", self._url, repr(error))
            raise
        finally:
            if kid not in keys:
                self._rests_until = monotonic() + COOL_DOWN_SECONDS
        return keys


@cache
def signing_keys(url: str) -> SigningKeys:
    """Return this process's keys of that address."""
    return SigningKeys(url)


def _usable(keys: Iterable[PyJWK]) -> Keys:
    """Return the public RSA keys that tokens may be signed with by RS256; a pool always has some."""
    usable = {
        key.key_id: key.key
        for key in keys
        if key.key_id and key.algorithm_name == "RS256" and key.public_key_use in {None, "sig"}
        if isinstance(key.key, RSAPublicKey) and key.key.key_size >= MIN_KEY_BITS
    }
    if not usable:
        raise ValueError("no keys")
    return usable
