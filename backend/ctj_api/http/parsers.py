"""How request bodies are read."""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.utils.json import strict_constant

MAX_DEPTH = 16


class StrictJSONParser(JSONParser):
    """JSON without NaN and repeated keys, and not nested deeper than any shape of this API."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the parsed body; raises ``ParseError`` where it is no JSON or nested too deeply."""
        try:
            text = stream.read().decode("utf-8")
            data = json.loads(text, parse_constant=strict_constant, object_pairs_hook=_object)
            depth = _depth(data)
        except RecursionError as error:
            raise _too_deep() from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ParseError(f"JSON parse error - {error}") from error
        except ValueError as error:
            raise ParseError("JSON parse error - a number is too long, or none at all.") from error
        if depth > MAX_DEPTH:
            raise _too_deep()
        return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ParseError("JSON parse error - an object has the same key twice.")
    return result


def _too_deep() -> ParseError:
    return ParseError(f"JSON parse error - nested deeper than {MAX_DEPTH} levels.")


def _depth(node: Any) -> int:
    if isinstance(node, dict):
        return 1 + max(map(_depth, node.values()), default=0)
    return 1 + max(map(_depth, node), default=0) if isinstance(node, list) else 0
