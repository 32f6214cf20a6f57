"""A network and a corpus -> scores per task, and what was predicted for each example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmkd.arrays import file_hash
from mmkd.data.batches import load, reading_rows, to_device
from mmkd.data.corpus import Corpus
from mmkd.record import Score
from mmkd.tasks.base import Task
from mmkd.types import Batch, Outputs

BATCH = 64


@dataclass(frozen=True)
class Evaluation:
    """scores: task -> metric -> Score. predictions: one mapping per labelled example and task, in corpus order.

    A prediction has the `task`, the example's `id`, its `labels`, the task's `estimates` and `predictions` as arrays,
    and the `form` of the task's logits.
    """

    scores: dict[str, dict[str, Score]]
    predictions: list[dict[str, Any]]

    def mean_score(self) -> float:
        """Mean over tasks of each task's first metric."""
        firsts = [next(iter(metrics.values())).value for metrics in self.scores.values()]
        return sum(firsts) / len(firsts)


def primary_metrics(scores: Mapping[str, Mapping[str, Score]]) -> dict[str, str]:
    """Task -> its first metric."""
    return {task: next(iter(metrics)) for task, metrics in scores.items()}


@torch.no_grad()
def evaluate(
    network: nn.Module,
    corpus: Corpus,
    tasks: Mapping[str, Task],
    device: torch.device,
    without: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score the network on every labelled row, in evaluation mode, which it is left in.

    without: `text` or `image`, to hide that modality from the network.
    """
    network.eval()
    gathered: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in tasks}
    for done, batch in enumerate(load(corpus, reading_rows(corpus.words(), BATCH)), start=1):
        outputs: Outputs = network(to_device(_hide(batch, without), device))
        for name, task in tasks.items():
            for row, found in _rows_of(task, outputs, batch):
                gathered[name][row] = found
        progress(done * BATCH, len(corpus))
    scores, predictions = {}, []
    for name, task in tasks.items():
        rows = [gathered[name][row] for row in sorted(gathered[name])]
        if rows:
            scores[name] = task.score([row["labels"] for row in rows], [row["estimates"] for row in rows])
            own = {"task": name, "form": task.config.logits}
            predictions += [{**own, **row, "predictions": task.predict(row["estimates"])} for row in rows]
    return Evaluation(scores, predictions)


def _hide(batch: Batch, modality: str | None) -> Batch:
    if modality is None:
        return batch
    none = torch.zeros_like(batch.has_text)
    return replace(batch, has_text=none) if modality == "text" else replace(batch, has_image=none)


def _rows_of(task: Task, outputs: Outputs, batch: Batch) -> list[tuple[int, dict[str, Any]]]:
    """Labels and estimates of each labelled example; words that the network did not read have NaN."""
    estimates: Tensor = task.estimate(outputs.logits[task.name].float()).cpu()
    if task.level == "word":
        estimates = estimates.masked_fill(~outputs.words.cpu()[:, :, None], float("nan"))
    found = []
    counts = batch.word_mask.sum(1)
    for i in batch.has_label[task.name].nonzero().flatten().tolist():
        words = slice(0, int(counts[i])) if task.level == "word" else ()
        values = {
            "id": batch.ids[i],
            "labels": batch.labels[task.name][i].numpy()[words],
            "estimates": estimates[i].numpy()[words],
        }
        found.append((int(batch.rows[i]), values))
    return found


def write_predictions(predictions: list[dict[str, Any]], path: Path) -> str:
    """Write predictions as Parquet, a row for each labelled example and task; return the file's sha256.

    id, task. labels, predictions: class indices, one in all, one per word, or those of the labels that hold; null for
    a value. probabilities: of the K classes or labels of an example; empty for tasks over words, null for a value.
    value, predicted_value: null for tasks over classes or labels.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    indices, number = pa.list_(pa.int16()), pa.float32()
    schema = pa.schema(
        {
            "id": pa.string(),
            "task": pa.string(),
            "labels": indices,
            "predictions": indices,
            "probabilities": pa.list_(number),
            "value": number,
            "predicted_value": number,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([_columns(row) for row in predictions], schema)
    pq.write_table(table, path, compression="zstd")
    return file_hash(path)


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of one prediction; those that its task has no use for are left out, which is null."""
    key = {"id": row["id"], "task": row["task"]}
    if row["form"] == "value":
        return {**key, "value": float(row["labels"]), "predicted_value": float(row["predictions"])}
    indices = np.flatnonzero if row["form"] == "labels" else np.atleast_1d
    return {
        **key,
        "labels": indices(row["labels"]).tolist(),
        "predictions": indices(row["predictions"]).tolist(),
        "probabilities": row["estimates"].tolist() if row["estimates"].ndim == 1 else [],
    }
