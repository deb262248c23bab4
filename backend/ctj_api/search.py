"""What people type into a search box, as a query for PostgreSQL's full-text search.

The document of an opportunity is kept by the triggers of migration 0004, which replace the same punctuation.
"""

import string

from django.contrib.postgres.search import SearchQuery, SearchQueryCombinable

STEMMED = "english"
UNSTEMMED = "simple"
_SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))


def search_query(text: str) -> SearchQueryCombinable:
    """Return the query for all words of ``text`` in any grammatical form, the last of which may be unfinished.

    Common words such as "the" don't count, unless there is no other. A text without any word finds nothing.
    """
    words = [f"'{word}'" for word in text.translate(_SPACES).split()]
    if not words:
        return _query([], STEMMED)
    *whole, last = words
    unfinished = f"{last}:*"
    # PostgreSQL leaves an empty query, all that is left of common words, out of "&" and "|".
    return _query([*whole, unfinished], STEMMED) | (_query(whole, STEMMED) & _query([unfinished], UNSTEMMED))


def _query(words: list[str], config: str) -> SearchQuery:
    return SearchQuery(" & ".join(words), config=config, search_type="raw")
