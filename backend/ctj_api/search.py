"""Turns what people type into a search box into a query of PostgreSQL's full-text search.

The document of an opportunity is kept by the triggers of migration 0004, which take the same signs for spaces.
"""

import re
import unicodedata

from django.contrib.postgres.search import SearchQuery, SearchQueryCombinable

STEMMED = "english"
UNSTEMMED = "simple"
# Punctuation, symbols and pictures. Some PostgreSQL takes for letters, such as curly quotes where the database's
# locale is C, others for a part of a word, such as the dot in "Node.js".
_SIGNS = re.compile(
    r"[\u0000-\u0008\u000E-\u001F!-/:-@\[-`{-\u00A9\u00AB-\u00B4\u00B6-\u00B9\u00BB-\u00BF\u00D7\u00F7"
    r"\u2000-\u2BFF\u2E00-\u2E7F\u3000-\u3004\u3008-\u3020\uFE00-\uFE0F\U0001F000-\U0001FAFF]"
)


def search_query(text: str) -> SearchQueryCombinable:
    """Return the query for all words of ``text`` in any grammatical form, the last of which may be unfinished.

    Common words such as "the" don't count, unless there is no other. A text without any word finds nothing.
    """
    words = [f"'{word}'" for word in _SIGNS.sub(" ", unicodedata.normalize("NFC", text)).split()]
    if not words:
        return _query([], STEMMED)
    *whole, last = words
    # PostgreSQL leaves an empty query, all that is left of common words, out of "&" and "|".
    return _query(words, STEMMED) | (_query(whole, STEMMED) & _query([f"{last}:*"], UNSTEMMED))


def _query(words: list[str], config: str) -> SearchQuery:
    return SearchQuery(" & ".join(words), config=config, search_type="raw")
