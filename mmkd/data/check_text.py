"""Characters of a text that are no text, or that a reader cannot see."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

_TO_LOOK_AT = re.compile("[^\t\n\r -~\u00a1-\u00ac\u00ae-\u02ff]")
"""Outside ASCII and the plain Latin letters. Words without such a character have no finding."""

_INVISIBLE = frozenset({"Cf", "Cc", "Zs", "Zl", "Zp", "Mn", "Me"})
"""Unicode categories that draw nothing by themselves: format, control, space, and marks on a letter before them."""

_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that are drawn as nothing: fillers of Hangul, the Braille pattern without dots."""

_DIRECTION_CONTROLS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks, embeddings, overrides and isolates of the bidirectional algorithm (Unicode Annex 9)."""


def check_words(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """(reason, message) for each sort of finding in a text's words; the message names words from 1 on."""
    if not _TO_LOOK_AT.search("".join(words)):
        return []
    looked_at = [(number, word) for number, word in enumerate(words, 1) if _TO_LOOK_AT.search(word)]
    found = []
    for reason, suspicious, what in _SORTS:
        hits = [(number, word) for number, word in looked_at if suspicious(word)]
        if hits:
            number, word = hits[0]
            more = f", and {len(hits) - 1} more" if len(hits) > 1 else ""
            found.append((reason, f"found {what(word)} in word {number} of {len(words)}{more}"))
    return found


def _has_nul(word: str) -> bool:
    return "\0" in word


def _has_surrogate(word: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in word)


def _draws_nothing(word: str) -> bool:
    """Not for emoji sequences: their joiners stand between visible characters. NUL has a reason of its own."""
    if not word or "\0" in word:
        return False
    return all(letter in _BLANKS or unicodedata.category(letter) in _INVISIBLE for letter in word)


def _right_to_left(word: str) -> bool:
    return any(letter in _DIRECTION_CONTROLS or unicodedata.bidirectional(letter) in ("R", "AL") for letter in word)


def _name_surrogates(word: str) -> str:
    return f"{_points(letter for letter in word if _has_surrogate(letter))}, half of a UTF-16 pair,"


def _name_invisible(word: str) -> str:
    return f"{_points(word)}, which draws nothing,"


def _name_right_to_left(word: str) -> str:
    """Controls first: they can hide text and reorder what stands beside them, while letters are plain language."""
    controls = [letter for letter in word if letter in _DIRECTION_CONTROLS]
    if controls:
        return f"the direction control {_points(controls)}"
    return f"right-to-left letters ({_points(letter for letter in word if _right_to_left(letter))})"


def _points(letters: Iterable[str]) -> str:
    """Code points, each once: `U+200B U+FEFF`; the first three."""
    points = list(dict.fromkeys(f"U+{ord(letter):04X}" for letter in letters))
    return " ".join(points[:3]) + (" ..." if len(points) > 3 else "")


_SORTS: tuple[tuple[str, Callable[[str], bool], Callable[[str], str]], ...] = (
    ("text_nul", _has_nul, lambda word: "U+0000"),
    ("text_surrogate", _has_surrogate, _name_surrogates),
    ("text_zero_width", _draws_nothing, _name_invisible),
    ("text_right_to_left", _right_to_left, _name_right_to_left),
)
