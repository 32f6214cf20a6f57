"""Which image of one list is nearly the same picture as one of another: encoded anew, resized, brighter, cropped.

Each image leaves a grey thumbnail. Thumbnails are compared by correlation, so that brightness and contrast do not
count: first 8 x 8 averages, all with all; then, for the best few, the 32 x 32 cells, and by themselves the details,
which are what the averages leave; also with up to 3% of each side cut away from one of the two.

On memes and tweets (Harm-C, MVSA, Memotion) copies lie above 0.98, their details above 0.9; one meme template with
different captions mostly below 0.92; pictures of like sky and ground reach 0.96, but their details stay below 0.7.

Not found: mirrored or turned pictures, wider crops, a bar added for a caption, and pictures without contrast. Found
although different: screens and templates whose captions differ in a few letters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from PIL import Image

SIDE = 32
COARSE = 8
NEAR, NEAR_DETAILS = 0.92, 0.85
"""Correlations of two thumbnails, and of their details, from which on they are nearly the same picture."""

_COARSE_NEAR, _WORTH_CROPPING = 0.85, 0.7  # less, since a crop moves the cells
_PARTNERS = 16  # the most alike by the coarse averages; a bound for sets of pictures that are all alike
_CLOSE = 3  # of them, those that are compared in all ways
_CONTRAST = 4.0  # grey levels of standard deviation; with less, correlation sees noise
_CUTS = (0.0, 0.015, 0.03)  # of the width or height, at one side
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Print:
    """What tells an image from others. digest: of size and RGB pixels; thumbnail: 32 x 32 grey levels, row by row."""

    digest: bytes
    thumbnail: bytes


def print_of(pixels: Image.Image) -> Print:
    """The print of an RGB image."""
    grey = pixels.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    size = f"{pixels.width} {pixels.height} ".encode()
    return Print(hashlib.sha256(size + pixels.tobytes()).digest()[:16], grey.tobytes())


def near_images(one: Sequence[Print], other: Sequence[Print]) -> tuple[np.ndarray, np.ndarray]:
    """For each image of `one` the most alike of `other`: its place, -1 where none is near, and their correlation."""
    partner, best = np.full(len(one), -1), np.zeros(len(one), np.float32)
    if not one or not other:
        return partner, best
    grey_one, grey_other = _grey(one), _grey(other)
    coarse_other = _unit(_averages(grey_other))
    for start in range(0, len(one), _BLOCK):
        block = grey_one[start : start + _BLOCK]
        rows, places = _candidates(_unit(_averages(block)), coarse_other)
        close = _closest(rows, _correlations(block, grey_other, rows, places))
        rows, places = rows[close], places[close]
        alike = _likeness(block, grey_other, rows, places)
        order = np.argsort(alike)  # the best of a row is written last
        rows, places, alike = rows[order], places[order], alike[order]
        best[start + rows], partner[start + rows] = alike, places
    partner[best < NEAR] = -1
    return partner, best


def _grey(prints: Sequence[Print]) -> np.ndarray:
    return np.frombuffer(b"".join(each.thumbnail for each in prints), np.uint8).reshape(-1, SIDE, SIDE)


def _averages(grey: np.ndarray) -> np.ndarray:
    step = SIDE // COARSE
    return grey.reshape(-1, COARSE, step, COARSE, step).mean((2, 4), dtype=np.float32)


def _unit(grey: np.ndarray, contrast: float = _CONTRAST) -> np.ndarray:
    """Rows of mean 0 and length 1, so that a product is a correlation; 0 where there is no more than that contrast."""
    flat = grey.reshape(*grey.shape[:-2], -1).astype(np.float32)
    flat = flat - flat.mean(-1, keepdims=True)
    length = np.linalg.norm(flat, axis=-1, keepdims=True)
    enough = length > contrast * np.sqrt(flat.shape[-1])
    return np.where(enough, flat / np.maximum(length, 1e-6), 0).astype(np.float32)


def _candidates(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (row of `one`, row of `other`) that are alike in the coarse averages, at most _PARTNERS for a row."""
    alike = one @ other.T
    promising = np.flatnonzero((alike >= _COARSE_NEAR).any(1))
    alike = alike[promising]
    if alike.shape[1] > _PARTNERS:
        places = np.argpartition(alike, -_PARTNERS, axis=1)[:, -_PARTNERS:]
    else:
        places = np.broadcast_to(np.arange(alike.shape[1]), alike.shape)
    kept = np.take_along_axis(alike, places, 1) >= _COARSE_NEAR
    return np.repeat(promising, kept.sum(1)), places[kept]


def _correlations(one: np.ndarray, other: np.ndarray, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Of each pair's thumbnails."""
    parts = [slice(start, start + _BLOCK) for start in range(0, len(rows), _BLOCK)]
    found = [np.einsum("pi,pi->p", _unit(one[rows[part]]), _unit(other[places[part]])) for part in parts]
    return np.concatenate([np.zeros(0, np.float32), *found])


def _closest(rows: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """The few best pairs of each row. rows: of the pairs, ascending."""
    order = np.lexsort((-alike, rows))
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return order[(rank < _CLOSE) & (alike[order] >= _WORTH_CROPPING)]


def _likeness(one: np.ndarray, other: np.ndarray, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The best correlation of each pair, whole or with one of the two cropped; 0 where the details differ."""
    best = np.zeros(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        a, b = one[rows[part]].astype(np.float32), other[places[part]].astype(np.float32)
        for left, right in ((a, b), (_cropped_like(a, b), b), (_cropped_like(b, a), a)):
            same_details = np.einsum("pi,pi->p", _unit(_details(left), 0), _unit(_details(right), 0)) >= NEAR_DETAILS
            alike = np.einsum("pi,pi->p", _unit(left), _unit(right)) * same_details
            best[part] = np.maximum(best[part], alike)
    return best


def _details(grey: np.ndarray) -> np.ndarray:
    step = SIDE // COARSE
    return grey - _averages(grey).repeat(step, 1).repeat(step, 2)


def _cropped_like(whole: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`whole` without the sides whose loss makes it most like the target: left and right first, then above, below."""
    pairs, aim = np.arange(len(whole)), _unit(target)
    sideways = np.matmul(whole[:, None], _ZOOMS.transpose(0, 2, 1))
    cut = sideways[pairs, np.einsum("pvi,pi->pv", _unit(sideways), aim).argmax(1)]
    upright = np.matmul(_ZOOMS, cut[:, None])
    return np.asarray(upright[pairs, np.einsum("pvi,pi->pv", _unit(upright), aim).argmax(1)])


def _zoom(before: float, after: float) -> np.ndarray:
    """[SIDE, SIDE]: each row averages the cells that one cell covers once both ends are cut away and the rest grown."""
    edges = np.linspace(before * SIDE, (1 - after) * SIDE, SIDE + 1)
    cells = np.arange(SIDE)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return (overlap.clip(0) / (edges[1] - edges[0])).astype(np.float32)


_ZOOMS = np.stack([_zoom(before, after) for before, after in product(_CUTS, _CUTS)])
