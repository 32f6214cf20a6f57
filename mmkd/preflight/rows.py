"""Which training rows a preflight looks at: few, drawn by the seed, with all that can be absent among them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from mmkd.data.corpus import Corpus
from mmkd.types import Batch

STREAM = 0x9F11
"""Keeps the draw apart from others of the same seed."""
FEWEST = 8
"""Rows of the batch, where there are as many; a few more where not all sorts are among the first."""
OF_A_SORT = 3
LABELLED = 96
"""Rows, for each task, on which the classes of teachers are compared with the labels."""
CHUNK, SEARCHED = 256, 2048
"""Rows that are looked at together; and in all, unless a task has a label in none of them."""


@dataclass(frozen=True)
class Drawn:
    """Row numbers of the corpus. batch: for all checks. labelled: rows with a label, up to LABELLED for each task."""

    batch: np.ndarray
    labelled: np.ndarray


def drawn_rows(corpus: Corpus, seed: int) -> Drawn:
    """The rows of a preflight. corpus: the training rows; who reads them does not matter.

    The batch has OF_A_SORT labelled rows of each task, complete rows, rows with text or image alone, and rows without
    a label of each task, as far as they are found.
    """
    order = np.random.default_rng([seed, STREAM]).permutation(len(corpus))
    wanted: defaultdict[str, int] = defaultdict(lambda: OF_A_SORT)
    chosen: list[int] = []
    labelled: dict[str, list[int]] = {task: [] for task in corpus.tasks if corpus.labelled(task)}
    for start in range(0, len(order), CHUNK):
        if start >= SEARCHED and all(labelled.values()):
            break
        rows = order[start : start + CHUNK]
        for row, sorts in zip(rows.tolist(), sorts_of(corpus.batch(rows)), strict=True):
            if any(wanted[sort] > 0 for sort in sorts):
                chosen.append(row)
                for sort in sorts:
                    wanted[sort] -= 1
            for task in labelled.keys() & sorts:
                labelled[task].append(row)
    chosen += [row for row in order[: 2 * FEWEST].tolist() if row not in chosen][: max(0, FEWEST - len(chosen))]
    measured = sorted({row for own in labelled.values() for row in own[:LABELLED]})
    return Drawn(np.array(chosen, np.int64), np.array(measured, np.int64))


def sorts_of(batch: Batch) -> list[set[str]]:
    """What can be said of each row: the tasks that label it, those that do not, and its modalities."""
    texts, images = batch.has_text.tolist(), batch.has_image.tolist()
    found = [{f" text {text}, image {image}"} for text, image in zip(texts, images, strict=True)]
    for task, has_label in batch.has_label.items():
        for sorts, has in zip(found, has_label.tolist(), strict=True):
            sorts.add(task if has else f" no {task}")
    return found
