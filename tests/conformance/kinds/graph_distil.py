"""Strength times distance of the logits, summed over edges, with the labels' losses of both branches (2303.13802)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, linear, mean, scalars, softmax
from conformance.scene import Scene
from mmkd.losses.graph_distil import Loss

CASES = {
    "branches alone": {"task": "sentiment", "width": 3},
    "teachers": {"task": "risk", "teachers": ["bert", "vit"], "width": 2, "prior": 1.0},
    "one teacher": {"task": "sentiment", "teachers": ["clip"], "distillation": 0.5},
    "value": {"task": "stress", "teachers": ["bert"], "width": 4, "prior": 0.0},
    "labels": {"task": "topics", "teachers": ["vit"], "width": 3},
    "labels alone": {"task": "sentiment", "distillation": 0.0},
}
COEFFICIENTS = ("distillation", "prior")
NOT_A_GRADIENT = "each vertex takes the others as they are, so the value's own gradient is larger"
SHIFTS = None  # reads features, not the student's logits


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row, edge by edge."""
    own, student = loss.config, scene.student
    voices = [scene.teachers[name] for name in own.teachers]
    supervised, distilled, strengths = [], [], []
    for n in range(len(scene.batch.ids)):
        there = student.has["text"][n] and student.has["image"][n] and scene.batch.has_label[own.task][n]
        if not (there and all(voice.speaks[n] for voice in voices)):
            continue
        features = [scalars(student.pooled[modality][n]) for modality in ("text", "image")]
        branches = [
            scalars(head(torch.stack(row))) for head, row in zip((loss.text, loss.image), features, strict=True)
        ]
        supervised.append(sum(of_label(own.task, row, scene.batch.labels[own.task][n]) for row in branches))
        logits = [*branches, *(scalars(voice.logits[own.task][n]) for voice in voices)]
        if own.task in ("sentiment", "risk"):
            logits = [[value - mean(row) for value in row] for row in logits]
        known = [logits[0] + features[0], logits[1] + features[1], *logits[2:]]
        seen = [linear(vertex, fixed(row)) for vertex, row in zip(loss.vertices, known, strict=True)]
        edges = [(i, j) for j in (0, 1) for i in range(len(logits)) if i != j]
        weights = softmax([linear(loss.strength, seen[i] + seen[j])[0] for i, j in edges])
        strengths.append(weights)
        total = torch.zeros((), dtype=torch.float64)
        for weight, (i, j) in zip(weights, edges, strict=True):
            total = total + weight * mean([torch.abs(logits[i][k].detach() - y) for k, y in enumerate(logits[j])])
        distilled.append(total)
    columns = list(zip(*strengths, strict=True))
    uneven = sum((mean(column) - 1 / len(columns)) ** 2 for column in columns)
    return mean(supervised) + own.distillation * (mean(distilled) + own.prior * uneven)


def fixed(row: Row) -> Row:
    return [value.detach() for value in row]


def of_label(task: str, row: Row, label: Tensor) -> Tensor:
    """Cross-entropy; of labels that hold or not, the mean of theirs; of a value, the squared error."""
    if task == "stress":
        return (row[0] - label) ** 2
    if task == "topics":
        return mean([-torch.log(torch.sigmoid(value if label[k] == 1 else -value)) for k, value in enumerate(row)])
    return -torch.log(softmax(row)[int(label)])
