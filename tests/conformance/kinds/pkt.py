"""KL(teacher || student) of the neighbours' probabilities under (cosine + 1) / 2, without self-pairs (1803.10837)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import Row, cosine, divergence, feature_pairs, mean
from conformance.scene import Scene
from mmkd.losses.pkt import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text"},
    "image": {"teacher": "vit", "modality": "image"},
    "fused": {"teacher": "bert", "modality": "text", "to": "fused"},
}
ONE_ROW = "zero"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example."""
    students, teachers = feature_pairs(scene, loss.config.teacher, loss.config.modality, loss.config.to)
    examples = range(len(students))
    return mean([divergence(neighbours(teachers, i), neighbours(students, i)) for i in examples])


def neighbours(rows: list[Row], i: int) -> Row:
    kernel = [(cosine(rows[i], row) + 1) / 2 for j, row in enumerate(rows) if j != i]
    return [value / sum(kernel) for value in kernel]
