"""How request bodies are read."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

MAX_DEPTH = 16


class StrictJSONParser(JSONParser):
    """JSON without NaN, and not nested deeper than any shape of this API."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the parsed body; raises ``ParseError`` where it is no JSON or nested too deeply."""
        try:
            data = super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise _too_deep() from error
        if _is_deeper_than(MAX_DEPTH, data):
            raise _too_deep()
        return data


def _too_deep() -> ParseError:
    return ParseError(f"JSON parse error - nested deeper than {MAX_DEPTH} levels.")


def _is_deeper_than(limit: int, data: Any) -> bool:
    layer = [data]
    for _ in range(limit + 1):
        layer = [child for node in layer for child in _children(node)]
    return bool(layer)


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
