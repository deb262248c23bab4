"""How request bodies are read."""

import json
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.utils.json import strict_constant

MAX_DEPTH = 16
TOO_DEEP = f"JSON parse error - nested deeper than {MAX_DEPTH} levels."


class StrictJSONParser(JSONParser):
    """JSON without NaN and repeated keys, and not nested deeper than any shape of this API."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the parsed body; raises ``ParseError`` where it is no JSON or nested too deeply."""
        try:
            text = stream.read().decode("utf-8")
            data = json.loads(text, parse_constant=strict_constant, object_pairs_hook=_object)
        except RecursionError as error:
            raise ParseError(TOO_DEEP) from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ParseError(f"JSON parse error - {error}") from error
        except ValueError as error:
            raise ParseError("JSON parse error - a number is too long, or none at all.") from error
        if _is_too_deep([data], MAX_DEPTH + 1):
            raise ParseError(TOO_DEEP)
        return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ParseError("JSON parse error - an object has the same key twice.")
    return result


def _is_too_deep(value: Any, levels: int) -> bool:
    """Return whether a list or an object is nested deeper than so many levels, itself included."""
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_too_deep(part, levels - 1) for part in parts if isinstance(part, dict | list))
