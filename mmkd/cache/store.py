"""What a teacher said about the rows of an experiment, stored once and shared by every seed, trial and experiment.

Content-addressed: an entry's folder is named by the hash of the teacher's weights, its code, what it reads, the rows,
the view, the layers and how it is stored. `entry` says what lies in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mmkd.arrays import ArrayWriter, StoreError, code_hash, stored
from mmkd.cache.build import Filled, complete
from mmkd.cache.catalogue import changed, told
from mmkd.cache.entry import MANIFEST, USED, About, Manifest, Start, damage, key_of
from mmkd.cache.fill import asked, fill_shard
from mmkd.cache.live import compare, drawn_rows
from mmkd.cache.packing import Packing, flatten
from mmkd.cache.projection import (
    Projection,
    feature_widths,
    identity_of,
    main_directions,
    narrowed,
    opened,
    random_projections,
)
from mmkd.cache.reader import Reader
from mmkd.cache.speak import CachedTeacher, CachedViews
from mmkd.config.cache import Features
from mmkd.data.corpus import Corpus
from mmkd.data.encode import DataSplit
from mmkd.teachers.base import Speaker, Teacher

FITTED_ROWS = 512
"""Rows, the first of the corpus, that a PCA is fitted on."""
PROJECTIONS = "projections"
HERE = Path(__file__).parent
CODE = code_hash(*(HERE / f"{n}.py" for n in ("build", "entry", "fill", "losing", "packing", "projection", "store")))
"""What decides the bytes of an entry, beside the teacher."""


@dataclass(frozen=True)
class Making:
    """How entries are made, and where. folder: of all entries. dtype, logits_top, features: as `train.cache_*` says.

    say: told what is made, and why. progress: called with rows done and in all.
    """

    folder: Path
    dtype: str
    device: torch.device
    say: Callable[[str], None]
    progress: Callable[[int, int], None]
    logits_top: int | None = None
    features: Features | None = None


def cached(
    teacher: Teacher,
    identity: Mapping[str, str],
    corpora: Sequence[Corpus],
    making: Making,
    generator: np.random.Generator,
    share: float | None = None,
) -> Speaker:
    """The teacher, speaking from the cache; what is not stored yet is computed first.

    identity: what determines the teacher's outputs, by name (weights, code, what it reads). corpora: the rows, or
    views of the same rows, read by the teacher itself, so that it can also be asked live. generator: draws the rows
    that the teacher is asked about again; share: of all rows, None for the few that each use asks for.
    Raises CacheError when a value does not fit the dtype or a stored row differs from the live teacher; StoreError when
    an entry does not match its own manifest.
    """
    packing = packing_of(teacher, identity, corpora[0], making)
    views = [_view(teacher, identity, corpus, making, packing) for corpus in corpora]
    for view, corpus in zip(views, corpora, strict=True):
        compare(view, teacher, packing, corpus, drawn_rows(len(corpus), generator, share), making.device)
    return views[0] if len(views) == 1 else CachedViews(views)


def parts_of(identity: Mapping[str, str], split: DataSplit, making: Making, packing: Packing) -> dict[str, str]:
    """Everything that an entry depends on, by name; its key is their hash."""
    rows = replace(split, views=None, view=None).fingerprint
    return {
        **identity,
        "rows": rows,
        "view": split.fingerprint.removeprefix(rows).removeprefix(":") or "none",
        "dtype": making.dtype,
        "logits_top": ", ".join(f"{task} {count}" for task, count in sorted(packing.top.items())) or "all",
        "features": identity_of(making.features, packing.projections),
        "store": CODE,
    }


def packing_of(teacher: Teacher, identity: Mapping[str, str], corpus: Corpus, making: Making) -> Packing:
    """How the teacher's outputs are stored. corpus: whose first rows a PCA is fitted on."""
    top = {}
    if making.logits_top is not None:
        # Probabilities that exclude each other can be cut; labels that hold or not by themselves cannot.
        exclusive = [name for name, task in teacher.tasks.items() if task.config.logits == "classes"]
        top = {name: making.logits_top for name in exclusive if len(teacher.tasks[name].labels) > making.logits_top}
    return Packing(making.dtype, top, _projections(teacher, identity, corpus, making))


def _projections(
    teacher: Teacher, identity: Mapping[str, str], corpus: Corpus, making: Making
) -> dict[str, Projection]:
    config, folder = making.features, making.folder / PROJECTIONS
    if config is None:
        return {}
    if config.kind == "random":
        return random_projections(config, teacher.shape, folder)
    wide = [name for name, width in feature_widths(teacher.shape).items() if width > config.width]

    def write(writer: ArrayWriter) -> None:
        rows = np.arange(min(FITTED_ROWS, len(corpus)))
        moments = {name: np.zeros(()) for name in wide}
        for batch, outputs in asked(teacher, corpus, rows, making.device):
            flat = flatten(outputs, batch.word_mask)
            for name in wide:
                features = flat[name].values.flatten(0, -2).cpu().double().numpy()
                moments[name] = moments[name] + features.T @ features
        for name, each in moments.items():
            writer.put(name, main_directions(each, config.width))

    parts = {**identity, "rows": corpus.key, "width": str(config.width), "store": CODE}
    return opened(stored(folder, parts, write))


def _view(
    teacher: Teacher, identity: Mapping[str, str], corpus: Corpus, making: Making, packing: Packing
) -> CachedTeacher:
    folders, manifests = [], []
    for number, split in enumerate(corpus.splits):
        parts = parts_of(identity, split, making, packing)
        about = About(teacher=teacher.name, data=split.data, split=split.split, view=split.view, dtype=making.dtype)
        first, end = int(corpus.starts[number]), int(corpus.starts[number + 1])
        start = Start(parts=parts, about=about, rows=end - first)
        folders.append(making.folder / key_of(parts))
        manifests.append(_entry(folders[-1], start, teacher, corpus, first, making, packing))
    shape = teacher.shape if making.features is None else narrowed(teacher.shape, making.features.width)
    return CachedTeacher(teacher.name, shape, teacher.taught_heads(), corpus.key, Reader(folders, manifests))


def _entry(
    folder: Path, start: Start, teacher: Teacher, corpus: Corpus, first: int, making: Making, packing: Packing
) -> Manifest:
    """The manifest of a verified entry, built where it is not there. first: number of its first row in the corpus."""
    new = not (folder / MANIFEST).exists()
    if new and (why := changed(making.folder, start)) is not None:
        making.say(why)

    def fill(writer: ArrayWriter, begin: int, end: int) -> Filled:
        rows = np.arange(first + begin, first + end)
        done = partial(_follow, making.progress, start.rows, begin)
        return fill_shard(writer, teacher, corpus, rows, packing, making.device, start.about, done)

    manifest = complete(folder, start, fill, making.say)
    if new:
        making.say(told(manifest))
    problem = damage(folder, manifest)
    if problem is not None:
        raise StoreError(problem)
    _mark_used(folder)
    return manifest


def _follow(progress: Callable[[int, int], None], total: int, begin: int, done: int) -> None:
    progress(begin + done, total)


def _mark_used(folder: Path) -> None:
    with suppress(OSError):  # of a cache on a read-only disk
        (folder / USED).touch()
