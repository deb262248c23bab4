"""Full-text search. What a word is, is defined once, by the functions of migration 0012 in the database."""

from typing import Any, ClassVar, Self

from django.contrib.postgres.search import SearchQuery, SearchVectorField
from django.db import models


class TextQuery(SearchQuery):
    """The query for all words of a text, in any grammatical form, the last of which may be unfinished."""

    template = "(SELECT ctj_search_query(%(expressions)s))"  # as a subquery, evaluated once


def lexemes(*columns: str | models.Func) -> models.Func:
    """Return the words of ``columns`` as the search indexes hold them."""
    return models.Func(*columns, function="ctj_search_lexemes", output_field=SearchVectorField())


class SearchQuerySet[M: models.Model](models.QuerySet[M]):
    """Rows that are found by the words in them."""

    document: ClassVar[Any]

    def search(self, text: str) -> Self:
        """Return those that ``text`` is found in; an empty text is found in all."""
        return self.alias(document=self.document).filter(document=TextQuery(text)) if text.strip() else self
