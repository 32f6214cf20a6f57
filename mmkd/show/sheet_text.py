"""The words of a row as a contact sheet shows them: characters that the font lacks, entities, lines.

The order of words in a line follows the Unicode bidirectional algorithm (UAX 9) with words in place of characters:
the first letter of the text decides where lines start, and words of the other direction are turned round together.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from mmkd.show.label_names import Entity

ATTACHED = {0x200C, 0x200D, *range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400)}
"""Joiners, variation selectors and skin tones: they alter the character before them and show nothing themselves."""

ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Piece:
    """What is drawn in one go: a word, or a part of a word that is too long for a line.

    entity: the number in its row of the entity that the piece belongs to, with the type where the entity ends.
    opens: a space stands before the piece, unless it opens a line.
    """

    text: str
    entity: int | None = None
    ending: str | None = None
    opens: bool = True


def visible(text: str, glyphs: Collection[int]) -> str:
    """The text without characters that would not be seen. glyphs: the code points that the font can draw.

    Control and format characters and odd spaces become their code point, symbols (emoji) that the font lacks their
    Unicode name, and other characters that it lacks a box.
    """
    shown: list[str] = []
    for character in text:
        code, category = ord(character), unicodedata.category(character)
        if shown and code in ATTACHED:
            continue
        if category[0] in "CZ" and character != " ":
            shown.append(f"‹U+{code:04X}›")
        elif code in glyphs:
            shown.append(character)
        elif category == "So":
            shown.append(f":{unicodedata.name(character, f'U+{code:04X}').lower()}:")
        else:
            shown.append("□")
    return "".join(shown)


def pieces(words: Sequence[str], found: Iterable[Entity]) -> list[Piece]:
    """One piece for each word. Entities must not overlap."""
    number_at: dict[int, int] = {}
    type_at: dict[int, str] = {}
    for number, (kind, start, end) in enumerate(found):
        number_at |= dict.fromkeys(range(start, end), number)
        type_at[end - 1] = kind
    return [Piece(word, number_at.get(place), type_at.get(place)) for place, word in enumerate(words)]


def lines(row: Sequence[Piece], width_of: Callable[[Piece], float], space: float, width: float) -> list[list[Piece]]:
    """Break pieces into lines that are at most `width` wide; a piece that is wider alone is broken too.

    width_of: of a piece with what is written after it; space: between words. All in pixels.
    """
    broken: list[list[Piece]] = []
    used = 0.0
    for piece in (part for whole in row for part in _parts(whole, width_of, width)):
        needed = width_of(piece) + (space if piece.opens else 0)
        if not broken or used + needed > width:
            broken.append([])
            used, needed = 0.0, width_of(piece)
        broken[-1].append(piece)
        used += needed
    return broken


def _parts(piece: Piece, width_of: Callable[[Piece], float], width: float) -> list[Piece]:
    """The piece, cut in halves as long as it is too wide for a line."""
    if width_of(piece) <= width or len(piece.text) < 2:
        return [piece]
    middle = len(piece.text) // 2
    left = replace(piece, text=piece.text[:middle], ending=None)
    right = replace(piece, text=piece.text[middle:], opens=False)
    return _parts(left, width_of, width) + _parts(right, width_of, width)


def cut(
    broken: Sequence[list[Piece]], most: int, width_of: Callable[[Piece], float], space: float, width: float
) -> list[list[Piece]]:
    """At most so many lines; where some are left out, the last one ends with an ellipsis and stays within `width`."""
    kept = [list(line) for line in broken[:most]]
    if len(broken) <= most:
        return kept
    ending = Piece(ELLIPSIS)
    while kept[-1] and sum(width_of(piece) + space for piece in kept[-1]) + width_of(ending) > width:
        kept[-1].pop()
    kept[-1].append(ending)
    return kept


def is_right_to_left(text: str) -> bool:
    """Whether the first letter of the text is of a script that is written from right to left."""
    return next((unicodedata.bidirectional(character) != "L" for character in text if _is_strong(character)), False)


def in_visual_order(line: Sequence[Piece], right_to_left: bool) -> list[Piece]:
    """The pieces of a line from left to right. right_to_left: the direction of the text as a whole."""
    directed = zip(_directions([piece.text for piece in line], right_to_left), line, strict=True)
    runs = [(turned, [piece for _, piece in run]) for turned, run in groupby(directed, key=lambda pair: pair[0])]
    if right_to_left:
        runs.reverse()
    return [piece for turned, run in runs for piece in (reversed(run) if turned else run)]


def _directions(words: Sequence[str], right_to_left: bool) -> list[bool]:
    """Whether each word runs from right to left.

    A number goes with the letters before it, and a sign with its neighbours, or where they differ with the text.
    """
    own = [is_right_to_left(word) if any(map(_is_strong, word)) else None for word in words]
    found: list[bool] = []
    before = right_to_left
    for place, direction in enumerate(own):
        if direction is None:
            after = next((each for each in own[place:] if each is not None), right_to_left)
            number = any(character.isdigit() for character in words[place])
            found.append(before if number or before == after else right_to_left)
        else:
            before = direction
            found.append(direction)
    return found


def _is_strong(character: str) -> bool:
    return unicodedata.bidirectional(character) in ("L", "R", "AL")
