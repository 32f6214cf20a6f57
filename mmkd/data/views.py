"""Views of an example: its words, labels and image after augmentation, by (seed, id, number of the view) alone.

Neither the order of the rows, the batch, the process nor an earlier view has a part in it, and the words' draws are
others than the image's: what happens to one does not change the other. No torch is imported before an image is read.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmkd.arrays import code_hash
from mmkd.data._decode import as_rgb, decoded
from mmkd.data.augment_image import augment_image
from mmkd.data.augment_text import Lexicon, augment_words
from mmkd.data.base import Example, Label
from mmkd.record import hash_of

if TYPE_CHECKING:
    from mmkd.config.augment import Augment, ImageAugment

STREAMS = {"text": 0, "image": 1}
PACKAGES = {"text": ("numpy",), "image": ("numpy", "pillow", "torch", "torchvision", "timm")}
CODE = {"text": ("views", "augment_text"), "image": ("views", "augment_image", "_decode")}
"""What decides a view of each modality: packages, for their generators and operations, and files of this folder."""


def view_seed(seed: int, sample_id: str, view: int) -> int:
    """The seed of one view of one sample, of 128 bits: the first half of the sha256 of `seed:view:sample_id`.

    seed, view: whole numbers from 0, so that no two triples are written alike. The same on every machine.
    """
    # An id may hold half of a surrogate pair, which plain UTF-8 refuses.
    text = f"{seed}:{view}:{sample_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:16], "big")


def view_of(
    example: Example,
    augment: Augment | None,
    view: int | None,
    tags: Mapping[str, Sequence[str]],
    lexicon: Lexicon,
) -> Example:
    """One view of an example; the example itself where there is no section or no view.

    tags: names of the labels of every task of the kind tag that the card has, by task. A word that one of them labels
        other than O is part of an entity and stays as it is, so that BIO labels stay whole.
    lexicon: of `augment.text.lexicon`, `{}` without one.

    The labels of words follow their words, all others stay. The image is augmented when it is read.
    Raises ValueError for a view that the section does not have, and for labels of words that `tags` does not name.
    """
    if augment is None or view is None:
        return example
    if view < 0 or (augment.views is not None and view >= augment.views):
        raise ValueError(f"found the view {view}; expected one from 0, and less than `views` ({augment.views})")
    seed = view_seed(augment.seed, example.id, view)
    words, labels, image = example.words, example.labels, example.image
    if augment.text is not None and words:
        words, index = augment_words(words, _in_entity(example, tags), augment.text, _generator(seed, "text"), lexicon)
        labels = {task: _follow(label, index) for task, label in labels.items()}
    if augment.image is not None and image is not None:
        image = partial(_read_view, image, augment.image, seed)
    return replace(example, words=words, labels=labels, image=image)


def _generator(seed: int, stream: Literal["text", "image"]) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(STREAMS[stream],))))


def _in_entity(example: Example, tags: Mapping[str, Sequence[str]]) -> list[bool]:
    """Whether each word belongs to an entity of one of the tasks."""
    found = [False] * len(example.words)
    for task, label in example.labels.items():
        if not isinstance(label, tuple):
            continue
        if task not in tags:
            raise ValueError(f"row {example.id!r}: found labels of words for `{task}`; expected its names in `tags`")
        found = [old or tags[task][one] != "O" for old, one in zip(found, label, strict=True)]
    return found


def _follow(label: Label, index: Sequence[int]) -> Label:
    """The labels of the words that are left, in their order; what is no label of words as it is."""
    return tuple(label[place] for place in index) if isinstance(label, tuple) else label


def _read_view(read: Callable[[], bytes], config: ImageAugment, seed: int) -> bytes:
    """The encoded image of a view, as a BMP: lossless and quick to write and read, since it is read at once.

    Raises OSError when the bytes are no whole image.
    """
    stream = io.BytesIO()
    augment_image(as_rgb(decoded(read())), config, _generator(seed, "image")).save(stream, "BMP")
    return stream.getvalue()


def view_identity(
    augment: Augment | None, view: int | None, modality: Literal["text", "image"], lexicon: Lexicon
) -> str | None:
    """A sha256 of everything beside the row that determines one modality of a view; None when it is the row's own.

    lexicon: as for `view_of`.
    """
    if augment is None or view is None:
        return None
    section = augment.text if modality == "text" else augment.image
    if section is None:
        return None
    plain: dict[str, Any] = {
        "modality": modality,
        "config": section.model_dump(mode="json"),
        "seed": augment.seed,
        "view": view,
        "packages": {name: version(name) for name in PACKAGES[modality]},
        "code": code_hash(*(Path(__file__).parent / f"{name}.py" for name in CODE[modality])),
    }
    if modality == "text":
        plain["config"].pop("lexicon")  # its content counts, not where it lies
        plain["lexicon"] = sorted((word, list(alternatives)) for word, alternatives in lexicon.items())
    return hash_of(plain)
