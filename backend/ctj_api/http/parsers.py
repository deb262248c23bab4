"""How request bodies are read."""

import json
import re
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.utils.json import strict_constant

MAX_DEPTH = 16
TOO_DEEP = f"JSON parse error - nested deeper than {MAX_DEPTH} levels."
STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
# Of what JSON has outside of strings only the brackets stay, all of one kind.
BRACKETS_ONLY = {**dict.fromkeys(range(128)), **str.maketrans("[]{}", "[][]")}


class StrictJSONParser(JSONParser):
    """JSON without NaN and repeated keys, and not nested deeper than any shape of this API."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
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
        if _is_too_deep(text):
            raise ParseError(TOO_DEEP)
        return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ParseError("JSON parse error - an object has the same key twice.")
    return result


def _is_too_deep(text: str) -> bool:
    """Return whether brackets are left in JSON after the innermost ones have been taken away as often as allowed."""
    brackets = STRING.sub("", text).translate(BRACKETS_ONLY)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace("[]", "")
    return bool(brackets)
