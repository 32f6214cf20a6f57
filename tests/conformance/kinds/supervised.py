"""The tasks' own losses: cross-entropy of classes, binary cross-entropy of labels, squared error of values."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import labels, logit_rows, mean, places, softmax
from conformance.scene import Scene
from mmkd.losses.supervised import Loss

CASES = {name: {"task": name} for name in ("sentiment", "risk", "ner", "topics", "stress")}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row; of labels, label by label."""
    task = loss.config.task
    rows = [row for (row,) in logit_rows(scene, task, labelled=True)]
    if task == "topics":
        truth = [scene.batch.labels[task][place] for place in places(scene, task, labelled=True)]
        found = []
        for row, holds in zip(rows, truth, strict=True):
            for k, logit in enumerate(row):
                probability = 1 / (1 + torch.exp(-logit))
                found.append(-torch.log(probability if holds[k] == 1 else 1 - probability))
        return mean(found)
    if task == "stress":
        values = [scene.batch.labels[task][place].double() for place in places(scene, task, labelled=True)]
        return mean([(row[0] - value) ** 2 for row, value in zip(rows, values, strict=True)])
    return mean([-torch.log(softmax(row)[k]) for row, k in zip(rows, labels(scene, task), strict=True)])
