"""Which text of one list says nearly the same as one of another.

A text is the set of its pieces of four letters, without case, punctuation and links; a user handle is just `@`. Two
texts are near when 0.7 of the pieces that either has are in both (Jaccard): one word in ten changed, or a line
added. Pairs are found by MinHash with bands (A. Broder, On the resemblance and containment of documents, 1997; J.
Leskovec and others, Mining of Massive Datasets, chapter 3), and then counted exactly. A pair at 0.7 is found with
probability 0.993, one at 0.75 with 0.9995.

On tweets, memes and abstracts (Twitter-15 and -17, MVSA, Harm-C, Memotion, NCBI disease) pairs above 0.7 are copies
with small edits, those at 0.5 to 0.65 often sentences of one template about different things.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

PIECE = 4
NEAR = 0.7
"""Share of common pieces from which on two texts are nearly the same."""

FEWEST = 17
"""Different pieces that a text needs to be compared, those of 20 letters: one word changed in fewer makes another
text, and long texts with fewer are a letter repeated."""

_LINK = re.compile(r"https?\s?:\s?//\S+|www\.\S+")
_HANDLE = re.compile(r"@\s?\w+")
_WORD = re.compile(r"\w+|@")

_BANDS, _ROWS = 40, 6
_CROWD = 32  # partners looked at in one crowded bucket, such as a sentence that every row has
_VERIFIED = 4  # partners of a row that are counted exactly, the best by their signatures
_WORTH_COUNTING = NEAR - 0.12  # four standard deviations of the estimate from 240 minima
_LETTERS_AT_ONCE, _TEXTS_AT_ONCE, _PAIRS_AT_ONCE = 1_000_000, 2048, 20_000
_FACTORS = np.random.default_rng(20240).integers(1, 2**64, (_BANDS * _ROWS, 2), np.uint64) | np.uint64(1)


def plain(words: Sequence[str]) -> str:
    """A text as it is compared."""
    text = unicodedata.normalize("NFKC", " ".join(words)).casefold()
    return " ".join(_WORD.findall(_HANDLE.sub("@", _LINK.sub(" ", text))))


def near_texts(one: Sequence[str], other: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """For each plain text of `one` a near one of `other`, the nearest as a rule: its place or -1, and the common share.

    Texts with less than FEWEST different pieces have no near one.
    """
    partner, best = np.full(len(one), -1), np.zeros(len(one))
    rows_one = np.array([row for row, text in enumerate(one) if len(text) >= FEWEST + PIECE - 1], np.int64)
    rows_other = np.array([row for row, text in enumerate(other) if len(text) >= FEWEST + PIECE - 1], np.int64)
    if not len(rows_one) or not len(rows_other):
        return partner, best
    signs_one = _signatures([one[row] for row in rows_one])
    signs_other = _signatures([other[row] for row in rows_other])
    pieces = lru_cache(maxsize=4096)(_pieces)
    for row, place in _candidates(signs_one, signs_other):
        a, b = pieces(one[rows_one[row]]), pieces(other[rows_other[place]])
        if min(len(a), len(b)) < FEWEST:
            continue
        common = len(np.intersect1d(a, b, assume_unique=True))
        share = common / (len(a) + len(b) - common)
        if share >= NEAR and share > best[rows_one[row]]:
            partner[rows_one[row]], best[rows_one[row]] = rows_other[place], share
    return partner, best


def _pieces(text: str) -> np.ndarray:
    """Numbers of a text's pieces, each once, sorted."""
    return np.unique(_hashes(text))


def _hashes(text: str) -> np.ndarray:
    """uint64 for each place of the text where a piece starts; equal pieces have equal numbers."""
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    mixed = np.zeros(len(letters) - PIECE + 1, np.uint64)
    for place in range(PIECE):
        mixed = (mixed + letters[place : place + len(mixed)] + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _signatures(texts: Sequence[str]) -> np.ndarray:
    """uint32 [n, 240]: the least of each text's pieces in 240 orders."""
    signatures = np.empty((len(texts), len(_FACTORS)), np.uint32)
    lengths = np.array([len(text) for text in texts])
    for start, end in _runs(lengths):
        # Pieces that reach into the next text are left out.
        inside = np.repeat(np.cumsum(lengths[start:end]), lengths[start:end]) - np.arange(lengths[start:end].sum())
        hashes = _hashes("".join(texts[start:end]))
        hashes = hashes[inside[: len(hashes)] >= PIECE]
        counts = lengths[start:end] - PIECE + 1
        starts = np.cumsum(counts) - counts
        for place, (mask, factor) in enumerate(_FACTORS):
            least = np.minimum.reduceat((hashes ^ mask) * factor, starts)
            signatures[start:end, place] = least >> np.uint64(32)
    return signatures


def _runs(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Stretches of texts with about as many letters as are hashed at once."""
    bins = np.cumsum(lengths) // _LETTERS_AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(bins)) + 1).tolist(), len(lengths)]
    yield from pairwise(edges)


def _candidates(one: np.ndarray, other: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs worth counting, by their signatures, at most _VERIFIED for a row of `one`."""
    bands = [_band(other, band) for band in range(_BANDS)]
    orders = [np.argsort(keys, kind="stable") for keys in bands]
    tables = [(keys[order], order) for keys, order in zip(bands, orders, strict=True)]
    for start in range(0, len(one), _TEXTS_AT_ONCE):
        block = one[start : start + _TEXTS_AT_ONCE]
        met = [_meetings(_band(block, band), *tables[band]) for band in range(_BANDS)]
        pairs = np.unique(np.concatenate([rows * len(other) + places for rows, places in met]))
        rows, places = np.divmod(pairs, len(other))
        alike = _estimates(block, other, rows, places)
        kept = np.flatnonzero(alike >= _WORTH_COUNTING)
        kept = kept[np.lexsort((-alike[kept], rows[kept]))]
        rows, places = rows[kept], places[kept]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)  # 0 for the best of each row
        chosen = rank < _VERIFIED
        yield from zip((start + rows[chosen]).tolist(), places[chosen].tolist(), strict=True)


def _band(signatures: np.ndarray, band: int) -> np.ndarray:
    """uint64 [n]: one number for the band's minima, equal where they all are."""
    mixed = np.zeros(len(signatures), np.uint64)
    for column in range(band * _ROWS, (band + 1) * _ROWS):
        mixed = (mixed ^ signatures[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _meetings(keys: np.ndarray, sorted_keys: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (row, place) with equal keys; evenly spaced ones of a bucket with more than _CROWD places."""
    first = np.searchsorted(sorted_keys, keys, "left")
    size = np.searchsorted(sorted_keys, keys, "right") - first
    taken = np.minimum(size, _CROWD)
    rows = np.repeat(np.arange(len(keys)), taken)
    step = np.arange(len(rows)) - np.repeat(np.cumsum(taken) - taken, taken)
    return rows, order[first[rows] + step * size[rows] // taken[rows]]


def _estimates(one: np.ndarray, other: np.ndarray, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Share of equal minima of each pair, which estimates the share of common pieces."""
    parts = [slice(start, start + _PAIRS_AT_ONCE) for start in range(0, len(rows), _PAIRS_AT_ONCE)]
    equal = [(one[rows[part]] == other[places[part]]).mean(1, dtype=np.float32) for part in parts]
    return np.concatenate([np.zeros(0, np.float32), *equal])
