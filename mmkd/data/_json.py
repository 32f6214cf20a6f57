"""JSON whose numbers stay the text that the file has, and whose doubled fields are an error."""

from __future__ import annotations

import json
from typing import Any


def parse(text: str) -> Any:
    """The value.

    Raises ValueError for what is no JSON, or has a field twice.
    """
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("is nested too deep") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(f"found a field twice among {', '.join(name for name, _ in pairs)}")
    return values
