"""Entities of BIO labels, without torch."""

from __future__ import annotations

from collections.abc import Sequence

Span = tuple[str, int, int]
"""An entity: type, first word, and the word after its last."""


def spans(tags: Sequence[str]) -> list[Span]:
    """Entities of one sequence of BIO labels, read strictly as IOB2, in order."""
    found: list[Span] = []
    start, kind = 0, ""  # kind "" stands for: no entity is open
    for place, tag in enumerate((*tags, "O")):
        if kind and tag != f"I-{kind}":
            found.append((kind, start, place))
            kind = ""
        if tag.startswith("B-"):
            start, kind = place, tag[2:]
    return found
