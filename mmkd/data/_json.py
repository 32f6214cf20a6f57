"""JSON whose numbers stay the text that the file has, and whose doubled fields are an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Pairs = list[tuple[str, Any]]


class Doubled:
    """An object that has a field twice, of a document whose other objects can be used. pairs: its fields, in order."""

    def __init__(self, pairs: Pairs) -> None:
        """pairs: all of them."""
        self.pairs = pairs

    @property
    def message(self) -> str:
        """What was found."""
        return f"found a field twice among {', '.join(name for name, _ in self.pairs[:20])}"


def parse(text: str) -> Any:
    """The value.

    Raises ValueError for what is no JSON, or has a field twice.
    """
    return _parse(text, _once)


def parse_document(text: str) -> Any:
    """The value, in which `Doubled` stands for each object that has a field twice.

    Raises ValueError for what is no JSON.
    """
    return _parse(text, _once_or_doubled)


def _parse(text: str, make: Callable[[Pairs], Any]) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=make)
    except RecursionError as error:
        raise ValueError("is nested too deep") from error


def _once_or_doubled(pairs: Pairs) -> dict[str, Any] | Doubled:
    values = dict(pairs)
    return values if len(values) == len(pairs) else Doubled(pairs)


def _once(pairs: Pairs) -> dict[str, Any]:
    values = _once_or_doubled(pairs)
    if isinstance(values, Doubled):
        raise ValueError(values.message)
    return values
