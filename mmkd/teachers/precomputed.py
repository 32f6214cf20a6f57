"""What a teacher said elsewhere, in any framework or behind an API: a Parquet or Arrow (Feather) file by sample id.

A row for each sample: its id, a list of K logits for each task (for a task over words a list of such lists, one for
each word, with null for a word that the teacher did not read), and optionally pooled features. Which label each of the
K stands for is stated, in `labels` or in the file's metadata (the key `labels`, JSON: task -> names in order), and
compared with the task's own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, Strict
from torch import Tensor

from mmkd.arrays import file_hash
from mmkd.config.local import local_path
from mmkd.config.plugin_base import Modality, TeacherConfig
from mmkd.data.base import DataError
from mmkd.data.corpus import Corpus, Readers
from mmkd.tasks.base import Task
from mmkd.teachers._column import Column, read_column, read_ids
from mmkd.teachers.base import Teacher as Base
from mmkd.types import Batch, Outputs, OutputShape

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = Annotated[tuple[str, ...], Strict(False), Field(min_length=1)]


class Config(TeacherConfig):
    """file: from the working folder or below MMKD_DATA. id: its column of sample ids, as predictions files have them.

    logits: task -> column; a task that is not named has the column of its own name. pooled: modality -> column.
    labels: task -> names in the order of the logits; those in the file's metadata where a task is not named.
    missing: whether training rows that the file lacks are refused, or no distillation rows (`silent`).
    """

    network: ClassVar[bool] = False
    sees_views: ClassVar[bool] = False

    kind: Literal["precomputed"] = "precomputed"
    file: str
    id: str = "id"
    logits: dict[str, str] = {}
    pooled: dict[Modality, str] = {}
    labels: dict[str, LABELS] = {}
    missing: Literal["refuse", "silent"] = "refuse"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Those with a column of pooled features."""
        return tuple(self.pooled)

    @property
    def over_words(self) -> bool:
        """Where the file has lists of lists."""
        return True

    def files(self) -> dict[str, str]:
        """The file."""
        return {"file": self.file}


class Teacher(Base):
    """Speaks about the rows that the file has, and about those of their words that it has logits for."""

    config: Config

    def __init__(self, config: Config, name: str, tasks: Mapping[str, Task], readers: Readers) -> None:
        """Read the file.

        Raises DataError for a file that cannot be read, a column that is not there, an id twice, a row with a value
        that is missing, not finite or of another length than K, and for labels that are not stated or not the task's.
        """
        super().__init__(config, name, tasks, readers)
        path = local_path(config.file)
        if path is None:
            raise DataError(config.file, None, None, "is not there, in the working folder or below MMKD_DATA")
        self.path = path
        table = read_table(path)
        ids = read_ids(path, table, config.id)
        self._rows = {each: number for number, each in enumerate(ids)}
        stated = {**_metadata_labels(path, table), **config.labels}
        if unknown := sorted({*config.logits, *config.labels} - set(tasks)):
            raise DataError(path, None, None, f"teachers.{name}: {', '.join(unknown)} are none of its tasks")
        self._logits: dict[str, Column] = {}
        for task, own in tasks.items():
            order = _order(path, f"teachers.{name}.labels.{task}", own, stated.get(task))
            column = config.logits.get(task, task)
            self._logits[task] = read_column(path, table, column, ids, len(order), own.level == "word").taken(order)
        self._pooled = {m: read_column(path, table, column, ids, None, False) for m, column in config.pooled.items()}
        self.shape = OutputShape({m: column.values.shape[1] for m, column in self._pooled.items()}, {}, {})

    def origin(self) -> dict[str, str]:
        """The file's content."""
        return {"file": file_hash(self.path)}

    def unheard(self, corpus: Corpus) -> list[str]:
        """Ids that the file lacks."""
        return [each for each in corpus.ids() if each not in self._rows]

    def require(self, corpus: Corpus) -> None:
        """Raises DataError for training rows that the file lacks or has another number of words of."""
        ids = corpus.ids()
        twice = [each for each, count in Counter(ids).items() if count > 1]
        if twice:
            raise DataError(self.path, None, self.config.id, f"`{twice[0]}` is the id of two rows of the experiment")
        absent = self.unheard(corpus)
        if absent and self.config.missing == "refuse":
            message = f"{len(absent)} of {len(ids)} training rows are not there, the first {absent[0]}"
            advice = "expected all, or `missing: silent`, which leaves them without this teacher"
            raise DataError(self.path, None, self.config.id, f"{message}; {advice}")
        for each, words in zip(ids, corpus.words().tolist(), strict=True):
            if each in self._rows:
                self._require_words(each, words)

    def _require_words(self, each: str, words: int) -> None:
        row = self._rows[each]
        for task, column in self._logits.items():
            if column.offsets is not None and (found := column.words(row)) != words:
                field = self.config.logits.get(task, task)
                message = f"`{each}` has logits for {found} words; expected {words}, those of the data"
                raise DataError(self.path, row + 1, field, message)

    def forward(self, batch: Batch) -> Outputs:
        """What the file says about the batch's ids. Raises DataError for a row with another number of words."""
        rows = [self._rows.get(each) for each in batch.ids]
        device = batch.word_mask.device
        speaks = torch.tensor([row is not None for row in rows], device=device)
        for each, row, count in zip(batch.ids, rows, batch.word_mask.sum(1).tolist(), strict=True):
            if row is not None:
                self._require_words(each, count)
        width = batch.word_mask.shape[1]
        said = {task: column.padded(rows, width) for task, column in self._logits.items()}
        heard = [there.to(device) for task, (_, there) in said.items() if self.tasks[task].level == "word"]
        words = batch.word_mask & torch.stack(heard).all(0) if heard else torch.zeros_like(batch.word_mask)
        logits = {task: values.to(device) for task, (values, _) in said.items()}
        pooled: dict[str, Tensor] = {
            modality: column.padded(rows, width)[0].to(device) for modality, column in self._pooled.items()
        }
        there = {"text": batch.has_text, "image": batch.has_image}
        return Outputs(logits, speaks, words, pooled, {modality: speaks & there[modality] for modality in pooled})


def read_table(path: Path) -> pa.Table:
    """A Parquet file, or an Arrow one (Feather 2, the IPC file format), told apart by their first bytes.

    Raises DataError for a file that is neither.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import feather

    with path.open("rb") as file:
        start = file.read(6)
    try:
        if start[:4] == b"PAR1":
            return pq.read_table(path)
        if start == b"ARROW1":
            return feather.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(path, None, None, f"cannot be read: {error}") from error
    raise DataError(path, None, None, f"starts with {start!r}; expected a Parquet or an Arrow (Feather) file")


def _metadata_labels(path: Path, table: pa.Table) -> dict[str, tuple[str, ...]]:
    stored = (table.schema.metadata or {}).get(b"labels")
    if stored is None:
        return {}
    try:
        plain: Any = json.loads(stored)
        return {str(task): tuple(str(label) for label in labels) for task, labels in plain.items()}
    except (ValueError, AttributeError, TypeError) as error:
        message = f"found {stored[:80]!r} ({error}); expected JSON: task -> labels in order"
        raise DataError(path, None, "metadata labels", message) from error


def _order(path: Path, key: str, task: Task, stated: tuple[str, ...] | None) -> np.ndarray:
    """Where each label of the task stands among the file's logits.

    Raises DataError when the file's order is not stated, or has other labels than the task.
    """
    if task.config.logits == "value":
        return np.zeros(1, int)
    ours = list(task.labels)
    if stated is None:
        advice = f"expected the task's labels ({', '.join(ours)}) in the file's order, here or in its metadata"
        raise DataError(path, None, key, f"nothing says which label each logit stands for; {advice}")
    if sorted(stated) != sorted(ours):
        message = f"found the labels {', '.join(stated)}; expected those of the task: {', '.join(ours)}"
        raise DataError(path, None, key, message)
    return np.array([stated.index(label) for label in ours])
