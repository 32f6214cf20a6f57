"""Words dropped, swapped, masked and replaced by synonyms, with the index of the word that each new one stands for.

The operations are those of EDA (Wei and Zou 2019, https://aclanthology.org/D19-1670) without insertion, which has no
word to take a label from, and with masking. Words that the caller keeps are not touched and stay in their order.
No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmkd.config.problems import ConfigError, Place, Problem

if TYPE_CHECKING:
    from mmkd.config.augment import TextAugment

Lexicon = Mapping[str, tuple[str, ...]]
"""Alternatives of a word, by the word in lower case."""


def augment_words(
    words: Sequence[str],
    keep: Sequence[bool],
    config: TextAugment,
    generator: np.random.Generator,
    lexicon: Lexicon,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The changed words, and for each the index of the word that it stands for.

    keep: whether a word stays as it is: it is neither dropped, masked nor replaced, and no word changes places with it.
    generator: all that is random; each operation has its own draws, so that one chance does not change the others'.

    Raises ValueError when there is not one `keep` for each word, or when synonyms are wanted of an empty lexicon.
    """
    if config.synonym and not lexicon:
        raise ValueError(f"found an empty lexicon for `synonym`; expected the words of {config.lexicon}")
    if len(keep) != len(words):
        raise ValueError(f"found {len(keep)} values of `keep` for {len(words)} words; expected one for each")
    free = ~np.array(keep, bool)
    drop, swap, mask, synonym, choice = generator.random((5, len(words)))
    changed = [
        _changed(word, mask[i] < config.mask, synonym[i] < config.synonym, choice[i], config, lexicon)
        if free[i]
        else word
        for i, word in enumerate(words)
    ]
    order = _swapped(_left(free & (drop < config.drop), drop), free & (swap < config.swap), free)
    return tuple(changed[i] for i in order), tuple(order)


def _changed(word: str, masked: bool, replaced: bool, choice: float, config: TextAugment, lexicon: Lexicon) -> str:
    """The word after masking, which goes first, or replacement. choice: 0 to 1, picks among the alternatives."""
    if masked:
        return config.mask_word
    alternatives = lexicon.get(word.lower(), ()) if replaced else ()
    return _like(word, alternatives[int(choice * len(alternatives))]) if alternatives else word


def _like(word: str, alternative: str) -> str:
    """The alternative in the case of the word: capitals, a capital first, or as it is."""
    if len(word) > 1 and word.isupper():
        return alternative.upper()
    return alternative[0].upper() + alternative[1:] if word[:1].isupper() else alternative


def _left(dropped: np.ndarray, draws: np.ndarray) -> list[int]:
    """Indices of the words that are not dropped; when all are, that of the word which came nearest to staying."""
    if len(dropped) and dropped.all():
        return [int(draws.argmax())]
    return [int(i) for i in np.flatnonzero(~dropped)]


def _swapped(order: list[int], swaps: np.ndarray, free: np.ndarray) -> list[int]:
    """The indices after each word that swaps has changed places with the next; a word moves by one place at most."""
    order, place = list(order), 0
    while place < len(order) - 1:
        first, second = order[place : place + 2]
        if swaps[first] and free[second]:
            order[place : place + 2] = second, first
            place += 1
        place += 1
    return order


def read_lexicon(path: Path) -> Lexicon:
    """The lexicon of a UTF-8 file: a word and its alternatives on each line, separated by tabs.

    Words are found in any case. An alternative is one word, because a label belongs to one word. Empty lines are
    skipped.

    Raises ConfigError with every mistake, each with its line.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        unread = f"cannot be read: {error}; expected a UTF-8 file of words and their alternatives"
        raise ConfigError([Problem(Place(str(path)), (), unread)]) from error
    lexicon: dict[str, tuple[str, ...]] = {}
    line_of: dict[str, int] = {}
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        word, *alternatives = line.rstrip("\r").split("\t")
        key = word.lower()
        message = _mistake(word, alternatives, line_of.get(key))
        if message is not None:
            problems.append(Problem(Place(str(path), number), (), message))
        lexicon[key] = tuple(alternatives)
        line_of.setdefault(key, number)
    if not lexicon:
        problems.append(Problem(Place(str(path)), (), "found no word; expected lines of a word and its alternatives"))
    if problems:
        raise ConfigError(problems)
    return lexicon


def _mistake(word: str, alternatives: Sequence[str], earlier: int | None) -> str | None:
    """What is wrong with a line. earlier: the line that has the same word, if there is one."""
    if not alternatives:
        return f"found {word!r} alone; expected the word, a tab, and its alternatives, separated by tabs"
    for each in (word, *alternatives):
        if len(each.split()) != 1 or each != each.strip():
            return f"found {each!r}; expected single words without spaces, separated by one tab"
    if word.lower() in (each.lower() for each in alternatives):
        return f"found {word!r} as its own alternative; expected other words"
    if earlier is not None:
        return f"found {word!r} again, first on line {earlier}; expected each word once, in any case"
    return None
