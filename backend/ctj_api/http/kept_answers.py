"""The public answers that this process keeps as bytes (docs/decisions/0055-kept-answers.md)."""

from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

from django.conf import settings

# What Python needs for an answer beside the bytes of its texts, measured and rounded up.
OVERHEAD_BYTES = 2_500

# The path, the query and the accepted media types.
type Key = tuple[str, str, str]


class Answer(NamedTuple):
    """A successful answer, and the version of what it tells."""

    version: str
    content: bytes
    headers: dict[str, str]


class KeptAnswers:
    """The answers that were asked for last, as many as fit into a number of bytes; threads share them."""

    def __init__(self, max_bytes: int) -> None:
        self._answers: OrderedDict[Key, Answer] = OrderedDict()
        self._room = max_bytes
        self._in_use = Lock()

    def find(self, key: Key, version: str) -> Answer | None:
        """Return the answer of this version, if it is kept."""
        with self._in_use:
            answer = self._answers.get(key)
            if answer is None or answer.version != version:
                return None
            self._answers.move_to_end(key)
            return answer

    def keep(self, key: Key, answer: Answer) -> None:
        """Keep an answer in place of its other versions, and drop those that nobody has asked for the longest."""
        with self._in_use:
            if before := self._answers.pop(key, None):
                self._room += _size(key, before)
            self._answers[key] = answer
            self._room -= _size(key, answer)
            while self._room < 0:
                self._room += _size(*self._answers.popitem(last=False))


def _size(key: Key, answer: Answer) -> int:
    texts = (*key, answer.version, answer.content, *answer.headers.values())
    return OVERHEAD_BYTES + sum(map(len, texts))


ANSWERS = KeptAnswers(settings.KEPT_ANSWERS_MB * 1_000_000)
