"""Each layer fused with those above it, against a teacher's at the positions and at their mean (2104.09044)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.kinds.mgd import convolved
from conformance.loops import Row, kept_positions, linear, mean
from conformance.scene import Scene
from mmkd.losses.review_kd import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text", "pairs": [[0, 1], [1, 3]], "width": 3},
    "image": {"teacher": "vit", "modality": "image", "pairs": [[0, 0], [1, 2]], "width": 3},
    "one pair": {"teacher": "vit", "modality": "image", "pairs": [[1, 0]], "width": 2},
    "one layer of the teacher": {"teacher": "bert", "modality": "text", "pairs": [[0, 3], [1, 3]], "width": 2},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """From the deepest pair to the lowest, example by example; both of the teacher's grids are 2 x 2."""
    own = loss.config
    count = scene.batch.word_mask.shape[1] if own.modality == "text" else 4
    total = torch.zeros((), dtype=torch.float64)
    above: dict[int, dict[int, Row]] = {}
    for n in reversed(range(len(own.pairs))):
        fused: dict[int, dict[int, Row]] = {}
        cells, middles = [], []
        for example, rows in kept_positions(scene, own.teacher, own.modality, *own.pairs[n]).items():
            there = {place: linear(loss.inward[n], student) for place, student, _ in rows}
            if n < len(own.pairs) - 1:
                there = {place: joined(loss, n, row, above[example][place]) for place, row in there.items()}
            fused[example] = there
            made = {place: convolved(loss.outward[n], there, place, count) for place, _, _ in rows}
            for place, _, teacher in rows:
                cells += [(x - y) ** 2 for x, y in zip(made[place], teacher, strict=True)]
            for channel in range(len(rows[0][2])):
                student_mean = mean([made[place][channel] for place, _, _ in rows])
                middles.append((student_mean - mean([teacher[channel] for _, _, teacher in rows])) ** 2)
        above = fused
        total = total + (mean(cells) + mean(middles) / 2) / 1.5
    return total


def joined(loss: Loss, n: int, own: Row, above: Row) -> Row:
    first, second = (1 / (1 + torch.exp(-value)) for value in linear(loss.attention[n], [*own, *above]))
    return [x * first + y * second for x, y in zip(own, above, strict=True)]
