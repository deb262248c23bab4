"""The public answers that this process keeps as bytes (docs/decisions/0055-kept-answers.md)."""

from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

from django.conf import settings

# What Python needs for an answer beside its texts, measured and rounded up.
OVERHEAD_BYTES = 2_500


class Answer(NamedTuple):
    """A successful answer to a path, a query and accepted media types, and the version of what it tells."""

    key: tuple[str, str, str]
    version: str
    content: bytes
    headers: dict[str, str]

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return OVERHEAD_BYTES + sum(map(len, (*self.key, self.version, self.content, *self.headers.values())))


class KeptAnswers:
    """The answers that were asked for last, as many as fit into a number of bytes; threads share them."""

    def __init__(self, max_bytes: int) -> None:
        self._answers: OrderedDict[tuple[str, str, str], Answer] = OrderedDict()
        self._room = max_bytes
        self._in_use = Lock()

    def find(self, key: tuple[str, str, str], version: str) -> Answer | None:
        """Return the answer of this version, if it is kept."""
        with self._in_use:
            answer = self._answers.get(key)
            if answer is None or answer.version != version:
                return None
            self._answers.move_to_end(key)
            return answer

    def keep(self, answer: Answer) -> None:
        """Keep an answer in place of its other version, and drop what nobody has asked for the longest."""
        with self._in_use:
            if before := self._answers.pop(answer.key, None):
                self._room += before.size
            self._answers[answer.key] = answer
            self._room -= answer.size
            while self._room < 0:
                self._room += self._answers.popitem(last=False)[1].size


ANSWERS = KeptAnswers(settings.KEPT_ANSWERS_MB * 1_000_000)
